package repo_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/verity"
)

// What a checkpoint has named stays, whatever becomes of the stage, and isn't stored again.
func TestACheckpointKeepsWhatIsThere(t *testing.T) {
	r, dir := open(t)
	stage, err := r.Begin()
	if err != nil {
		t.Fatal(err)
	}
	object := func(text string) verity.Digest {
		t.Helper()
		d, err := stage.PutBytes([]byte(strings.Repeat(text, 100)))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	first, before := object("first"), stage.Stats()
	if r.HasObject(first) {
		t.Fatal("it has its name already")
	}
	for range 2 { // the second has nothing to do
		if err := stage.Checkpoint(); err != nil {
			t.Fatal(err)
		}
	}
	if !r.HasObject(first) || stage.Stats() != before {
		t.Errorf("there: %v, %+v, want %+v", r.HasObject(first), stage.Stats(), before)
	}
	if object("first"); stage.Stats().Stored != before.Stored || stage.Stats().Present != before.Present+1 {
		t.Errorf("put again: %+v, before %+v", stage.Stats(), before)
	}
	second, third := object("second"), verity.Digest{}
	if err := stage.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	third = object("third")
	stage.Abort()
	if err := errors.Join(stage.Commit(), stage.Commit()); err != nil {
		t.Errorf("after its end: %v", err)
	}
	if !r.HasObject(first) || !r.HasObject(second) || r.HasObject(third) {
		t.Errorf("first %v, second %v, third %v", r.HasObject(first), r.HasObject(second), r.HasObject(third))
	}
	if left, err := os.ReadDir(dir + "/tmp"); err != nil || len(left) > 0 {
		t.Error(left, err)
	}
}
