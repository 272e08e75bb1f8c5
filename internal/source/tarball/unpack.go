package tarball

import (
	"context"
	"errors"
	"io"
)

// IsPlain reports whether a file begins like an archive that isn't compressed.
func IsPlain(r io.ReaderAt) (bool, error) {
	var head [headerSize]byte
	n, err := r.ReadAt(head[:], 0)
	if err != nil && err != io.EOF {
		return false, err
	}
	return isPlain(head[:n]), nil
}

// Unpack writes an archive without its compression. most limits its size as
// Options.MaxExpansion does.
func Unpack(ctx context.Context, w io.Writer, r io.Reader, most int64) error {
	s, err := openStream(r, most)
	if err != nil {
		return err
	}
	defer s.close()
	buf := make([]byte, 128<<10)
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := s.Read(buf)
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			var expansion *ExpansionError
			if errors.As(err, &expansion) {
				return err
			}
			return &Error{Err: err}
		}
	}
}
