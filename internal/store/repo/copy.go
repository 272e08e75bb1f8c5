package repo

import (
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/erofs/directory"
	"github.com/composefs-go/composefs/internal/osfile"
	"github.com/composefs-go/composefs/verity"
)

// copyFile makes w a copy of the first size bytes of f, which had the digest d when
// they were hashed. Holes stay holes. Somebody may write to f meanwhile, so the copy is
// hashed too.
func copyFile(w osfile.Raw, f directory.Source, size int64, d verity.Digest, scratch []byte) error {
	have, err := clone(w, f, size, d.Algorithm(), scratch)
	if have.IsZero() && err == nil {
		have, err = copyBytes(w, f, size, d.Algorithm(), scratch)
	}
	if err == nil && have != d {
		err = fmt.Errorf("%w: want %s, found %s: its content is another one, or changed while it was copied", verity.ErrMismatch, d.Hex(), have.Hex())
	}
	return err
}

// sumFile is the digest of a file, whose holes aren't read.
func sumFile(h *verity.Hasher, f directory.Source, size int64, scratch []byte) (verity.Digest, error) {
	if s := osfile.Sparse(f); s != nil {
		return h.SumSparse(s, size, scratch)
	}
	return h.SumFile(f, size, scratch)
}

// clone lets w share f's blocks. Where the file system can't do that the digest is
// zero and w still empty.
func clone(w osfile.Raw, f directory.Source, size int64, alg verity.Algorithm, scratch []byte) (verity.Digest, error) {
	if unix.IoctlFileClone(int(w.Fd()), int(f.Fd())) != nil {
		return verity.Digest{}, nil
	}
	if err := w.Truncate(size); err != nil {
		return verity.Digest{}, err
	}
	if osfile.Sparse(f) != nil {
		return verity.NewHasher(alg).SumSparse(&w, size, scratch)
	}
	return verity.SumFile(alg, w, size)
}

func copyBytes(w osfile.Raw, f directory.Source, size int64, alg verity.Algorithm, scratch []byte) (verity.Digest, error) {
	o := newObjectWriter(w, verity.NewHasher(alg))
	sparse := osfile.Sparse(f)
	for o.size < size {
		start, end := o.size, size
		if sparse != nil {
			var err error
			if start, end, err = sparse.NextData(o.size); err != nil {
				return verity.Digest{}, err
			}
			start, end = min(start, size), min(end, size)
		}
		if _, err := o.WriteZeros(start - o.size); err != nil {
			return verity.Digest{}, err
		}
		if start < size && end <= start {
			return verity.Digest{}, io.ErrUnexpectedEOF // it has become shorter
		}
		if err := o.copy(f, end, scratch); err != nil {
			return verity.Digest{}, err
		}
	}
	return o.hasher.Sum(), o.finish()
}

// An objectWriter writes an object into an empty file, and hashes it. Zeros that
// somebody knows to be some become a hole.
type objectWriter struct {
	f      osfile.Raw
	hasher *verity.Hasher
	size   int64
	hole   bool // it ends with one
}

func newObjectWriter(f osfile.Raw, h *verity.Hasher) *objectWriter {
	h.Reset()
	return &objectWriter{f: f, hasher: h}
}

// Write implements io.Writer.
func (o *objectWriter) Write(p []byte) (int, error) {
	n, err := o.f.WriteAt(p, o.size)
	_, _ = o.hasher.Write(p[:n])
	o.size += int64(n)
	o.hole = o.hole && n == 0
	return n, err
}

// WriteZeros adds n zeros.
func (o *objectWriter) WriteZeros(n int64) (int64, error) {
	_, _ = o.hasher.WriteZeros(n)
	o.size += n
	o.hole = o.hole || n > 0
	return n, nil
}

// finish gives the file its size.
func (o *objectWriter) finish() error {
	if !o.hole {
		return nil
	}
	return o.f.Truncate(o.size)
}

// copy adds what f has up to end.
func (o *objectWriter) copy(f directory.Source, end int64, scratch []byte) error {
	for o.size < end {
		n, err := f.ReadAt(scratch[:min(end-o.size, int64(len(scratch)))], o.size)
		if n == 0 {
			return err
		}
		if _, err := o.Write(scratch[:n]); err != nil {
			return err
		}
	}
	return nil
}
