package crfs_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/internal/source/crfs"
	"github.com/composefs-go/composefs/internal/testing/testutil"
)

// repeated is a text in which one file comes n times, each time with another attribute.
func repeated(n int) string {
	var b strings.Builder
	b.WriteString(`{"entries": [`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"name": "f", "type": "reg", "xattrs": {"user.%d": "eA=="}}`, i)
	}
	b.WriteString(`]}`)
	return b.String()
}

// What copied the attributes that a file has for each new one would allocate 16 GB here.
func TestAFileThatComesAgainAndAgainTakesNoMoreThanItsText(t *testing.T) {
	const n = 20_000
	text := repeated(n)
	testutil.BoundMemory(t, 4*len(text), func() {
		root, err := readFrom(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := len(root.Lookup("f").Xattrs()); got != n {
			t.Errorf("%d attributes, want %d", got, n)
		}
	})
}

func TestALaterAttributeReplacesAnEarlierOneInAnyText(t *testing.T) {
	b := crfs.NewBuilder()
	for _, text := range []string{
		`{"entries": [{"name": "f", "type": "reg", "xattrs": {"user.b": "MQ==", "user.a": "MQ=="}}, {"name": "f", "type": "reg", "xattrs": {"user.c": "Mg==", "user.b": "Mg=="}}]}`,
		`{"entries": [{"name": "f", "type": "reg"}, {"name": "f", "type": "reg", "xattrs": {"user.b": "Mw=="}}]}`,
	} {
		if err := b.Apply(strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
	}
	var got bytes.Buffer
	for _, x := range b.Tree().Lookup("f").Xattrs() {
		fmt.Fprintf(&got, "%s=%s ", x.Name, x.Value)
	}
	if got.String() != "user.a=1 user.b=3 user.c=2 " {
		t.Error(got.String())
	}
}

// BenchmarkRepeated is a file that comes 20,000 times, with as many attributes.
func BenchmarkRepeated(b *testing.B) {
	text := repeated(20_000)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := readFrom(strings.NewReader(text)); err != nil {
			b.Fatal(err)
		}
	}
}
