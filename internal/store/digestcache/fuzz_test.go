package digestcache_test

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"testing"

	"github.com/composefs-go/composefs/internal/store/digestcache"
	"github.com/composefs-go/composefs/verity"
)

// FuzzOpen reads files with a correct checksum. Whatever they contain, one more file
// can be added, and the cache that is then written can be read and has that file.
func FuzzOpen(f *testing.F) {
	header := "composefs-dc 1\n\x01"
	record := make([]byte, 60+32)
	f.Add([]byte(header))
	f.Add(append([]byte(header), record...))
	f.Add(append([]byte(header), make([]byte, 2*len(record))...))
	path, want := file(f, disk(f), "file", "content")
	dir, err := os.MkdirTemp("/dev/shm", "") // where writing doesn't wait for a disk
	if err != nil {
		f.Skip(err)
	}
	f.Cleanup(func() { os.RemoveAll(dir) })
	at := filepath.Join(dir, "cache")
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > 1<<16 {
			t.Skip()
		}
		sum := sha256.Sum256(body)
		if err := os.WriteFile(at, append(body, sum[:]...), 0o600); err != nil {
			t.Fatal(err)
		}
		c, _ := digestcache.Open(at, verity.SHA256, later())
		keep(t, c, path, want)
		save(t, c)
		if d, ok := find(t, open(t, at), path); !ok || d != want {
			t.Errorf("found %v %s, want %s", ok, d, want)
		}
	})
}
