package initrd

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

// A header is the header of a member of a newc archive: 13 numbers of 8 hex digits after
// the magic.
//
//	0       6    14    22    30    38     46     54    62     …  94        102
//	| magic | ino | mode | uid | gid | nlink | mtime | size | … | name size | sum |
type header struct {
	ino, mode, links, size, major, minor, nameSize uint32
}

const headerSize = 6 + 13*8

// trailer is the name of the member that ends an archive.
const trailer = "TRAILER!!!"

// unpack adds the members of the first archive in s if single, and otherwise of all.
func (a *Archive) unpack(s *source, single bool) error {
	for {
		if err := s.skipZeros(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if s.at%4 != 0 {
			return fmt.Errorf("want an archive at a multiple of 4, as the kernel does, found its byte %d", s.at)
		}
		if err := a.unpackOne(s); err != nil || single {
			return err
		}
	}
}

// unpackOne adds the members of an archive.
func (a *Archive) unpackOne(s *source) error {
	linked := make(map[header]hardLink) // by inode and device alone
	for {
		m, err := readMember(s)
		if errors.Is(err, errTrailer) {
			return nil
		}
		if err != nil {
			return err
		}
		if a.members++; a.members > maxMembers {
			return fmt.Errorf("it has more than %d members", maxMembers)
		}
		n, err := newNode(m.header, m.data)
		if err != nil {
			return fmt.Errorf("read %q: %w", m.name, err)
		}
		if n, err = a.link(linked, m, n); err == nil {
			err = a.add(m.name, n)
		}
		if err != nil {
			return fmt.Errorf("read %q: %w", m.name, err)
		}
	}
}

// hardLink is the first name of a file with several.
type hardLink struct {
	name string
	node *node
}

// link returns the node of which a member is another name, or n if it is of none.
func (a *Archive) link(linked map[header]hardLink, m member, n *node) (*node, error) {
	if m.links < 2 || !n.mode.IsRegular() {
		return n, nil
	}
	key := header{ino: m.ino, major: m.major, minor: m.minor}
	first, known := linked[key]
	if !known {
		linked[key] = hardLink{m.name, n}
		return n, nil
	}
	// The kernel finds it by its name, not by its inode.
	name, err := cleanName(first.name, false)
	if err != nil {
		return nil, err
	}
	if found, err := a.find(name, false, &a.steps); errors.Is(err, errSteps) {
		return nil, err
	} else if err != nil || found != first.node {
		return nil, fmt.Errorf("want a hard link to %q, found something else or nothing there since", first.name)
	}
	// One of the names has the content, usually the last.
	if len(m.data) > 0 {
		first.node.data = m.data
	}
	first.node.mode = n.mode
	return first.node, nil
}

// A member is a file in an archive, as it is written there.
type member struct {
	header
	name string
	data []byte
}

// errTrailer means that an archive ends here.
var errTrailer = errors.New("end of the archive")

// readMember reads the next member. At the end of an archive it returns errTrailer.
func readMember(s *source) (m member, err error) {
	if m.header, err = readHeader(s); err != nil {
		return m, err
	}
	if m.name, err = readName(s, m.header); err != nil {
		return m, err
	}
	if m.name == trailer {
		if m.size > 0 {
			// The kernel continues after the content, and other readers within it.
			return m, fmt.Errorf("want an end without content, found %q with %d bytes", trailer, m.size)
		}
		if kindOf(m.header) == fs.ModeSymlink {
			return m, fmt.Errorf("want the end of an archive, found %q as a symbolic link, after which the kernel goes on", trailer)
		}
		return m, errTrailer
	}
	if kind := kindOf(m.header); m.size > 0 && !kind.IsRegular() && kind != fs.ModeSymlink {
		return m, fmt.Errorf("%q is %s and has a content of %d bytes, which the kernel skips: want none", m.name, kindName(kind), m.size)
	}
	if m.data, err = readData(s, m.size); err != nil {
		return m, fmt.Errorf("read %q: %w", m.name, err)
	}
	return m, nil
}

func readHeader(s *source) (header, error) {
	b := make([]byte, headerSize)
	at := s.at
	if _, err := io.ReadFull(s, b); err != nil {
		return header{}, fmt.Errorf("archive is cut off at its byte %d: %w", at, noEOF(err))
	}
	switch magic := string(b[:6]); magic {
	case "070701":
	case "070702":
		return header{}, fmt.Errorf("want the magic 070701 of a newc archive at its byte %d, found 070702, which has checksums", at)
	default:
		return header{}, fmt.Errorf("want the magic 070701 of a newc archive at its byte %d, found %q", at, magic)
	}
	numbers := make([]byte, hex.DecodedLen(headerSize-6))
	if _, err := hex.Decode(numbers, b[6:]); err != nil {
		return header{}, fmt.Errorf("header at byte %d of the archive: %w", at, err)
	}
	field := func(i int) (n uint32) {
		for _, b := range numbers[4*i : 4*i+4] {
			n = n<<8 | uint32(b)
		}
		return n
	}
	return header{ino: field(0), mode: field(1), links: field(4), size: field(6), major: field(7), minor: field(8), nameSize: field(11)}, nil
}

// readName reads the name and its padding.
func readName(s *source, h header) (string, error) {
	if h.nameSize == 0 || h.nameSize > maxName {
		return "", fmt.Errorf("want a name of 1 to %d bytes, found %d", maxName, h.nameSize)
	}
	b := make([]byte, h.nameSize)
	if _, err := io.ReadFull(s, b); err != nil {
		return "", fmt.Errorf("archive is cut off in a name: %w", noEOF(err))
	}
	name, fill, ended := strings.Cut(string(b), "\x00")
	if !ended {
		return "", fmt.Errorf("want a name that ends in a NUL, found %.80q", b)
	}
	// Some tools fill names up with NULs, so that contents are aligned to blocks.
	if strings.Trim(fill, "\x00") != "" {
		return "", fmt.Errorf("want a name with nothing behind its end, found %.80q", b)
	}
	for part := range strings.SplitSeq(name, "/") {
		if len(part) > maxPart {
			return "", fmt.Errorf("want a name of parts of at most %d bytes, found one of %d: %.40q…", maxPart, len(part), part)
		}
	}
	return name, s.align()
}

// readData reads the content of a member and its padding. The buffer grows with the bytes
// that are really there.
func readData(s *source, size uint32) ([]byte, error) {
	var b bytes.Buffer
	if n, err := io.CopyN(&b, s, int64(size)); err != nil {
		return nil, fmt.Errorf("want %d bytes, found %d: %w", size, n, noEOF(err))
	}
	return b.Bytes(), s.align()
}

// align skips padding up to a multiple of 4, which may be missing at the end of the file.
func (s *source) align() error {
	_, err := io.CopyN(io.Discard, s, -s.at&3)
	if errors.Is(err, io.EOF) {
		s.unpadded, err = true, nil
	}
	return err
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// types are the kinds of files by the bits S_IFMT of their mode.
var types = map[uint32]fs.FileMode{
	0o010000: fs.ModeNamedPipe, 0o020000: fs.ModeDevice | fs.ModeCharDevice, 0o040000: fs.ModeDir,
	0o060000: fs.ModeDevice, 0o100000: 0, 0o120000: fs.ModeSymlink, 0o140000: fs.ModeSocket,
}

// kindOf returns the type of a member, fs.ModeIrregular if there is no such type.
func kindOf(h header) fs.FileMode {
	kind, known := types[h.mode&0o170000]
	if !known {
		return fs.ModeIrregular
	}
	return kind
}

func newNode(h header, data []byte) (*node, error) {
	kind := kindOf(h)
	n := &node{mode: kind | fs.FileMode(h.mode&0o777), data: data}
	switch kind {
	case fs.ModeDir:
		n.children, n.data = make(map[string]*node), nil
	case fs.ModeSymlink:
		n.data = nil
		return n, n.setLink(string(data))
	case fs.ModeIrregular:
		return nil, fmt.Errorf("want a known type of file, found the mode %#o", h.mode)
	}
	return n, nil
}

// setLink sets where a symbolic link leads. Some tools write the NUL that ends strings in
// C.
func (n *node) setLink(text string) error {
	target := strings.TrimRight(text, "\x00")
	if strings.Contains(target, "\x00") {
		return fmt.Errorf("want a symbolic link without a NUL, where it would end for the kernel, found %.80q", target)
	}
	if len(target) == 0 || len(target) >= maxName {
		return fmt.Errorf("want a symbolic link of at most %d bytes and not empty, found %d bytes", maxName-1, len(target))
	}
	n.link, n.parts = target, linkParts(target)
	if len(n.parts) > maxLinkParts {
		return fmt.Errorf("want a symbolic link of at most %d names, found %d", maxLinkParts, len(n.parts))
	}
	return nil
}
