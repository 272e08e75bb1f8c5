package verity_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/verity"
)

func TestErrorsSayWhatTheKernelMeans(t *testing.T) {
	for _, test := range []struct {
		errno unix.Errno
		want  error
	}{
		{unix.ENODATA, verity.ErrNotEnabled},
		{unix.ENOTTY, verity.ErrUnsupported},
		{unix.ENOTTY, errors.ErrUnsupported},
		{unix.EOPNOTSUPP, verity.ErrUnsupported},
		{unix.ENOSYS, verity.ErrUnsupported},
		{unix.EEXIST, verity.ErrAlreadyEnabled},
		{unix.ETXTBSY, verity.ErrBusy},
		{unix.EBUSY, verity.ErrBusy},
		{unix.EOVERFLOW, verity.ErrMismatch},
		{unix.EKEYREJECTED, verity.ErrSignature},
		{unix.EPERM, unix.EPERM},
		{unix.EIO, unix.EIO},
		{unix.ENOSPC, unix.ENOSPC},
	} {
		err := verity.Explain(test.errno)
		if !errors.Is(err, test.want) || !errors.Is(err, test.errno) {
			t.Errorf("%d: found %v, want both %v and the number", test.errno, err, test.want)
		}
	}
	if err := verity.Explain(0); err != nil {
		t.Errorf("0: found %v", err)
	}
}

// TestEnableThenMeasureGivesTheDigest needs a file system with fs-verity under
// the temporary directory. Elsewhere both must say that there is none.
func TestEnableThenMeasureGivesTheDigest(t *testing.T) {
	content := randomBytes(1, 10000)
	for _, alg := range algorithms {
		f := readOnly(t, content)
		err := verity.Enable(f, alg)
		if errors.Is(err, verity.ErrUnsupported) {
			if _, err := verity.Measure(f, alg); !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, verity.ErrNotEnabled) {
				t.Errorf("measure: found %v, want ErrUnsupported", err)
			}
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := verity.Check(f, verity.Sum(alg, content)); err != nil {
			t.Error(err)
		}
		if err := verity.Check(f, verity.Sum(alg, nil)); !errors.Is(err, verity.ErrMismatch) {
			t.Errorf("check against another digest: found %v, want ErrMismatch", err)
		}
		if _, err := verity.Measure(f, verity.SHA256+verity.SHA512-alg); !errors.Is(err, verity.ErrMismatch) {
			t.Errorf("measure with the other algorithm: found %v, want ErrMismatch", err)
		}
		if err := verity.Enable(f, alg); !errors.Is(err, verity.ErrAlreadyEnabled) {
			t.Errorf("enable again: found %v, want ErrAlreadyEnabled", err)
		}
	}
}

func TestIoctlsOnWhatCannotHaveVerity(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := verity.Measure(null, verity.SHA256); !errors.Is(err, verity.ErrUnsupported) {
		t.Errorf("measure a device: found %v, want ErrUnsupported", err)
	}
	if err := verity.Enable(null, 7); !errors.Is(err, verity.ErrAlgorithm) {
		t.Errorf("enable with algorithm 7: found %v, want ErrAlgorithm", err)
	}
	if err := null.Close(); err != nil {
		t.Fatal(err)
	}
	if err := verity.Enable(null, verity.SHA256); err == nil {
		t.Errorf("enable on a closed file: no error")
	}
}

func readOnly(t *testing.T, content []byte) *os.File {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}
