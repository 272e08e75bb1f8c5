package initrd

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// Limits on what Open unpacks. Real archives shrink to a third of their size and
// have some thousands of members.
const (
	maxRatio    = 64       // unpacked to packed
	minUnpacked = 64 << 20 // bytes that any archive may unpack to
	maxUnpacked = 1 << 30  // bytes that no archive may unpack to
	maxMembers  = 1 << 17
	maxName     = 4096 // PATH_MAX
	maxLinks    = 40   // that a path may go through, as in the kernel
)

// ErrArchive is the cause when bytes are not an initrd.
var ErrArchive = errors.New("malformed initrd")

// An Archive is the file tree that the kernel makes of an initrd. It is an fs.FS
// (with fs.ReadLinkFS) whose symbolic links lead to where they would when the
// initrd is the root: absolute ones too, and none leaves it. Its size is bounded
// by that of the initrd.
type Archive struct {
	root    *node
	members int
}

// node is a file of any kind. Hard links are one node.
type node struct {
	mode     fs.FileMode
	link     string // target of a symbolic link
	data     []byte
	children map[string]*node // of a directory
}

// Open unpacks an initrd into memory as the kernel does: newc archives one after
// another, each plain or compressed by gzip, zstd, xz or lz4, with zeros between
// them. What comes later replaces what was before; a member whose directory isn't
// there is left out.
//
// Format: initramfs buffer format of the kernel's documentation, and its
// init/initramfs.c for what that leaves open.
func Open(image []byte) (*Archive, error) {
	if hasBootConfig(image) {
		return nil, fmt.Errorf("%w: it ends in a boot configuration, which changes the command line: leave that out", ErrArchive)
	}
	a := &Archive{root: directory()}
	left := int64(min(maxUnpacked, max(minUnpacked, maxRatio*len(image))))
	for at := 0; at < len(image); {
		if image[at] == 0 {
			at++
			continue
		}
		n, err := a.segment(image[at:], at, &left)
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

// segment unpacks the archive that the bytes begin with and returns its size.
func (a *Archive) segment(image []byte, at int, left *int64) (int, error) {
	if image[0] == '0' {
		if at%4 != 0 {
			return 0, errors.New("want an archive at a multiple of 4, as the kernel does")
		}
		s := newSource(bytes.NewReader(image), left)
		err := a.unpack(s, true)
		return int(s.at), err
	}
	p, err := decompress(image)
	if err != nil {
		return 0, err
	}
	err = a.unpack(newSource(p.r, left), false)
	return p.size(), err
}

// bootConfigMagic is at the end of a boot configuration, which is at the end of an
// initrd. The kernel takes it for more of the command line and cuts it off.
const bootConfigMagic = "#BOOTCONFIG\n"

// hasBootConfig looks for it as the kernel does, which allows for boot loaders that
// fill the initrd up to a multiple of 4.
func hasBootConfig(image []byte) bool {
	for fill := range min(4, len(image)) {
		if bytes.HasSuffix(image[:len(image)-fill], []byte(bootConfigMagic)) {
			return true
		}
	}
	return false
}

func directory() *node {
	return &node{mode: fs.ModeDir | 0o755, children: make(map[string]*node)}
}

// add puts a node where the kernel would: through links, over what was there,
// and nowhere if the directory is missing.
func (a *Archive) add(name string, n *node) {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	if name == "" {
		return
	}
	dir, err := a.find(path.Dir(name), true)
	if err != nil || !dir.mode.IsDir() {
		return
	}
	base := path.Base(name)
	if old := dir.children[base]; old != nil && old.mode.IsDir() && n.mode.IsDir() {
		old.mode = n.mode
		return
	}
	dir.children[base] = n
}

// find returns the node at a valid fs path. follow says whether a link there is
// followed too.
func (a *Archive) find(name string, follow bool) (*node, error) {
	links := 0
	// Every part taken from parts goes one step down or up the trail.
	trail, parts := []*node{a.root}, strings.Split(name, "/")
	for len(parts) > 0 {
		part := parts[0]
		parts = parts[1:]
		here := trail[len(trail)-1]
		if !here.mode.IsDir() {
			return nil, fs.ErrNotExist
		}
		switch part {
		case "", ".":
			continue
		case "..":
			trail = trail[:max(1, len(trail)-1)]
			continue
		}
		next := here.children[part]
		if next == nil {
			return nil, fs.ErrNotExist
		}
		if next.mode.Type() == fs.ModeSymlink && (follow || len(parts) > 0) {
			if links++; links > maxLinks {
				return nil, errors.New("too many symbolic links")
			}
			if strings.HasPrefix(next.link, "/") {
				trail = trail[:1]
			}
			parts = append(strings.Split(next.link, "/"), parts...)
			continue
		}
		trail = append(trail, next)
	}
	return trail[len(trail)-1], nil
}

// source is the bytes of an archive: it counts them, and ends with an error when
// there are more than all archives together may have.
type source struct {
	r    *bufio.Reader
	at   int64
	left *int64
}

func newSource(r io.Reader, left *int64) *source {
	return &source{bufio.NewReaderSize(r, 64<<10), 0, left}
}

var errTooLarge = fmt.Errorf("it unpacks to more than %d times its size, or more than %d MiB", maxRatio, maxUnpacked>>20)

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

// skipZeros goes to the next byte that isn't 0; io.EOF if there is none.
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
