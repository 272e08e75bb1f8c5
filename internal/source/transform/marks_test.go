package transform_test

import (
	"bytes"
	"testing"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/dumpfile"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/source/transform"
)

// An image in V1 gives, without marks, the images in all formats that its source does.
func TestATreeWithoutMarksIsTheSource(t *testing.T) {
	source := "/ 0 40755 2 0 0 0 0.0 - - -\n" +
		"/a 0 40755 2 0 0 0 0.0 - - - user.x=1\n" +
		"/a/white 0 20644 1 0 0 0 0.0 - - -\n" +
		"/b 0 40755 2 0 0 0 0.0 - - - trusted.overlay.opaque=x user.overlay.opaque=x\n" +
		"/white 0 20644 1 0 0 0 0.0 - - -\n"
	v1 := image(t, parse(t, source), erofs.V1)
	for _, format := range []erofs.Format{erofs.V0, erofs.V1, erofs.V2} {
		m, err := erofs.Open(bytes.NewReader(v1), int64(len(v1)))
		if err != nil {
			t.Fatal(err)
		}
		root, err := m.Tree()
		if err != nil {
			t.Fatal(err)
		}
		transform.DropMarks(root)
		if !bytes.Equal(image(t, root, format), image(t, parse(t, source), format)) {
			var dump bytes.Buffer
			_ = dumpfile.Write(&dump, root)
			t.Errorf("V%d: another image, of\n%s", format, &dump)
		}
	}
}

func image(t *testing.T, root *tree.Node, format erofs.Format) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := erofs.Write(&b, root, format); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
