package repo

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/composefs-go/composefs/verity"
)

// hasIntact reports whether the object is there with the right size and, in a
// repository that insists on fs-verity, the right fs-verity digest. One that is
// there and isn't intact is written anew.
func (s *Store) hasIntact(d verity.Digest, size int64) bool {
	name := s.layout.object(d)
	st, err := s.root.Lstat(name)
	if err != nil || !st.Mode().IsRegular() || st.Size() != size {
		return false
	}
	if !s.secure {
		return true
	}
	f, err := s.root.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	have, err := verity.Measure(f, d.Algorithm())
	return err == nil && have == d
}

// OpenObject opens an object for reading. It isn't verified.
func (s *Store) OpenObject(d verity.Digest) (*os.File, error) {
	f, err := s.root.Open(s.layout.object(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open object %s: %w", d.Hex(), ErrNoObject)
	}
	if err != nil {
		return nil, fmt.Errorf("open object %s: %w", d.Hex(), err)
	}
	return f, nil
}
