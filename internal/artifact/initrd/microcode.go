package initrd

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// microcodeDir is where the kernel looks for microcode before it unpacks anything.
const microcodeDir = "kernel/x86/microcode"

// earlyMark is a file, empty or nearly so, with which tools such as dracut and microcode
// packages of distributions mark such an archive.
const earlyMark = "early_cpio"

// microcodeFiles are what the kernel looks for there, and how the file begins with which iucode-tool
// aligns them. Others would be unpacked like any file, and might be keys or programs.
var microcodeFiles = []string{"GenuineIntel.bin", "AuthenticAMD.bin"}

const alignment = ".enuineIntel.align."

func isMicrocode(name string) bool {
	dir, file := path.Split(name)
	return dir == microcodeDir+"/" && (slices.Contains(microcodeFiles, file) || strings.HasPrefix(file, alignment))
}

// ErrMicrocode is the cause when an initrd has something other than microcode in it.
var ErrMicrocode = errors.New("not microcode alone")

// CheckMicrocode returns an error if an initrd for microcode has anything else in it than
// the files in kernel/x86/microcode that the kernel looks for, and their directories. It is unpacked like any other initrd,
// before the main one, so anything else in it would be there at boot. Every member is
// checked as it is written, including those that Open leaves out or replaces.
//
// The directory of a file may be missing, as in archives of some distributions: the kernel
// finds the microcode nevertheless, and doesn't unpack the file.
//
// The archive must not be compressed, or the kernel wouldn't find the microcode.
func CheckMicrocode(image []byte) error {
	if hasBootConfig(image) {
		return fmt.Errorf("%w: it ends in a boot configuration, which changes the command line", ErrMicrocode)
	}
	c := microcodeCheck{seen: map[string]fs.FileMode{".": fs.ModeDir}}
	left := int64(len(image))
	for at := 0; at < len(image); {
		switch {
		case image[at] == 0:
			at++
			continue
		case image[at] != '0' || at%4 != 0:
			return fmt.Errorf("%w: at byte %d: want a cpio archive that is not compressed, at a multiple of 4", ErrMicrocode, at)
		}
		s := newSource(bytes.NewReader(image[at:]), &left)
		if err := c.archive(s); err != nil {
			return fmt.Errorf("%w: archive at byte %d: %w", ErrMicrocode, at, err)
		}
		at += int(s.at)
	}
	if c.files == 0 {
		return fmt.Errorf("%w: want a file below %s, found none", ErrMicrocode, microcodeDir)
	}
	return nil
}

// WithMicrocode returns an initrd as the kernel unpacks it if there is another one for microcode
// before it, as in a UKI.
func WithMicrocode(microcode, image []byte) []byte {
	if len(microcode) == 0 {
		return image
	}
	whole := slices.Clone(microcode)
	for len(whole)%4 != 0 {
		whole = append(whole, 0)
	}
	return append(whole, image...)
}

// microcodeCheck is what is known of the members so far.
type microcodeCheck struct {
	seen           map[string]fs.FileMode // types, by name
	files, members int
}

func (c *microcodeCheck) archive(s *source) error {
	for {
		m, err := readMember(s)
		if errors.Is(err, errTrailer) {
			return nil
		}
		if err == nil {
			err = c.member(m)
		}
		if err != nil {
			return err
		}
	}
}

func (c *microcodeCheck) member(m member) error {
	if c.members++; c.members > maxMembers {
		return fmt.Errorf("it has more than %d members", maxMembers)
	}
	name, kind := m.name, kindOf(m.header)
	if kind.IsDir() {
		name = strings.TrimSuffix(name, "/")
	}
	before, again := c.seen[name]
	parent, below := c.seen[path.Dir(name)]
	switch {
	case !fs.ValidPath(name):
		return fmt.Errorf("want a plain relative name, found %q", m.name)
	case !kind.IsDir() && !kind.IsRegular():
		return fmt.Errorf("%q is neither a file nor a directory, but %s", m.name, kindName(kind))
	case kind.IsRegular() && m.links > 1:
		return fmt.Errorf("%q is a hard link", m.name)
	case kind.IsRegular() && name != earlyMark && !strings.HasPrefix(name, microcodeDir+"/"),
		kind.IsDir() && name != "." && !strings.HasPrefix(microcodeDir+"/", name+"/") && !strings.HasPrefix(name, microcodeDir+"/"):
		return fmt.Errorf("%q is not below %s", m.name, microcodeDir)
	case again && !(before.IsDir() && kind.IsDir()):
		return fmt.Errorf("%q is there twice", m.name)
	case below && !parent.IsDir():
		return fmt.Errorf("%q is in what isn't a directory", m.name)
	case kind.IsRegular() && name != earlyMark && !isMicrocode(name), kind.IsDir() && strings.HasPrefix(name, microcodeDir+"/"):
		return fmt.Errorf("%q is nothing that the kernel looks for: want %s in %s", m.name, strings.Join(microcodeFiles, " or "), microcodeDir)
	}
	c.seen[name] = kind
	if kind.IsRegular() && name != earlyMark {
		c.files++
	}
	return nil
}

// kindName returns a type of file in words.
func kindName(kind fs.FileMode) string {
	switch {
	case kind.IsRegular():
		return "a file"
	case kind.IsDir():
		return "a directory"
	case kind&fs.ModeSymlink != 0:
		return "a symbolic link"
	case kind&fs.ModeDevice != 0:
		return "a device"
	case kind&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case kind&fs.ModeSocket != 0:
		return "a socket"
	}
	return "of no known type"
}
