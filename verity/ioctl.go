package verity

import (
	"errors"
	"fmt"
	"os"
)

// Errors of Enable, Measure and Check. They come wrapped together with the system's error.
var (
	// ErrNotEnabled: the file doesn't have fs-verity enabled.
	ErrNotEnabled = errors.New("fs-verity is not enabled")
	// ErrAlreadyEnabled: the file has fs-verity enabled, perhaps with another algorithm.
	ErrAlreadyEnabled = errors.New("fs-verity is enabled already")
	// ErrBusy: the file is open for writing. It may be open in a child process between
	// fork and exec, which has every file of its parent open. A program that starts
	// processes must hold syscall.ForkLock for reading from when it opens the file for
	// writing until it closes it, or try again after a millisecond.
	ErrBusy = errors.New("file is open for writing")
	// ErrSignature: the kernel requires files to have built-in signatures, which
	// composefs doesn't use (sysctl fs.verity.require_signatures).
	ErrSignature = errors.New("the kernel wants a built-in fs-verity signature")
	// ErrMismatch: the file has another digest, or another algorithm, than is wanted.
	ErrMismatch = errors.New("fs-verity digest mismatch")
	// ErrUnsupported: the file system or the kernel has no fs-verity. It matches
	// errors.ErrUnsupported too.
	ErrUnsupported error = unsupportedError{}
)

type unsupportedError struct{}

func (unsupportedError) Error() string { return "fs-verity is not supported by the file system" }

func (unsupportedError) Is(target error) bool { return target == errors.ErrUnsupported }

// Enable enables fs-verity on a file, whose content can't be changed any more after that.
// f must be open for reading only, and the file must not be open for writing anywhere.
func Enable(f *os.File, alg Algorithm) error {
	if !alg.Valid() {
		return fmt.Errorf("enable fs-verity on %q: %w: number %d", f.Name(), ErrAlgorithm, alg)
	}
	if err := enable(f, alg); err != nil {
		return fmt.Errorf("enable fs-verity on %q: %w", f.Name(), err)
	}
	return nil
}

// Measure asks the kernel for the digest of a file that has fs-verity enabled. It doesn't
// read the content, which the kernel checks whenever it is read. If the file has another
// algorithm than alg, the error is an ErrMismatch.
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

// Check returns an error if the digest that Measure returns for a file isn't want.
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
