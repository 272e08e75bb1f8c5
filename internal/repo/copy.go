package repo

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/osfile"
	"github.com/composefs-go/composefs/verity"
)

// copyFile makes w a copy of the first size bytes of f, which had the digest d when
// they were hashed. Somebody may write to f meanwhile, so the copy is hashed too.
func copyFile(w *os.File, f osfile.Source, size int64, d verity.Digest, scratch []byte) error {
	have, err := clone(w, f, size, d.Algorithm())
	if have.IsZero() && err == nil {
		have, err = copyBytes(w, f, size, d.Algorithm(), scratch)
	}
	if err == nil && have != d {
		err = fmt.Errorf("%w: its content changed while it was copied", verity.ErrMismatch)
	}
	return err
}

// clone lets w share f's blocks. Where the file system can't do that the digest is
// zero and w still empty.
func clone(w *os.File, f osfile.Source, size int64, alg verity.Algorithm) (verity.Digest, error) {
	if unix.IoctlFileClone(int(w.Fd()), int(f.Fd())) != nil {
		return verity.Digest{}, nil
	}
	if err := w.Truncate(size); err != nil {
		return verity.Digest{}, err
	}
	return verity.SumFile(alg, w, size)
}

func copyBytes(w *os.File, f osfile.Source, size int64, alg verity.Algorithm, scratch []byte) (verity.Digest, error) {
	h := verity.NewHasher(alg)
	for off := int64(0); off < size; {
		n, err := f.ReadAt(scratch[:min(size-off, int64(len(scratch)))], off)
		if n == 0 {
			return verity.Digest{}, err
		}
		h.Write(scratch[:n])
		if _, err := w.Write(scratch[:n]); err != nil {
			return verity.Digest{}, err
		}
		off += int64(n)
	}
	return h.Sum(), nil
}
