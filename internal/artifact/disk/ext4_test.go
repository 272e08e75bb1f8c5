package disk_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/internal/artifact/disk"
	"github.com/composefs-go/composefs/verity"
)

// root is the root partition of a disk that was written.
type root struct {
	t      *testing.T
	disk   string
	offset int64
}

func rootOf(t *testing.T, im disk.Image) root {
	t.Helper()
	return root{t, write(t, im), plan(t, im).Root.Offset}
}

// debugfs returns what it answers to a request.
func (r root) debugfs(request string) string {
	r.t.Helper()
	return run(r.t, "debugfs", "-R", request, fmt.Sprintf("%s?offset=%d", r.disk, r.offset))
}

// block reads a block of the partition.
func (r root) block(n int64) []byte {
	r.t.Helper()
	f, err := os.Open(r.disk)
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 4096)
	if _, err := f.ReadAt(b, r.offset+n*4096); err != nil {
		r.t.Fatal(err)
	}
	return b
}

// Every object reads back, and behind its end are tree and descriptor as the
// kernel looks for them.
func TestObjectsHaveVerity(t *testing.T) {
	for _, alg := range []verity.Algorithm{verity.SHA256, verity.SHA512} {
		t.Run(alg.Hash(), func(t *testing.T) {
			r := rootOf(t, sample(t, alg))
			for _, o := range objects(alg) {
				at := "/composefs/objects/" + o.Digest.ObjectPath()
				stat := r.debugfs("stat " + at)
				for _, want := range []string{"Mode:  0444", "Flags: 0x180000", fmt.Sprintf("Size: %d\n", o.Size)} {
					if !strings.Contains(stat, want) {
						t.Errorf("object of %d bytes: want %q in\n%s", o.Size, want, stat)
					}
				}
				r.checkObject(at, o)
			}
			if stat := r.debugfs("stat /composefs/meta.json"); !strings.Contains(stat, "Flags: 0x180000") {
				t.Errorf("meta.json has no fs-verity:\n%s", stat)
			}
		})
	}
}

func (r root) checkObject(at string, o disk.Object) {
	r.t.Helper()
	dump := filepath.Join(r.t.TempDir(), "dump")
	r.debugfs("dump " + at + " " + dump)
	got, err := os.ReadFile(dump)
	if err != nil {
		r.t.Fatal(err)
	}
	if d := verity.Sum(o.Digest.Algorithm(), got); d != o.Digest {
		r.t.Errorf("object of %d bytes reads differently", o.Size)
	}
	block := r.block(r.lastBlock(at))
	if n := binary.LittleEndian.Uint32(block[4092:]); n != 256 {
		r.t.Errorf("object of %d bytes: the last block ends with %d, want 256", o.Size, n)
	}
	root, _, err := verity.MerkleTree(o.Digest.Algorithm(), bytes.NewReader(got), o.Size, io.Discard)
	descriptor := verity.Descriptor(o.Digest.Algorithm(), o.Size, root)
	if err != nil || !bytes.HasPrefix(block, descriptor[:]) {
		r.t.Errorf("object of %d bytes: the last block doesn't begin with its descriptor, error %v", o.Size, err)
	}
}

// lastBlock returns the number of a file's last block.
func (r root) lastBlock(at string) (n int64) {
	r.t.Helper()
	blocks := strings.Fields(r.debugfs("blocks " + at))
	if _, err := fmt.Sscan(blocks[len(blocks)-1], &n); err != nil {
		r.t.Fatal(err)
	}
	return n
}

// Owners, modes, names and times are those described, whoever runs the test.
func TestRootContent(t *testing.T) {
	im := sample(t, verity.SHA256)
	r := rootOf(t, im)
	image := objects(verity.SHA256)[8].Digest
	deploy := "/state/deploy/" + image.Hex()
	for _, test := range []struct{ path, wants string }{
		{"/", "Type: directory|Mode:  0755|User:     0   Group:     0"},
		{"/composefs/objects", "Mode:  0700"},
		{"/composefs/images/" + image.Hex(), "Type: symlink|../objects/" + image.ObjectPath()},
		{"/composefs/images/refs/stable", "Type: symlink|../" + image.Hex()},
		{"/composefs/images/refs/os/v1", "Type: symlink|../../" + image.Hex()},
		{"/composefs/seals/" + image.Hex() + ".seal", "Type: regular|Mode:  0644|Size: 17|Flags: 0x80000"},
		{deploy + "/etc/upper", "Type: directory|Mode:  0755"},
		{deploy + "/etc/work", "Type: directory"},
		{deploy + "/var/lib/dpkg/status", "Mode:  0644|User:     0|Size: 3|0x6553f100"},
		{deploy + "/var/mail", "Mode:  02775|User:     0   Group:     8"},
		{deploy + "/var/tmp", "Mode:  01777"},
		{`"` + deploy + `/var/odd ""name"" #1 "`, "Mode:  0600|User: 100000   Group: 65534|Size: 0"},
		{deploy + "/var/run", `Mode:  0777|dest: "/run"`},
		{deploy + "/var/long", "Type: symlink|Size: 201"},
	} {
		t.Run(filepath.Base(test.path), func(t *testing.T) {
			stat := r.debugfs("stat " + test.path)
			if strings.Contains(stat, "symlink") {
				stat += r.debugfs("cat " + test.path) // stat shows short targets only
			}
			for _, want := range strings.Split(test.wants, "|") {
				if !strings.Contains(stat, want) {
					t.Errorf("want %q in\n%s", want, stat)
				}
			}
			if n := strings.Count(stat, "time: 0x6553f100"); n != 4 {
				t.Errorf("%d of 4 time stamps are the one given:\n%s", n, stat)
			}
		})
	}
}
