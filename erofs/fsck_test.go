package erofs_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/internal/testutil"
)

// fsck.erofs, which we didn't write, finds no fault with what we write.
func TestFsckAcceptsImages(t *testing.T) {
	fsck := testutil.RequireTool(t, "fsck.erofs")
	dir := t.TempDir()
	for _, v := range vectors(t) {
		for _, f := range []erofs.Format{erofs.V0, erofs.V1} {
			if v.image(f).Fail != "" {
				continue
			}
			path := filepath.Join(dir, "image")
			if err := os.WriteFile(path, write(t, v.tree(t), f), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(fsck, path).CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", fmt.Sprint(v.Name, " ", f), err, out)
			}
		}
	}
}
