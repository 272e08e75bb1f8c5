package disk_test

import (
	"errors"
	"testing"

	"github.com/composefs-go/composefs/internal/artifact/disk"
	"github.com/composefs-go/composefs/verity"
)

// A link to what isn't on the disk is refused: it would show at boot only.
func TestLayoutRefuses(t *testing.T) {
	here, elsewhere := verity.Sum(verity.SHA256, []byte("here")), verity.Sum(verity.SHA256, []byte("elsewhere"))
	good := func() disk.Layout {
		return disk.Layout{
			Algorithm: verity.SHA256, Objects: []disk.Object{{Digest: here, Size: 4, Open: disk.Bytes([]byte("here"))}},
			Images: []verity.Digest{here},
		}
	}
	for name, change := range map[string]func(*disk.Layout){
		"image without object": func(l *disk.Layout) { l.Images = append(l.Images, elsewhere) },
		"ref without image":    func(l *disk.Layout) { l.Refs = map[string]verity.Digest{"a": elsewhere} },
	} {
		t.Run(name, func(t *testing.T) {
			l := good()
			change(&l)
			if _, err := l.Entries(); !errors.Is(err, disk.ErrEntry) {
				t.Errorf("want %v, found %v", disk.ErrEntry, err)
			}
		})
	}
	l := good()
	if _, err := l.Entries(); err != nil {
		t.Errorf("a good layout is refused: %v", err)
	}
}
