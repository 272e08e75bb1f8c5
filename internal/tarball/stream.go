package tarball

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// paddingMax is how many bytes of zeros may follow the archive's end marker. Tape
// blocks need some; without a limit they would be a bomb.
const paddingMax = 64 << 20

// A stream is the archive without its compression.
type stream struct {
	r      io.Reader
	close  func()
	offset int64 // bytes read
	ended  bool  // somebody wanted more than there is
}

// openStream finds out how an archive is packed.
func openStream(r io.Reader) (*stream, error) {
	br := bufio.NewReaderSize(r, 128<<10)
	head, err := br.Peek(6)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if len(head) == 0 {
		return nil, &Error{Err: errors.New("the archive is empty")}
	}
	s := &stream{r: br, close: func() {}}
	for _, c := range compressions {
		if head[0]&c.mask != c.magic[0] || !bytes.HasPrefix(head[1:], c.magic[1:]) {
			continue
		}
		if c.open == nil {
			return nil, &Error{Err: fmt.Errorf("the archive is packed with %s: want plain, gzip or zstd; unpack it on the way: %[1]s -dc FILE | mkimage build tar:-", c.name)}
		}
		if s.r, s.close, err = c.open(br); err != nil {
			return nil, &Error{Err: fmt.Errorf("unpack %s: %w", c.name, err)}
		}
		break
	}
	return s, nil
}

// Read implements io.Reader. It has no Seek, so that archive/tar reads everything and
// checksums of the compression are checked.
func (s *stream) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.offset += int64(n)
	if n > 0 && err == io.EOF {
		err = nil // it comes again, to who asks for more
	}
	s.ended = s.ended || err == io.EOF
	return n, err
}

// finish reads what follows the end marker.
func (s *stream) finish() error {
	if s.ended {
		// archive/tar takes the end of the stream for that of the archive.
		return errors.New("the archive is truncated: want two blocks of zeros at its end")
	}
	return skipZeros(s)
}

// skipZeros reads r to its end, where there may be zeros only.
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
