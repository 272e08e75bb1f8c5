package tpm

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// devices are where the kernel has the TPM: first by its resource manager, which
// others may use at the same time.
var devices = []string{"/dev/tpmrm0", "/dev/tpm0"}

// maxResponse is the longest answer of any TPM, in bytes.
const maxResponse = 4096

// pause is the time between two looks for a device.
const pause = 20 * time.Millisecond

// Open opens the TPM below the directory root, "/" but for tests, and waits for it
// to appear: drivers are loaded at the same time as others. If none comes, the
// error is fs.ErrNotExist.
func Open(root string, wait time.Duration) (*os.File, error) {
	for end := time.Now().Add(wait); ; time.Sleep(pause) {
		for _, name := range devices {
			f, err := open(root + name)
			if !errors.Is(err, fs.ErrNotExist) {
				return f, err
			}
		}
		if !time.Now().Before(end) {
			return nil, fmt.Errorf("open the TPM: neither %s nor %s is there: %w", devices[0], devices[1], fs.ErrNotExist)
		}
	}
}

// open doesn't use os.OpenFile: that would make the descriptor non-blocking, and
// reading an answer that isn't ready would give none.
func open(name string) (*os.File, error) {
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// Extend extends the register with the event and returns the digest that each bank got.
func Extend(device io.ReadWriter, pcr uint32, event string) ([]Digest, error) {
	command, err := EventCommand(pcr, []byte(event))
	if err != nil {
		return nil, err
	}
	// One write is one command, one read is its whole answer.
	if _, err := device.Write(command); err != nil {
		return nil, fmt.Errorf("measure into PCR %d: %w", pcr, err)
	}
	answer := make([]byte, maxResponse)
	n, err := device.Read(answer)
	if err != nil {
		return nil, fmt.Errorf("measure into PCR %d: %w", pcr, err)
	}
	digests, err := ParseEventResponse(answer[:n])
	if err != nil {
		return nil, fmt.Errorf("measure into PCR %d: %w", pcr, err)
	}
	want := sha256.Sum256([]byte(event))
	for _, d := range digests {
		// The others are as right as this one: it is the TPM that hashes.
		if d.Algorithm == "sha256" && !bytes.Equal(d.Sum, want[:]) {
			return nil, fmt.Errorf("measure into PCR %d: %w: the sha256 bank got %x, want %x", pcr, ErrMalformed, d.Sum, want)
		}
	}
	return digests, nil
}
