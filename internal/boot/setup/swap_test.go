package setup_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/internal/boot/kernel"
	"github.com/composefs-go/composefs/internal/boot/kmsg"
	"github.com/composefs-go/composefs/internal/boot/setup"
)

// evil is an image that any program would take for a good one.
func (d disk) evil(t *testing.T, name string) {
	t.Helper()
	root := imageTree(t, initProgram, d.content)
	root.Lookup("etc").Lookup("hostname").Inline = []byte("evil")
	var image bytes.Buffer
	if err := erofs.Write(&image, root, erofs.V1); err != nil {
		t.Fatal(err)
	}
	writeTestFile(t, d.path(name), image.String())
}

// swapper is a machine where another file gets the image's name when it has passed all
// checks.
type swapper struct {
	setup.System
	from, to string
}

func (s swapper) MountImage() error {
	if err := os.Rename(s.from, s.to); err != nil {
		return err
	}
	return s.System.MountImage()
}

// What is mounted is the file that was measured, not what has its name by then.
func TestTheImageThatWasMeasuredIsMounted(t *testing.T) {
	for _, policy := range []string{"userspace", "off"} {
		t.Run(policy, func(t *testing.T) {
			d := newDisk(t)
			d.evil(t, "evil")
			o := options(t, "composefs="+d.image.Hex(), "[verify]\nfs-verity = \""+policy+"\"\n", 0)
			o.Sysroot = d.root
			k, log := kernel.New(), kmsg.New(nil, t.Output())
			object := "composefs/objects/" + d.image.ObjectPath()
			if err := setup.RunOn(swapper{setup.NewSystem(k, log), d.path("evil"), d.path(object)}, k, o, log); err != nil {
				t.Fatal(err)
			}
			wantFile(t, d.path("etc/hostname"), "host")
			if b, err := os.ReadFile(d.path("sysroot", object)); err != nil || !bytes.Contains(b, []byte("evil")) {
				t.Errorf("the image in the repository wasn't swapped: %v", err)
			}
		})
	}
}
