package ocistore

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/composefs-go/composefs/internal/oci"
	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/internal/store/splitstream"
	"github.com/composefs-go/composefs/verity"
)

// A stream is an open splitstream whose file has the digest that its name stands for.
type stream struct {
	*splitstream.Reader
	repo   *repo.Repo
	file   *os.File
	object verity.Digest // of the file
}

func (s *stream) Close() { s.file.Close() }

// openStream opens a stream by its name. Unless there is none of that name, a
// repo.ErrNoStream, what is wrong with it is an ErrBroken.
func openStream(r *repo.Repo, name string, want splitstream.Type) (*stream, error) {
	d, err := r.LookupStream(name)
	if err != nil {
		return nil, err
	}
	return openStreamObject(r, name, d, want)
}

// openStreamObject opens the stream whose file is an object. The type 0 stands for any.
func openStreamObject(r *repo.Repo, name string, d verity.Digest, want splitstream.Type) (*stream, error) {
	f, err := r.OpenObject(d)
	if errors.Is(err, repo.ErrNoObject) {
		return nil, broken("%s: %w", name, err)
	}
	if err != nil {
		return nil, err
	}
	s := &stream{repo: r, file: f, object: d}
	if err := s.read(name, want); err != nil {
		f.Close()
		return nil, err
	}
	return s, nil
}

func (s *stream) read(name string, want splitstream.Type) error {
	st, err := s.file.Stat()
	if err != nil {
		return err
	}
	found, err := verity.SumFile(s.object.Algorithm(), s.file, st.Size())
	if err != nil {
		return err
	}
	if found != s.object {
		return broken("%s: want the digest %s, found %s", name, s.object.Hex(), found.Hex())
	}
	s.Reader, err = splitstream.Open(s.file, st.Size())
	switch {
	case errors.Is(err, splitstream.ErrFormat), errors.Is(err, splitstream.ErrTooLarge):
		return broken("%s: %w", name, err)
	case err != nil:
		return err
	case want != 0 && s.Type != want:
		return broken("%s: want a stream of the type %v, found %v", name, want, s.Type)
	case s.Algorithm != s.object.Algorithm():
		return broken("%s: want objects by %v, found %v", name, s.object.Algorithm(), s.Algorithm)
	}
	return nil
}

// A stream stands for at most expansionFree bytes, and expansionFactor times what it and its objects
// have: one that names an object a million times would keep its reader busy for ever.
const (
	expansionFree   = 16 << 30
	expansionFactor = 64
)

// merge writes the stream's bytes.
func (s *stream) merge(w io.Writer) error {
	st, err := s.file.Stat()
	if err != nil {
		return err
	}
	has, claims := uint64(st.Size()), uint64(s.Size)
	for _, d := range s.Objects {
		if has >= claims {
			break
		}
		size, err := s.repo.ObjectSize(d)
		if err != nil {
			return err
		}
		has += uint64(size)
	}
	if claims > expansionFree && (claims-expansionFree)/expansionFactor > has {
		return fmt.Errorf("%w: it stands for %d bytes, and all that it is made of has %d", splitstream.ErrTooLarge, claims, has)
	}
	return s.Merge(w, s.open)
}

// document returns the bytes of a stream that is one document, with the digest sha256:HEX.
func (s *stream) document(name, digest string) ([]byte, error) {
	if s.Size > oci.MaxDocument {
		return nil, broken("%s: want at most %d bytes, found %d", name, oci.MaxDocument, s.Size)
	}
	b := make(limited, 0, s.Size)
	err := s.Merge(&b, func(d verity.Digest) (io.ReadCloser, error) { return s.repo.OpenObject(d) })
	if err != nil {
		return nil, broken("%s: %w", name, err)
	}
	if found := digestOf(b); found != digest {
		return nil, broken("%s: its content has the digest %s", name, found)
	}
	return b, nil
}

// limited is a Writer to memory.
type limited []byte

func (l *limited) Write(p []byte) (int, error) {
	if len(*l)+len(p) > oci.MaxDocument {
		return 0, oci.ErrLimit
	}
	*l = append(*l, p...)
	return len(p), nil
}

// ref returns the object of a named ref.
func (s *stream) ref(name string) (verity.Digest, bool) {
	for _, r := range s.Refs {
		if r.Name == name {
			return r.Object, true
		}
	}
	return verity.Digest{}, false
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return oci.Digest(sum[:])
}

func broken(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrBroken, fmt.Errorf(format, args...))
}
