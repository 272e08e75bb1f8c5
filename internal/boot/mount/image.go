package mount

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/boot/kernel"
)

// An Image is a composefs image that is to be mounted with the contents of its
// files. It isn't verified here: the caller has done that, through File.
type Image struct {
	// Source is what /proc/self/mountinfo shows.
	Source string
	// File is the open image.
	File *os.File
	// ACL says that some file may have an ACL.
	ACL bool
	// Hides says that the image's root hides directories named 00 to ff. On kernels
	// without data-only layers, its objects may be in ordinary layers then.
	Hides bool
	// Objects are the open directories of contents, in the order of the search.
	Objects []*os.File
	// Upper and Work make it writable; both or none.
	Upper, Work *os.File
	// UserNS, if not nil, is the user namespace whose mapping the owners get.
	UserNS *os.File
	// Verity has the kernel check each file's content.
	Verity bool
	// ReadOnly mounts it read-only.
	ReadOnly bool
}

// Mount returns the root of the image, mounted nowhere yet. Nothing else stays
// mounted, and nothing at all after an error.
func (i Image) Mount(k *kernel.Kernel) (root *os.File, err error) {
	o := Overlay{
		Source: i.Source, Data: i.Objects, PlainData: i.Hides,
		Upper: i.Upper, Work: i.Work, Verity: i.Verity, ReadOnly: i.ReadOnly,
	}
	// A feature that the kernel lacks is reported before anything is tried.
	if err := o.check(k); err != nil {
		return nil, err
	}
	if o.Lower, err = EROFS(k, i.File, i.ACL); err != nil {
		return nil, err
	}
	defer o.Lower.Close()
	if i.UserNS != nil {
		if err := SetIDMap(o.Lower, i.UserNS); err != nil {
			return nil, err
		}
	}
	// From 6.15 on a layer needn't be mounted anywhere, so no other process sees it.
	if k.Has(kernel.OverlayFD) {
		return o.Mount(k)
	}
	err = staged(o.Lower, func() error {
		root, err = o.Mount(k)
		return err
	})
	return root, err
}

// staged has m mounted at a temporary directory while do runs.
func staged(m *os.File, do func() error) error {
	dir, err := os.MkdirTemp("", ".composefs-")
	if err != nil {
		return fmt.Errorf("make a directory to mount the metadata at: %w", err)
	}
	defer os.Remove(dir)
	at, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer at.Close()
	if err := Attach(m, at, ""); err != nil {
		return err
	}
	return errors.Join(do(), Detach(dir))
}
