package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/composefs-go/composefs/internal/boot/kernel"
	"github.com/composefs-go/composefs/internal/filekind"
	"github.com/composefs-go/composefs/internal/imagemount"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

const mountUsage = `
usage: mount.composefs [-t composefs] [-o OPTION[,OPTION]...] IMAGE DIR
or:    mount -t composefs -o OPTION[,OPTION]... IMAGE DIR
  basedir=DIR[:DIR]...  where the contents of files are; required
  digest=HEX            fs-verity digest that IMAGE must have; implies verity
  signed                require a valid seal by a key in ` + systemKeys + `; implies verity
  verity                have the kernel check the content of every file
  tryverity             the same, if the kernel and the file systems support it
  noverity              don't, and hash IMAGE instead of requiring fs-verity of it
  upperdir=DIR          where changes go
  workdir=DIR           empty directory on the file system of upperdir
  idmap=FILE            user namespace that maps owners, such as /proc/PID/ns/user
  ro, rw, nosuid, nodev, noexec, noatime ...  as for every mount
A backslash makes the next character of a value (\, \: \\) an ordinary one.
`

// A mountCall is one call of mount.composefs.
type mountCall struct {
	options []string // texts of -o
	fstype  string
	rest    []string
	help    bool
	fake    bool // -f: do everything except mount
	sloppy  bool // -s: ignore unknown options
}

// runMountComposefs is main of mount.composefs, which is also how mount(8) calls it.
func runMountComposefs(_ context.Context, u *ui, args []string) error {
	call := mountCall{fstype: "composefs"}
	err := call.parse(args)
	if call.help {
		_, err := fmt.Fprint(u.err, strings.TrimPrefix(mountUsage, "\n"))
		return err
	}
	if err != nil {
		return ctoolUsagef(mountUsage, "%w", err)
	}
	if call.fstype != "composefs" {
		return fmt.Errorf("want type composefs, found %q", call.fstype)
	}
	var m imagemount.Options
	for _, text := range call.options {
		if err := m.Parse(text, call.sloppy); err != nil {
			return err
		}
	}
	switch {
	case len(m.Basedirs) == 0:
		return ctoolUsagef(mountUsage, "no basedir: the option basedir=DIR says where the contents of files are")
	case (m.Upper == "") != (m.Work == ""):
		return errors.New("upperdir and workdir go together")
	case call.fake:
		return nil
	}
	// Further arguments are ignored, as by the C tool.
	image, dir := call.rest[0], call.rest[1]
	result, err := mountFile(&m, image, dir)
	if err != nil {
		return fmt.Errorf("Failed to mount composefs %s: %s%w", image, mountReason(err), err)
	}
	remarkLack(u, result)
	return nil
}

// mountReason begins a message with the C tool's words, for callers that look for them.
func mountReason(err error) string {
	switch {
	case errors.Is(err, verity.ErrNotEnabled), errors.Is(err, verity.ErrUnsupported):
		return "Image has no fs-verity: "
	case errors.Is(err, verity.ErrMismatch):
		return "Image has wrong fs-verity: "
	case errors.Is(err, errRefused), errors.Is(err, sign.ErrRefused):
		return "Image was not signed: "
	}
	return ""
}

// mountFile mounts the image in a file.
func mountFile(m *imagemount.Options, image, dir string) (result imagemount.Report, err error) {
	if m.Signed {
		if m.Keys, err = trustedKeys(nil); err != nil {
			return result, err
		}
		m.ReadSeal = sealBeside(image)
	}
	f, err := filekind.Open(image, "an image")
	if err != nil {
		return result, err
	}
	defer f.Close()
	return m.Mount(kernel.New(), f, dir)
}

// parse reads the command line. -n and -v, which mount(8) passes on, mean nothing here.
func (c *mountCall) parse(args []string) (err error) {
	var ignored bool
	c.rest, err = getopt(args, []option{
		{name: "h", flag: &c.help},
		{name: "f", flag: &c.fake},
		{name: "s", flag: &c.sloppy},
		{name: "n", flag: &ignored},
		{name: "v", flag: &ignored},
		{name: "o", set: func(s string) error { c.options = append(c.options, s); return nil }},
		{name: "t", set: func(s string) error { c.fstype = s; return nil }},
	})
	switch {
	case err != nil:
		return err
	case len(c.rest) == 0:
		return errors.New("no IMAGE")
	case len(c.rest) == 1:
		return errors.New("no DIR to mount it at")
	}
	return nil
}
