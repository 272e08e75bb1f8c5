package ocistore

import (
	"context"
	"crypto/sha256"
	"io"
	"strings"

	"github.com/composefs-go/composefs/internal/oci"
	"github.com/composefs-go/composefs/internal/store/repo"
)

// Cat writes the content of a stream, which may be named by a ref ("refs/…"): a manifest, a
// configuration or the archive of a layer, without compression. If the name has a digest, the
// content is compared with that: what has been written before an ErrBroken isn't what the name says.
func Cat(ctx context.Context, r *repo.Repo, w io.Writer, name string) error {
	if ref, ok := strings.CutPrefix(name, "refs/"); ok {
		target, err := r.LookupStreamRef(ref)
		if err != nil {
			return err
		}
		name = target
	}
	s, err := openStream(r, name, 0)
	if err != nil {
		return err
	}
	defer s.Close()
	hash := sha256.New()
	out := &until{ctx: ctx, Writer: w}
	if err := s.merge(io.MultiWriter(out, hash)); err != nil {
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case out.err != nil:
			return out.err
		}
		return broken("%s: %w", name, err)
	}
	prefix, _ := kindOf(name)
	want := strings.TrimPrefix(name, prefix)
	if found := oci.Digest(hash.Sum(nil)); prefix != "" && isDigest(want) && found != want {
		return broken("%s: its content has the digest %s", name, found)
	}
	return nil
}
