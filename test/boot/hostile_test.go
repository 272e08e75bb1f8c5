package boot

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/test/vm"
)

// Whoever seals an image vouches for it; but should he have been deceived into
// sealing one that is no good, the machine still refuses it in its own words.
func TestHostileImages(t *testing.T) {
	b := need(t)
	for _, h := range hostiles {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			image, err := run("fsverity", "digest", "--compact", h.file("root-2"))
			if err != nil {
				t.Fatal(err)
			}
			r := row{
				arguments: func(base) string { return pin(image) }, status: h.status, says: h.says,
				change: func(t *testing.T, b base, disk string) { enroll(t, b, disk, image) },
			}
			c := r.boot(t, b)
			r.check(t, b, c)
			checkAlive(t, c)
		})
	}
}

// A hostile is the good image with something of its inside changed. All are files
// of the second root, so that the disk has them with fs-verity on.
type hostile struct {
	name   string
	status int
	says   string
	change func(image []byte, b base) []byte
}

// Where things are in an image.
const (
	superblock      = 1024
	blockBits       = superblock + 12
	rootNumber      = superblock + 14
	metaBlock       = superblock + 40
	featureIncompat = superblock + 80
	superblockEnd   = superblock + 128
)

var hostiles = []hostile{
	{"zeros", 8, "image", func(image []byte, _ base) []byte { return make([]byte, len(image)) }},
	{"garbage behind the superblock", 8, "erofs", func(image []byte, _ base) []byte {
		r := rand.NewChaCha8([32]byte{7})
		r.Read(image[superblockEnd:])
		return image
	}},
	{"cut off behind the superblock", 8, "erofs", func(image []byte, _ base) []byte { return image[:superblockEnd] }},
	{"blocks of 2^63 bytes", 8, "erofs", func(image []byte, _ base) []byte { image[blockBits] = 63; return image }},
	{"features that nobody has", 8, "erofs", func(image []byte, _ base) []byte {
		binary.LittleEndian.PutUint32(image[featureIncompat:], 0xffff_ffff)
		return image
	}},
	{"inodes past the end", 8, "erofs", func(image []byte, _ base) []byte {
		binary.LittleEndian.PutUint32(image[metaBlock:], 0x7fff_ffff)
		return image
	}},
	{"root past the end", 8, "erofs", func(image []byte, _ base) []byte {
		binary.LittleEndian.PutUint16(image[rootNumber:], 0xffff)
		return image
	}},
	{"init's content outside of the objects", 9, "init", func(image []byte, b base) []byte {
		object := []byte("/" + b.init[:2] + "/" + b.init[2:])
		out := []byte(strings.Repeat("/..", 9) + "/" + strings.Repeat("x", len(object)-28))
		return bytes.ReplaceAll(image, object, out)
	}},
}

func (h hostile) file(root string) string {
	return shared.path(root, "usr/share/hostile", strings.ReplaceAll(h.name, " ", "-"))
}

// addHostiles puts changed copies of an image into a root.
func addHostiles(b base, root string) error {
	image, err := os.ReadFile(filepath.Join(b.repo, "objects", b.image[:2], b.image[2:]))
	if err != nil {
		return err
	}
	for _, h := range hostiles {
		name := h.file(root)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, h.change(bytes.Clone(image), b), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// enroll makes an image of an object: it gets its name, and a seal by the right key.
func enroll(t *testing.T, b base, disk, image string) {
	t.Helper()
	debugfs(t, disk, "symlink /composefs/images/"+image+" ../objects/"+image[:2]+"/"+image[2:])
	text := []byte(strings.ReplaceAll(string(stored(t, b, seal(b.image, ""))), b.image, image))
	add(t, disk, seal(image, ""), text)
	add(t, disk, seal(image, ".minisig"), minisign(t, b.key, text))
}

// checkAlive checks that neither we nor the kernel fell over something.
func checkAlive(t *testing.T, c vm.Console) {
	t.Helper()
	for _, bad := range []string{"panic: ", "goroutine ", "BUG:", "Oops", "KASAN", "general protection"} {
		if c.Has(bad) {
			t.Errorf("the console has %q:\n%s", bad, c.Tail(40))
		}
	}
}
