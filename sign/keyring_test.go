package sign_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/sign"
)

// A key that leads nowhere isn't taken for a directory that isn't there, which would
// mean that nobody is trusted and no seal needed.
func TestLoadKeyringKnowsAMissingKeyFromMissingKeys(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("nowhere", filepath.Join(dir, "a.pub")); err != nil {
		t.Fatal(err)
	}
	_, err := sign.LoadKeyring(os.DirFS(dir), ".")
	if err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), `"a.pub"`) {
		t.Errorf("error is %v, want one that names a.pub and is not fs.ErrNotExist", err)
	}
	if _, err := sign.LoadKeyring(os.DirFS(filepath.Join(dir, "none")), "."); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error is %v, want fs.ErrNotExist", err)
	}
}
