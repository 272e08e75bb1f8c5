package oci

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
)

// checked reads a blob, and compares its size and digest at its end.
type checked struct {
	r      io.ReadCloser
	what   string
	digest string // or "", which isn't compared
	size   int64  // or -1
	hash   hash.Hash
	n      int64
	err    error
}

func newChecked(r io.ReadCloser, what, digest string, size int64) *checked {
	return &checked{r: r, what: what, digest: digest, size: size, hash: sha256.New()}
}

// Read implements io.Reader. It reads one byte more than the blob should have, to see that
// it ends.
func (c *checked) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.r.Read(p)
	c.n += int64(n)
	c.hash.Write(p[:n])
	switch {
	case c.size >= 0 && c.n > c.size:
		n, err = 0, &MismatchError{c.what, "size", fmt.Sprint(c.size), "more"}
	case err == io.EOF:
		if wrong := c.check(); wrong != nil {
			err = wrong
		}
	case err != nil:
		err = fmt.Errorf("%s: %w", c.what, err)
		// The library for registries compares digests too, with other words.
		if wrong := c.check(); c.n == c.size && wrong != nil {
			err = wrong
		}
	}
	c.err = err
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

func (c *checked) check() error {
	if c.size >= 0 && c.n != c.size {
		return &MismatchError{c.what, "size", fmt.Sprint(c.size), fmt.Sprint(c.n)}
	}
	if found := Digest(c.hash.Sum(nil)); c.digest != "" && found != c.digest {
		return &MismatchError{c.what, "digest", c.digest, found}
	}
	return nil
}

func (c *checked) Close() error { return c.r.Close() }
