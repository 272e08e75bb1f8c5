package initrd

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// Limits on what Open unpacks. Real archives are compressed to a third of their size and
// have some thousands of members.
const (
	maxRatio    = 64       // of the unpacked to the packed size
	minUnpacked = 64 << 20 // bytes that any archive may unpack to
	maxUnpacked = 1 << 30  // bytes that no archive may unpack to
	maxMembers  = 1 << 17
	maxName     = 4096 // PATH_MAX
	maxLinks    = 40   // that a path may go through, as in the kernel

	maxPart      = 255     // NAME_MAX
	maxLinkParts = 64      // names in the text of a symbolic link
	maxSteps     = 1 << 24 // from one directory to another, for all members together
)

// ErrArchive is the cause when bytes aren't an initrd.
var ErrArchive = errors.New("malformed initrd")

// An Archive is the file tree that the kernel makes of an initrd. It is an fs.FS and
// fs.ReadLinkFS. Its symbolic links, absolute ones too, lead where they would with the
// initrd as the root, and never out of it. Its size is bounded by the size of the initrd.
// Files that the kernel has there by itself can be opened, but are listed only if they are
// directories with something from the initrd in them.
type Archive struct {
	root    *node
	over    bool // there is another one below it, see OpenOver
	members int
	steps   int // taken to put the members into their places
}

// node is a file of any kind. Hard links are one node.
type node struct {
	mode     fs.FileMode
	link     string   // target of a symbolic link
	parts    []string // of the link, see linkParts
	data     []byte
	children map[string]*node // of a directory
	names    int              // how many it has
	builtin  bool             // it comes from the kernel, not from the initrd
}

// Open unpacks an initrd into memory as the kernel does: newc archives one after
// another, each plain or compressed with gzip, zstd, xz or lz4, with zeros between
// them. They are unpacked over /dev, /dev/console and /root, which every kernel has. A
// member replaces an earlier one of the same name and kind, and is left out if its directory
// isn't there.
//
// The error matches errors.ErrUnsupported if the kernel may well unpack the initrd: it has
// another compression, or is larger than Open allows. Open refuses bytes at which the
// kernel would stop, or which it would understand otherwise than they seem to be meant.
//
// Format: initramfs buffer format of the kernel's documentation, and its
// init/initramfs.c for what that leaves open.
func Open(image []byte) (*Archive, error) { return open(image, &Archive{root: builtin()}) }

// OpenOver is Open for an initrd that the kernel unpacks over another one, which isn't
// known: what an addon of a UKI adds. A directory that isn't in it is taken to be in the
// other, so that no member is left out. A member behind a symbolic link that leads to no
// directory in it is an error: where that would be can't be told.
func OpenOver(image []byte) (*Archive, error) {
	return open(image, &Archive{root: builtin(), over: true})
}

func open(image []byte, a *Archive) (*Archive, error) {
	if hasBootConfig(image) {
		return nil, fmt.Errorf("%w: it ends in a boot configuration, which changes the command line: leave that out", ErrArchive)
	}
	left := int64(min(maxUnpacked, max(minUnpacked, maxRatio*len(image))))
	plain, unpadded := false, false // whether the last archive was
	for at := 0; at < len(image); {
		if image[at] == 0 {
			at++
			continue
		}
		var n int
		var err error
		switch {
		case unpadded:
			err = errors.New("want nothing behind a compressed archive that isn't padded to a multiple of 4, where the kernel stops")
		case plain && at%4 != 0:
			err = errors.New("want what follows an archive at a multiple of 4, as the kernel does")
		default:
			plain = image[at] == '0'
			n, unpadded, err = a.segment(image[at:], at, &left)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: at byte %d: %w", ErrArchive, at, err)
		}
		at += n
	}
	if a.members == 0 {
		return nil, fmt.Errorf("%w: want a cpio archive, plain or compressed, found none in %d bytes", ErrArchive, len(image))
	}
	return a, nil
}

// segment unpacks the archive that the bytes begin with and returns its size, and
// whether the padding at its end is missing.
func (a *Archive) segment(image []byte, at int, left *int64) (size int, unpadded bool, err error) {
	if image[0] == '0' {
		if at%4 != 0 {
			return 0, false, errors.New("want an archive at a multiple of 4, as the kernel does")
		}
		s := newSource(bytes.NewReader(image), left)
		err := a.unpack(s, true)
		return int(s.at), s.unpadded, err
	}
	p, err := decompress(image)
	if err != nil {
		return 0, false, err
	}
	s := newSource(p.r, left)
	err = a.unpack(s, false)
	return p.size(), s.unpadded, err
}

// bootConfigMagic is at the end of a boot configuration, which is at the end of an
// initrd. The kernel takes it for more of the command line and cuts it off.
const bootConfigMagic = "#BOOTCONFIG\n"

// hasBootConfig looks for a boot configuration as the kernel does, also where a boot loader
// has filled the initrd up to a multiple of 4.
func hasBootConfig(image []byte) bool {
	for fill := range min(4, len(image)) {
		if bytes.HasSuffix(image[:len(image)-fill], []byte(bootConfigMagic)) {
			return true
		}
	}
	return false
}

// A source reads the bytes of an archive and counts them. It returns an error when there are
// more than all archives together may have.
type source struct {
	r    *bufio.Reader
	at   int64
	left *int64

	unpadded bool // whether it ended where padding was wanted
}

func newSource(r io.Reader, left *int64) *source {
	return &source{r: bufio.NewReaderSize(r, 64<<10), left: left}
}

// An unreadError is about an initrd that the kernel may well unpack, but Open doesn't.
type unreadError string

func (e unreadError) Error() string        { return string(e) }
func (e unreadError) Is(target error) bool { return target == errors.ErrUnsupported }

var errTooLarge = unreadError(fmt.Sprintf("it unpacks to more than %d times its size, or more than %d MiB", maxRatio, maxUnpacked>>20))

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if took := s.took(n); took != nil {
		return 0, took
	}
	return n, err
}

func (s *source) took(n int) error {
	s.at += int64(n)
	if *s.left -= int64(n); *s.left < 0 {
		return errTooLarge
	}
	return nil
}

// skipZeros goes to the next byte that isn't 0. If there is none, it returns io.EOF.
func (s *source) skipZeros() error {
	for {
		if _, err := s.r.Peek(1); err != nil {
			return err
		}
		ready, _ := s.r.Peek(s.r.Buffered())
		rest := len(bytes.TrimLeft(ready, "\x00"))
		zeros, _ := s.r.Discard(len(ready) - rest)
		if err := s.took(zeros); err != nil || rest > 0 {
			return err
		}
	}
}
