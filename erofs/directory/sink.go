package directory

import (
	"fmt"
	"io"
	"sync"

	"github.com/composefs-go/composefs/internal/osfile"
	"github.com/composefs-go/composefs/verity"
)

// Digests is a Sink that only computes digests and keeps nothing. Like a repository it also
// takes contents that aren't files.
type Digests struct {
	algorithm verity.Algorithm
	hashers   sync.Pool
}

// NewDigests returns a Sink for digests of the algorithm.
func NewDigests(a verity.Algorithm) *Digests {
	return &Digests{algorithm: a, hashers: sync.Pool{New: func() any { return verity.NewHasher(a) }}}
}

// check returns an error for an algorithm that isn't one: its digests would be zero.
func (d *Digests) check() error {
	if !d.algorithm.Valid() {
		return fmt.Errorf("%w: number %d", verity.ErrAlgorithm, d.algorithm)
	}
	return nil
}

// PutFile implements Sink.
func (d *Digests) PutFile(f Source, size int64, scratch []byte) (verity.Digest, error) {
	if err := d.check(); err != nil {
		return verity.Digest{}, err
	}
	h := d.hashers.Get().(*verity.Hasher)
	defer d.hashers.Put(h)
	if s := osfile.Sparse(f); s != nil {
		return h.SumSparse(s, size, scratch)
	}
	return h.SumFile(f, size, scratch)
}

// Holds implements Holder. It returns true, since no content needs to be kept.
func (d *Digests) Holds(verity.Digest, int64) bool { return true }

// PutBytes returns the digest of content.
func (d *Digests) PutBytes(content []byte) (verity.Digest, error) {
	digest, _, err := d.Put(func(w io.Writer) error { _, err := w.Write(content); return err })
	return digest, err
}

// Put returns the digest and the size of what write writes.
func (d *Digests) Put(write func(io.Writer) error) (verity.Digest, int64, error) {
	if err := d.check(); err != nil {
		return verity.Digest{}, 0, err
	}
	h := d.hashers.Get().(*verity.Hasher)
	defer d.hashers.Put(h)
	h.Reset()
	if err := write(h); err != nil {
		return verity.Digest{}, 0, err
	}
	return h.Sum(), h.Size(), nil
}
