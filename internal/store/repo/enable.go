package repo

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/composefs-go/composefs/internal/osfile"
	"github.com/composefs-go/composefs/verity"
)

// EnableVerity turns fs-verity on for all objects, and then for meta.json: from then on the
// repository requires it. A repository that was copied has lost it. It returns the number of
// objects that didn't have it. An object with other content than its name says is a
// verity.ErrMismatch; without fs-verity in the kernel or the file system, the error is a
// verity.ErrUnsupported.
func (r *Repo) EnableVerity(ctx context.Context) (enabled int64, err error) {
	for f, err := range r.Objects(ctx) {
		if err != nil {
			return enabled, err
		}
		if f.Digest.IsZero() {
			continue
		}
		did, err := r.enable(f.Digest)
		if err != nil {
			return enabled, fmt.Errorf("object %s: %w", f.Digest.Hex(), err)
		}
		if did {
			enabled++
		}
	}
	meta, err := osfile.OpenRegularPlain(r.lock, "meta.json")
	if err != nil {
		return enabled, err
	}
	defer meta.Close()
	if _, err := verity.Measure(meta, r.meta.Algorithm); !errors.Is(err, verity.ErrNotEnabled) {
		return enabled, err
	}
	return enabled, verity.Enable(meta, r.meta.Algorithm)
}

// enable turns fs-verity on for an object, and reports whether it didn't have it.
func (r *Repo) enable(d verity.Digest) (did bool, err error) {
	f, err := r.OpenObject(d)
	if err != nil {
		return false, err
	}
	defer f.Close()
	found, err := verity.Measure(f, d.Algorithm())
	if errors.Is(err, verity.ErrNotEnabled) {
		did = true
		// Before: fs-verity can't be turned off again.
		if found, err = sumOpen(f, d.Algorithm()); err != nil || found != d {
			return false, errors.Join(fmt.Errorf("%w: found %s", verity.ErrMismatch, found.Hex()), err)
		}
		if err = verity.Enable(f, d.Algorithm()); err == nil {
			found, err = verity.Measure(f, d.Algorithm())
		}
	}
	if err == nil && found != d {
		err = fmt.Errorf("%w: found %s", verity.ErrMismatch, found.Hex())
	}
	return did, err
}

func sumOpen(f *os.File, alg verity.Algorithm) (verity.Digest, error) {
	st, err := f.Stat()
	if err != nil {
		return verity.Digest{}, err
	}
	return verity.SumFile(alg, f, st.Size())
}
