package mount

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/boot/kernel"
)

// An Overlay is an overlayfs to be mounted.
type Overlay struct {
	// Source is what /proc/self/mountinfo shows, "composefs:<hex>" for an image.
	Source string
	// Lower is the read-only layer. It must be mounted somewhere.
	Lower *os.File
	// Data are the directories of the file contents that Lower refers to; may be none.
	Data []*os.File
	// Upper and Work make it writable; both or none.
	Upper, Work *os.File
	// PlainData allows Data to be ordinary lower layers on kernels without data-only
	// ones. What Lower doesn't hide of them is visible then. Without it, such a kernel
	// is refused.
	PlainData bool
	// Verity has the kernel compare each file's content with the digest that Lower holds.
	Verity bool
	// ReadOnly mounts it read-only.
	ReadOnly bool
}

// Mount returns the root of the overlay, mounted nowhere yet.
func (o Overlay) Mount(k *kernel.Kernel) (*os.File, error) {
	if err := o.check(k); err != nil {
		return nil, err
	}
	c, err := NewContext("overlay")
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.SetString("source", o.Source); err != nil {
		return nil, err
	}
	if err := o.setOptions(c); err != nil {
		return nil, err
	}
	if err := o.setLayers(c, k); err != nil {
		return nil, err
	}
	attributes := 0
	if o.ReadOnly {
		attributes = unix.MOUNT_ATTR_RDONLY
	}
	return c.Mount(attributes)
}

func (o Overlay) check(k *kernel.Kernel) error {
	need := []kernel.Feature{kernel.MountAPI, kernel.Overlay}
	if len(o.Data) > 0 && !o.PlainData {
		need = append(need, kernel.OverlayData)
	}
	if o.Verity {
		need = append(need, kernel.OverlayVerity)
	}
	for _, f := range need {
		if err := k.Need(f); err != nil {
			return err
		}
	}
	if (o.Upper == nil) != (o.Work == nil) {
		return errors.New("mount an overlay: an upper directory needs a work directory, and the other way round")
	}
	return nil
}

// setOptions sets the options that a composefs image relies on. Without metacopy and
// redirect_dir the contents of its files aren't found.
func (o Overlay) setOptions(c *Context) error {
	if len(o.Data) == 0 {
		return nil
	}
	for _, option := range [][2]string{{"metacopy", "on"}, {"redirect_dir", "on"}} {
		if err := c.SetString(option[0], option[1]); err != nil {
			return err
		}
	}
	if o.Verity {
		return c.SetString("verity", "require")
	}
	return nil
}

// setLayers passes the layers in the best way that the kernel is known to have.
func (o Overlay) setLayers(c *Context, k *kernel.Kernel) error {
	// Ordinary layers show what the image doesn't hide: only for a kernel that is known to
	// have no others.
	if len(o.Data) > 0 && k.Lacks(kernel.OverlayData) {
		return o.setLayerString(c, ":")
	}
	if !k.Has(kernel.OverlayAppend) {
		return o.setLayerString(c, "::")
	}
	set := func(key string, dir *os.File) error {
		if k.Has(kernel.OverlayFD) {
			return c.SetFile(key, dir)
		}
		return c.SetString(key, procPath(dir))
	}
	if err := set("lowerdir+", o.Lower); err != nil {
		return err
	}
	for _, d := range o.Data {
		if err := set("datadir+", d); err != nil {
			return err
		}
	}
	if o.Upper == nil {
		return nil
	}
	if err := set("upperdir", o.Upper); err != nil {
		return err
	}
	return set("workdir", o.Work)
}

// setLayerString is for kernels before 6.7, as "lower::data::data", and before 6.5, as
// "lower:data:data". The layers are named by their descriptors, so that no name needs
// escaping, which these kernels do in different ways.
func (o Overlay) setLayerString(c *Context, separator string) error {
	layers := []string{procPath(o.Lower)}
	for _, d := range o.Data {
		layers = append(layers, procPath(d))
	}
	if err := c.SetString("lowerdir", strings.Join(layers, separator)); err != nil {
		return err
	}
	if o.Upper == nil {
		return nil
	}
	if err := c.SetString("upperdir", procPath(o.Upper)); err != nil {
		return err
	}
	return c.SetString("workdir", procPath(o.Work))
}

// Memory mounts a file system that lives in memory: "tmpfs" or "ramfs". options
// are "key=value" strings. It is mounted nowhere yet.
func Memory(fstype string, options ...string) (*os.File, error) {
	c, err := NewContext(fstype)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	// Without this, lists of mounts show "none".
	if err := c.SetString("source", fstype); err != nil {
		return nil, err
	}
	for _, o := range options {
		key, value, _ := strings.Cut(o, "=")
		if err := c.SetString(key, value); err != nil {
			return nil, err
		}
	}
	m, err := c.Mount(unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV)
	if err != nil {
		return nil, fmt.Errorf("mount a file system in memory: %w", err)
	}
	return m, nil
}
