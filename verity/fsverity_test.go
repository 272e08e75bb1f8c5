package verity_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/internal/testing/testutil"
	"github.com/composefs-go/composefs/verity"
)

// oracle is what the program fsverity says of a file.
type oracle struct {
	digest, tree, descriptor string
}

func fsverityDigest(t *testing.T, alg verity.Algorithm, content []byte) oracle {
	t.Helper()
	dir := t.TempDir()
	file, tree, desc := filepath.Join(dir, "file"), filepath.Join(dir, "tree"), filepath.Join(dir, "descriptor")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("fsverity", "digest", "--compact", "--hash-alg="+alg.Hash(),
		"--out-merkle-tree="+tree, "--out-descriptor="+desc, file).Output()
	if err != nil {
		t.Fatalf("fsverity digest: %v", err)
	}
	return oracle{strings.TrimSpace(string(out)), read(t, tree), read(t, desc)}
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestFsverityAgrees(t *testing.T) {
	testutil.RequireTool(t, "fsverity")
	content := randomBytes(5, 40<<20)
	for _, alg := range []verity.Algorithm{verity.SHA256, verity.SHA512} {
		sizes := limits(alg)
		for range 10 {
			sizes = append(sizes, rand.IntN(3<<20))
		}
		sizes = append(sizes, 16<<20+1, 40<<20) // three levels with SHA-512
		for _, size := range sizes {
			agree(t, alg, content[:size])
		}
	}
}

func agree(t *testing.T, alg verity.Algorithm, content []byte) {
	t.Helper()
	want := fsverityDigest(t, alg, content)
	for how, sum := range ways {
		if d, err := sum(alg, content); err != nil || d.Hex() != want.digest {
			t.Errorf("%s of %d bytes, %s: found %s, %v; want %s", how, len(content), alg, d, err, want.digest)
		}
	}
	var tree bytes.Buffer
	root, n, err := verity.MerkleTree(alg, bytes.NewReader(content), int64(len(content)), &tree)
	if err != nil || tree.String() != want.tree || n != int64(tree.Len()) {
		t.Errorf("tree of %d bytes, %s: %d bytes, %v; want %d bytes like fsverity's", len(content), alg, n, err, len(want.tree))
	}
	if d := verity.Descriptor(alg, int64(len(content)), root); string(d[:]) != want.descriptor {
		t.Errorf("descriptor of %d bytes, %s: found %x, want %x", len(content), alg, d, want.descriptor)
	}
}

func TestMerkleTreePassesOnWriteErrors(t *testing.T) {
	_, n, err := verity.MerkleTree(verity.SHA256, zeroReader{}, 1<<20, failingWriter{})
	if err != errMedium || n != 0 {
		t.Errorf("found %d bytes, %v; want the writer's error", n, err)
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errMedium }
