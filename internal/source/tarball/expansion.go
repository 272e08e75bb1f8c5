package tarball

import (
	"fmt"
	"io"
	"io/fs"
	"math"
	"sync/atomic"
)

// The default limit for the size that archives may unpack to: this many times their size, and
// this many bytes more.
const (
	expansionTimes = 64
	expansionBytes = 16 << 30
)

// An ExpansionError says that an archive, or several together, unpack to more than the limit: a few megabytes
// can hold more zeros than any disk.
type ExpansionError struct {
	Limit int64 // bytes
}

func (e *ExpansionError) Error() string {
	return fmt.Sprintf("%v: it unpacks to more than %d bytes", ErrTooLarge, e.Limit)
}

// Unwrap returns ErrTooLarge.
func (e *ExpansionError) Unwrap() error { return ErrTooLarge }

// A packedArchive counts the bytes of the compressed archive as they are read. Decompression may
// read ahead on another goroutine.
type packedArchive struct {
	r    io.Reader
	size int64 // if it is known
	read atomic.Int64
}

func newPacked(r io.Reader) *packedArchive {
	p := &packedArchive{r: r}
	if f, ok := r.(interface{ Stat() (fs.FileInfo, error) }); ok {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			p.size = info.Size()
		}
	}
	return p
}

func (p *packedArchive) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.read.Add(int64(n))
	return n, err
}

// expansion returns the size that archives of a size may unpack to.
func expansion(size int64) int64 {
	if size > (math.MaxInt64-expansionBytes)/expansionTimes {
		return math.MaxInt64
	}
	return expansionTimes*size + expansionBytes
}
