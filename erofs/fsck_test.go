package erofs_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/internal/testing/testutil"
)

// hugeFiles are the vectors with files of more than 8 TiB. Their chunk map ought to
// have several entries. composefs-rs writes one, so that fsck.erofs reads on, here
// to behind the end of the image; the kernel doesn't until somebody reads the file.
var hugeFiles = map[string]bool{"chunk-tail": true, "external-sizes": true, "chunk-limits": true}

// fsck.erofs, which we didn't write, finds no fault with what we write, unless it
// is what composefs-rs does wrong.
func TestFsckAcceptsImages(t *testing.T) {
	fsck := testutil.RequireTool(t, "fsck.erofs")
	dir := t.TempDir()
	for _, v := range vectors(t) {
		for _, f := range formats {
			if v.image(f).Fail != "" {
				continue
			}
			path := filepath.Join(dir, "image")
			if err := os.WriteFile(path, write(t, v.treeFor(t, f), f), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(fsck, path).CombinedOutput(); err != nil && !(f == erofs.V2 && hugeFiles[v.Name]) {
				t.Errorf("%s: %v\n%s", fmt.Sprint(v.Name, " ", f), err, out)
			}
		}
	}
}
