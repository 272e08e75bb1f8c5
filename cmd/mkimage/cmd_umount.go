package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/boot/mount"
)

func newUmount(*ui) *cobra.Command {
	var lazy bool
	cmd := &cobra.Command{
		Use:   "umount DIR",
		Short: "unmount an image",
		Long: `Umount unmounts the image at DIR. The mount of its metadata, and the loop device if
there is one, disappear with it.

Anything that isn't a mounted image is refused. With --lazy, an image that is in use
disappears from DIR at once, and is unmounted when nothing uses it any more.`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error { return umount(args[0], lazy) },
	}
	cmd.Flags().BoolVarP(&lazy, "lazy", "l", false, "unmount it even if it is in use")
	return cmd
}

func umount(given string, lazy bool) error {
	// Symbolic links are followed here and never again.
	dir, err := filepath.EvalSymlinks(given)
	if err != nil {
		return openError(given, err)
	}
	if err := requireImage(dir); err != nil {
		return err
	}
	if lazy {
		return mount.Detach(dir)
	}
	err = mount.Unmount(dir)
	if errors.Is(err, unix.EBUSY) {
		err = fmt.Errorf("%w: a program uses a file or directory there, or something is mounted below: end that, or use --lazy", err)
	}
	return err
}

// requireImage refuses what isn't a mounted image.
func requireImage(dir string) error {
	f, err := os.OpenFile(dir, unix.O_PATH, 0)
	if err != nil {
		return err
	}
	// An open directory would keep the mount busy.
	defer f.Close()
	m, err := mount.At(f)
	if err != nil {
		return err
	}
	if m.Type != "overlay" || m.Source != "composefs" && !strings.HasPrefix(m.Source, "composefs:") {
		return fmt.Errorf("unmount %s: want a mounted image, found %s of type %s: use umount(8) if that is meant", dir, m.Source, m.Type)
	}
	return nil
}
