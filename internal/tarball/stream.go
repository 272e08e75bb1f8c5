package tarball

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// zstdWindowMax is the memory in bytes that a zstd stream may ask for: what the zstd
// program grants without --long or --memory.
const zstdWindowMax = 128 << 20

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

// A compression is one way of packing an archive. Those that aren't supported have
// no open.
var compressions = []struct {
	name  string
	magic []byte
	mask  byte // of the first byte
	open  func(*bufio.Reader) (io.Reader, func(), error)
}{
	{"gzip", []byte{0x1f, 0x8b}, 0xff, openGzip},
	{"zstd", []byte{0x28, 0xb5, 0x2f, 0xfd}, 0xff, openZstd},
	{"zstd", []byte{0x50, 0x2a, 0x4d, 0x18}, 0xf0, openZstd}, // a frame to skip comes first
	{"xz", []byte{0xfd, '7', 'z', 'X', 'Z', 0}, 0xff, nil},
	{"bzip2", []byte("BZh"), 0xff, nil},
	{"lzip", []byte("LZIP"), 0xff, nil},
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

func openGzip(r *bufio.Reader) (io.Reader, func(), error) {
	z, err := gzip.NewReader(r)
	return z, func() {}, err
}

func openZstd(r *bufio.Reader) (io.Reader, func(), error) {
	// Two goroutines at most: one decodes while the other one finishes blocks.
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxWindow(zstdWindowMax))
	if err != nil {
		return nil, nil, err
	}
	return z, z.Close, nil
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
	buf := make([]byte, 32<<10)
	zeros := make([]byte, len(buf))
	for read := 0; read <= paddingMax; {
		n, err := s.Read(buf)
		read += n
		if !bytes.Equal(buf[:n], zeros[:n]) {
			return fmt.Errorf("other bytes follow the end of the archive, before offset %d: want one archive", s.offset)
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
