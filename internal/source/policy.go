package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/source/transform"
	"github.com/composefs-go/composefs/verity"
)

// policyDir has the files whose contents transform.Prepare needs.
const policyDir = "etc/selinux"

// directoryContent reads contents from the directory that the tree was read from.
func directoryContent(root *tree.Node, dir string) transform.Content {
	paths := map[*tree.Node]string{}
	if etc := root.Lookup("etc"); etc != nil && etc.Lookup("selinux") != nil {
		collectPaths(paths, policyDir, etc.Lookup("selinux"))
	}
	return func(n *tree.Node) ([]byte, error) {
		f, err := os.OpenInRoot(dir, paths[n])
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return io.ReadAll(io.LimitReader(f, int64(n.Size)))
	}
}

// collectPaths notes the paths in the source of a directory's files.
func collectPaths(paths map[*tree.Node]string, name string, n *tree.Node) {
	paths[n] = name
	for _, e := range n.Entries() {
		collectPaths(paths, path.Join(name, e.Name), e.Node)
	}
}

// ObjectContent reads contents from the repository, and verifies them, since the image
// depends on them.
func ObjectContent(open func(verity.Digest) (*os.File, error)) transform.Content {
	return func(n *tree.Node) ([]byte, error) {
		if n.Object.IsZero() {
			return nil, errors.New("its digest isn't known")
		}
		f, err := open(n.Object)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		b, err := io.ReadAll(io.LimitReader(f, int64(n.Size)))
		if err == nil && verity.Sum(n.Object.Algorithm(), b) != n.Object {
			err = fmt.Errorf("object %s: %w", n.Object.Hex(), verity.ErrMismatch)
		}
		return b, err
	}
}

// keptMax limits how much of an archive's SELinux policies is kept in memory, in bytes.
const keptMax = 256 << 20

// ErrNotKept is the cause if a file of an SELinux policy wasn't kept while its archive was
// read.
var ErrNotKept = errors.New("it has another name too, which came first in the archive")

// A policyKeeper keeps the files of SELinux policies while an archive is read, since it
// can't be read again.
type policyKeeper struct {
	files map[*tree.Node]*bytes.Buffer
	left  int64
}

// tee is for tarball.Options.
func (k *policyKeeper) tee(name string, n *tree.Node) io.Writer {
	wanted := name == policyDir+"/config" || strings.HasPrefix(name, policyDir+"/") && strings.Contains(name, "/contexts/files/")
	if !wanted || n.Size > uint64(k.left) {
		return nil
	}
	k.left -= int64(n.Size)
	k.files[n] = new(bytes.Buffer)
	return k.files[n]
}

func (k *policyKeeper) content(n *tree.Node) ([]byte, error) {
	b, ok := k.files[n]
	if !ok {
		return nil, ErrNotKept
	}
	return b.Bytes(), nil
}
