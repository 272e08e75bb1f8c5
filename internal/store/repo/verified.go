package repo

import (
	"fmt"
	"io"

	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// verified reads an object, and hashes it.
type verified struct {
	io.ReadCloser
	want   verity.Digest
	hasher *verity.Hasher
}

// OpenVerified opens an object. Reading it to its end fails with a *sign.DigestError if it isn't what
// its name says.
func (r *Repo) OpenVerified(d verity.Digest) (io.ReadCloser, error) {
	f, err := r.OpenObject(d)
	if err != nil {
		return nil, err
	}
	return &verified{f, d, verity.NewHasher(d.Algorithm())}, nil
}

// Read implements io.Reader.
func (v *verified) Read(p []byte) (int, error) {
	n, err := v.ReadCloser.Read(p)
	v.hasher.Write(p[:n])
	if err == io.EOF {
		if wrong := sign.CheckDigest(v.want, v.hasher.Sum()); wrong != nil {
			err = fmt.Errorf("object %s: %w", v.want.Hex(), wrong)
		}
	}
	return n, err
}
