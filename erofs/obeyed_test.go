package erofs_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/erofs"
)

// overlayfs obeys its extended attributes on any file. An image in which they are where no writer
// puts them is one thing to this package and another to the kernel, so it is refused.
func TestAttributesThatOverlayfsWouldObeyAreRefused(t *testing.T) {
	const digest = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
	metacopy := `\x00\x24\x00\x01` + strings.Repeat(`\x11`, 32)
	for _, format := range []erofs.Format{erofs.V0, erofs.V1, erofs.V2} {
		for _, line := range []string{
			"/f 5 100644 1 0 0 0 0.0 - hello - trusted.%s.redirect=/11/11",
			"/f 5 100644 1 0 0 0 0.0 - hello - trusted.%s.metacopy=" + metacopy,
			"/f 0 100644 1 0 0 0 0.0 - - - trusted.%s.redirect=/11/11",
			"/f 5 100644 1 0 0 0 0.0 - hello - trusted.%s.opaque=y",
			"/f 200 100644 1 0 0 0 0.0 2d/711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881 - " + digest + " trusted.%s.unknown=y",
			"/f 0 40755 2 0 0 0 0.0 - - - trusted.%s.redirect=/g",
			"/f 3 120777 1 0 0 0 0.0 abc - - trusted.%s.metacopy=",
			"/f 0 20644 1 0 0 259 0.0 - - - trusted.%s.nlink=U+1",
		} {
			dump := "/ 0 40755 2 0 0 0 0.0 - - -\n" + fmt.Sprintf(line, "0verlay") + "\n"
			good := write(t, parse(t, []byte(dump)), format)
			bad := bytes.ReplaceAll(good, []byte("0verlay."), []byte("overlay."))
			if bytes.Equal(good, bad) {
				t.Fatalf("V%d, %s: the attribute isn't in the image", format, line)
			}
			for _, b := range [][]byte{good, bad} {
				m, err := erofs.Open(bytes.NewReader(b), int64(len(b)))
				if err == nil {
					_, err = m.Tree()
				}
				if refused := errors.Is(err, erofs.ErrCorrupt) && strings.Contains(err.Error(), "which overlayfs obeys"); refused != bytes.Equal(b, bad) || !refused && err != nil {
					t.Errorf("V%d, %s: %v", format, line, err)
				}
			}
		}
	}
}
