package verity

import (
	"errors"
	"fmt"
	"os"
)

// Errors of Enable, Measure and Check. The system's own error is wrapped beside them.
var (
	// ErrNotEnabled: the file is without fs-verity.
	ErrNotEnabled = errors.New("fs-verity is not enabled")
	// ErrAlreadyEnabled: the file has fs-verity on, perhaps with another digest.
	ErrAlreadyEnabled = errors.New("fs-verity is enabled already")
	// ErrBusy: somebody has the file open for writing. That may be a child
	// process between fork and exec, which holds every file of its parent: who
	// starts processes keeps syscall.ForkLock read-locked from opening the file
	// for writing until it is closed, or tries again after a millisecond.
	ErrBusy = errors.New("file is open for writing")
	// ErrSignature: the kernel wants files to have built-in signatures, which
	// composefs doesn't use (sysctl fs.verity.require_signatures).
	ErrSignature = errors.New("the kernel wants a built-in fs-verity signature")
	// ErrMismatch: the file has another digest, or one of another kind.
	ErrMismatch = errors.New("fs-verity digest mismatch")
	// ErrUnsupported: the file system or the kernel has no fs-verity. It is also
	// an errors.ErrUnsupported.
	ErrUnsupported error = unsupportedError{}
)

type unsupportedError struct{}

func (unsupportedError) Error() string { return "fs-verity is not supported by the file system" }

func (unsupportedError) Is(target error) bool { return target == errors.ErrUnsupported }

// Enable turns fs-verity on for a file, which from then on can't be changed. f
// must be open for reading only, and nobody may have the file open for writing.
func Enable(f *os.File, alg Algorithm) error {
	if !alg.Valid() {
		return fmt.Errorf("enable fs-verity on %q: %w: number %d", f.Name(), ErrAlgorithm, alg)
	}
	if err := enable(f, alg); err != nil {
		return fmt.Errorf("enable fs-verity on %q: %w", f.Name(), err)
	}
	return nil
}

// Measure asks the kernel for the digest of a file with fs-verity. It reads none
// of the file's data: the kernel checks that when it is read. A file with another
// algorithm is an ErrMismatch.
func Measure(f *os.File, alg Algorithm) (Digest, error) {
	d, err := measure(f)
	if err == nil && d.alg != alg {
		err = fmt.Errorf("%w: want one of %s, found %s", ErrMismatch, alg, d)
	}
	if err != nil {
		return Digest{}, fmt.Errorf("measure fs-verity of %q: %w", f.Name(), err)
	}
	return d, nil
}

// Check measures a file and compares its digest with the one wanted.
func Check(f *os.File, want Digest) error {
	have, err := Measure(f, want.alg)
	if err != nil {
		return err
	}
	if have != want {
		return fmt.Errorf("check %q: %w: want %s, found %s", f.Name(), ErrMismatch, want, have)
	}
	return nil
}
