package tarball

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// paddingMax is how many bytes of zeros may follow the archive's end marker. Tape blocks
// are padded with them; compressed, an unlimited number could keep the reader busy forever.
const paddingMax = 64 << 20

// headerSize is the size in bytes of a block of an archive.
const headerSize = 512

// A stream is the decompressed archive.
type stream struct {
	r      io.Reader
	close  func()
	packed *packedArchive
	offset int64 // bytes read
	ended  bool  // a read has met the end

	holes int64 // bytes of sparse files that aren't in the stream
	most  int64 // limit for both, 0 for the default

	before spent // by other archives that share the limit
}

// check returns an error if the archive has exceeded its limit.
func (s *stream) check() error {
	now := s.spent()
	most := s.most
	if most == 0 {
		most = expansion(now.packed)
	}
	if now.unpacked > most {
		return &ExpansionError{most}
	}
	return nil
}

// spent is what was used of the limit of expansion: the bytes of archives, with and without
// their compression.
type spent struct{ packed, unpacked int64 }

func (s *stream) spent() spent {
	return spent{s.before.packed + max(s.packed.size, s.packed.read.Load()), s.before.unpacked + s.offset + s.holes}
}

// openStream recognizes the compression of an archive. It may unpack to most bytes, or if
// that is 0 to the default limit for its size.
func openStream(r io.Reader, most int64) (*stream, error) {
	in := newPacked(r)
	br := bufio.NewReaderSize(in, 128<<10)
	head, err := br.Peek(headerSize)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if len(head) == 0 {
		return nil, &Error{Err: errors.New("the archive is empty")}
	}
	s := &stream{r: br, close: func() {}, packed: in, most: most}
	for _, c := range compressions {
		if isPlain(head) || head[0]&c.mask != c.magic[0] || !bytes.HasPrefix(head[1:], c.magic[1:]) {
			continue
		}
		if c.open == nil {
			return nil, &Error{Err: &PackedError{Packed: c.name, Unpack: c.unpack}}
		}
		if s.r, s.close, err = c.open(br); err != nil {
			return nil, &Error{Err: fmt.Errorf("unpack %s: %w", c.name, err)}
		}
		break
	}
	return s, nil
}

// isPlain reports whether an archive isn't compressed: it begins with a header, or with a
// name, since some magic numbers of compressions are names too.
func isPlain(head []byte) bool {
	const magic, name = 257, 5
	return len(head) == headerSize && (string(head[magic:][:name]) == "ustar" || [2 * name]byte(head[name:]) == [2 * name]byte{})
}

// Read implements io.Reader. It has no Seek, so that archive/tar reads everything and
// checksums of the compression are checked.
func (s *stream) Read(p []byte) (int, error) {
	if err := s.check(); err != nil {
		return 0, err
	}
	n, err := s.r.Read(p)
	s.offset += int64(n)
	if n > 0 && err == io.EOF {
		err = nil // the next read returns it again
	}
	s.ended = s.ended || err == io.EOF
	return n, err
}

// finish reads everything after the end marker. If the marker is missing, archive/tar takes
// the end of the stream for the end of the archive; it must be the end of a block.
func (s *stream) finish() error {
	switch {
	case !s.ended:
		return skipZeros(s)
	case s.offset%headerSize != 0:
		return io.ErrUnexpectedEOF
	}
	return ErrNoEnd
}

// skipZeros reads r to its end, and accepts only zeros.
func skipZeros(r io.Reader) error {
	buf, zeros := make([]byte, 32<<10), make([]byte, 32<<10)
	for read := 0; read <= paddingMax; {
		n, err := r.Read(buf)
		read += n
		if !bytes.Equal(buf[:n], zeros[:n]) {
			return errors.New("other bytes follow the end of the archive: want one archive and zeros at most")
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return fmt.Errorf("more than %d bytes of zeros follow the end of the archive", paddingMax)
}
