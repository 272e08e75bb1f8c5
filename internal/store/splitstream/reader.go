package splitstream

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/klauspost/compress/zstd"

	"github.com/composefs-go/composefs/verity"
)

// A Reader is an open splitstream.
type Reader struct {
	Type      Type
	Algorithm verity.Algorithm
	Size      int64           // of the bytes that the stream stands for, as the file claims
	Objects   []verity.Digest // in order of first use; some may be used by no chunk
	Refs      []Ref           // sorted by name

	r      io.ReaderAt
	stream span
}

// Open reads everything but the chunks of the splitstream in r, which has size bytes.
// Errors that aren't r's wrap ErrFormat or ErrTooLarge.
func Open(r io.ReaderAt, size int64) (*Reader, error) {
	var header [headerSize]byte
	if err := readAt(r, header[:], 0); err != nil {
		return nil, err
	}
	info, alg, err := parseHeader(header[:])
	if err != nil {
		return nil, err
	}
	s := &Reader{Algorithm: alg, r: r}
	parts := parts{size, []span{{0, headerSize}}}
	if err := parts.add("info", info, infoSize); err != nil {
		return nil, err
	}
	var b [infoSize]byte
	if err := readAt(r, b[:], int64(info.start)); err != nil {
		return nil, err
	}
	streams, objects, names := readSpan(b[0:]), readSpan(b[16:]), readSpan(b[48:])
	s.stream = readSpan(b[32:])
	s.Type = Type(binary.LittleEndian.Uint64(b[64:]))
	s.Size = int64(binary.LittleEndian.Uint64(b[72:]))
	if s.Size < 0 {
		return nil, formatError("it claims to have %d bytes", uint64(s.Size))
	}
	err = errors.Join(parts.add("stream refs", streams, 0), parts.add("object refs", objects, 0),
		parts.add("named refs", names, 0), parts.add("stream", s.stream, 0))
	if err != nil {
		return nil, err
	}
	if s.Objects, err = readDigests(r, "object refs", objects, alg); err != nil {
		return nil, err
	}
	ids, err := readDigests(r, "stream refs", streams, alg)
	if err != nil {
		return nil, err
	}
	s.Refs, err = readNames(io.NewSectionReader(r, int64(names.start), names.size()), ids)
	return s, err
}

// parseHeader returns where the info is. bootc up to 1.15 wrote the fields in another order.
func parseHeader(b []byte) (info span, alg verity.Algorithm, err error) {
	var fields []byte // version, algorithm, bits of a block
	switch {
	case bytes.HasPrefix(b, []byte(magic)):
		info, fields = readSpan(b[16:]), []byte{b[11], b[14], b[15]}
	case bytes.HasPrefix(b[18:], []byte(magic)):
		info, fields = readSpan(b), b[29:]
	default:
		return info, 0, formatError("want %q at its beginning, found %.16q", magic, b)
	}
	alg = verity.Algorithm(fields[1])
	switch {
	case fields[0] != version:
		return info, 0, formatError("want version %d, found %d", version, fields[0])
	case !alg.Valid():
		return info, 0, formatError("want the number of sha256 or sha512, 1 or 2, found %d", fields[1])
	case fields[2] != blockBits:
		return info, 0, formatError("want fs-verity blocks of 2^%d bytes, found 2^%d", blockBits, fields[2])
	}
	return info, alg, nil
}

// parts are the ranges of a file of size bytes that have been seen.
type parts struct {
	size int64
	seen []span
}

// add checks that a part is in the file, apart from the others, and has at least a number of
// bytes.
func (p *parts) add(what string, s span, least uint64) error {
	if s.start > s.end || s.end > uint64(p.size) || s.end-s.start < least {
		return formatError("want the %s in its %d bytes, found at %d to %d", what, p.size, s.start, s.end)
	}
	for _, other := range p.seen {
		if s.start < other.end && other.start < s.end {
			return formatError("want the %s in a place of its own, found at %d to %d, over what is at %d to %d", what, s.start, s.end, other.start, other.end)
		}
	}
	p.seen = append(p.seen, s)
	return nil
}

func readDigests(r io.ReaderAt, what string, s span, alg verity.Algorithm) ([]verity.Digest, error) {
	each := int64(alg.Size())
	if s.size()%each != 0 {
		return nil, formatError("want %s of %d bytes each, found %d bytes", what, each, s.size())
	}
	n := s.size() / each
	if n > MaxRefs {
		return nil, fmt.Errorf("%w: %d %s, more than %d", ErrTooLarge, n, what, MaxRefs)
	}
	list := make([]verity.Digest, 0, n)
	in := io.NewSectionReader(r, int64(s.start), s.size())
	buf := make([]byte, min(s.size(), 4096/each*each))
	for len(list) < int(n) {
		part := buf[:min(int64(len(buf)), (n-int64(len(list)))*each)]
		if _, err := io.ReadFull(in, part); err != nil {
			return nil, truncated(err)
		}
		for ; len(part) > 0; part = part[each:] {
			d, err := verity.NewDigest(alg, part[:each])
			if err != nil {
				return nil, err
			}
			list = append(list, d)
		}
	}
	return list, nil
}

// readNames reads the table of named refs. Names must be sorted, so that none is there
// twice.
func readNames(r io.Reader, ids []verity.Digest) ([]Ref, error) {
	in := &packed{r: r}
	z, err := newDecoder(in)
	if err != nil {
		return nil, err
	}
	defer z.Close()
	text, err := io.ReadAll(io.LimitReader(z, MaxNames+1))
	if err != nil {
		return nil, in.explain("named refs", err)
	}
	if len(text) > MaxNames {
		return nil, fmt.Errorf("%w: its names take more than %d bytes", ErrTooLarge, MaxNames)
	}
	var refs []Ref
	for len(text) > 0 {
		record, rest, ended := bytes.Cut(text, []byte{0})
		number, name, ok := bytes.Cut(record, []byte{':'})
		i, err := strconv.ParseUint(string(number), 10, 32)
		if !ended || !ok || err != nil || i >= uint64(len(ids)) {
			return nil, formatError("want a named ref, INDEX:NAME with an index below %d, found %.80q", len(ids), record)
		}
		if n := len(refs); n > 0 && refs[n-1].Name >= string(name) {
			return nil, formatError("want named refs in order, found %.80q after %.80q", name, refs[n-1].Name)
		}
		refs = append(refs, Ref{string(name), ids[i]})
		text = rest
	}
	return refs, nil
}

// newDecoder limits the memory; it has no goroutines.
func newDecoder(r io.Reader) (*zstd.Decoder, error) {
	return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(windowMax))
}

func readAt(r io.ReaderAt, b []byte, off int64) error {
	_, err := io.ReadFull(io.NewSectionReader(r, off, int64(len(b))), b)
	return truncated(err)
}

func truncated(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return formatError("it is cut short")
	}
	return err
}

// packed is what is unpacked. It tells damage from errors of the file.
type packed struct {
	r   io.Reader
	err error // of r
}

func (p *packed) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if err != nil && err != io.EOF {
		p.err = err
	}
	return n, err
}

// explain returns the cause of an error in unpacking a part.
func (p *packed) explain(part string, err error) error {
	if p.err != nil {
		return p.err
	}
	return formatError("unpack its %s: %w", part, err)
}
