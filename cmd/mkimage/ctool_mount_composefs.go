package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/composefs-go/composefs/internal/boot/kernel"
	"github.com/composefs-go/composefs/internal/imagemount"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

const mountUsage = `
usage: mount.composefs [-t composefs] [-o OPTION[,OPTION]...] IMAGE DIR
or:    mount -t composefs -o OPTION[,OPTION]... IMAGE DIR
  basedir=DIR[:DIR]...  where the contents of files are; always needed
  digest=HEX            fs-verity digest that IMAGE must have; implies verity
  signed                want a valid seal by a key in ` + systemKeys + `; implies verity
  verity                have the kernel check the content of every file
  tryverity             the same, if kernel and file systems can
  noverity              don't, and hash IMAGE instead of asking for its fs-verity digest
  upperdir=DIR          where changes go
  workdir=DIR           empty directory on the file system of upperdir
  idmap=FILE            user namespace that maps the owners, as in /proc/PID/ns/user
  ro, rw, nosuid, nodev, noexec, noatime ...  as for every mount
A backslash before a character of a value (\, \: \\) takes it as it is.
`

// A mountCall is one call of mount.composefs.
type mountCall struct {
	options []string // texts of -o
	fstype  string
	rest    []string
	help    bool
	fake    bool // -f: all but mounting
	sloppy  bool // -s: what nobody knows is ignored
}

// runMountComposefs is main of mount.composefs, which is also how mount(8) calls it.
func runMountComposefs(_ context.Context, u *ui, args []string) error {
	call, err := parseMountCall(args)
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
		return errors.New("upperdir and workdir need each other")
	case call.fake:
		return nil
	}
	// One that is given too much is ignored, as the C tool does.
	image, dir := call.rest[0], call.rest[1]
	result, err := mountFile(&m, image, dir)
	if err != nil {
		return fmt.Errorf("Failed to mount composefs %s: %s%w", image, mountReason(err), err)
	}
	remarkLack(u, result)
	return nil
}

// mountReason begins a message as the C tool does, for who looks for its words.
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

func mountFile(m *imagemount.Options, image, dir string) (result imagemount.Report, err error) {
	if m.Signed {
		if m.Keys, err = trustedKeys(nil); err != nil {
			return result, err
		}
		m.ReadSeal = sealBeside(image)
	}
	f, err := os.Open(image)
	if err != nil {
		return result, err
	}
	defer f.Close()
	return m.Mount(kernel.New(), f, dir)
}

// parseMountCall reads a command line as getopt does: flags stand anywhere before
// "--" and may be written together, -o and -t have a value. -n and -v, which
// mount(8) passes on, mean nothing here.
func parseMountCall(args []string) (mountCall, error) {
	c := mountCall{fstype: "composefs"}
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		if arg == "--" {
			c.rest = append(c.rest, args...)
			break
		}
		if len(arg) < 2 || arg[0] != '-' {
			c.rest = append(c.rest, arg)
			continue
		}
		used, err := c.flags(arg[1:], args)
		if err != nil {
			return c, err
		}
		args = args[used:]
	}
	switch len(c.rest) {
	case 0:
		return c, errors.New("no IMAGE")
	case 1:
		return c, errors.New("no DIR to mount it at")
	}
	return c, nil
}

// flags reads flags that are written together. The value of the last one may be the
// next argument; used says how many of those it took.
func (c *mountCall) flags(letters string, next []string) (used int, err error) {
	for i, letter := range letters {
		switch letter {
		case 'h':
			c.help = true
		case 'f':
			c.fake = true
		case 's':
			c.sloppy = true
		case 'n', 'v':
		case 'o', 't':
			value := letters[i+1:]
			if value == "" {
				if len(next) == 0 {
					return 0, fmt.Errorf("option -%c needs a value", letter)
				}
				value, used = next[0], 1
			}
			if letter == 't' {
				c.fstype = value
			} else {
				c.options = append(c.options, value)
			}
			return used, nil
		default:
			return 0, fmt.Errorf("there is no option -%c", letter)
		}
	}
	return 0, nil
}
