package verity

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

func enable(f *os.File, alg Algorithm) error {
	arg := unix.FsverityEnableArg{
		Version:        1,
		Hash_algorithm: uint32(alg),
		Block_size:     BlockSize,
	}
	return ioctl(f, unix.FS_IOC_ENABLE_VERITY, unsafe.Pointer(&arg))
}

// measurement is a struct fsverity_digest with room for the longest digest.
//
//	 0           2      4
//	+-----------+------+--------------------+
//	| algorithm | size | digest (64 bytes)  |
type measurement struct {
	unix.FsverityDigest
	sum [64]byte
}

// measure returns the digest that the kernel has for a file. The kernel doesn't tell
// block size and salt: with others than ours the digest is another one, and the file is
// refused when digests are compared.
func measure(f *os.File) (Digest, error) {
	var m measurement
	m.Size = uint16(len(m.sum))
	if err := ioctl(f, unix.FS_IOC_MEASURE_VERITY, unsafe.Pointer(&m)); err != nil {
		return Digest{}, err
	}
	alg := Algorithm(m.Algorithm)
	if m.Algorithm > uint16(SHA512) || int(m.Size) != alg.Size() {
		return Digest{}, fmt.Errorf("%w: want SHA-256 or SHA-512, found algorithm %d with a digest of %d bytes",
			ErrMismatch, m.Algorithm, m.Size)
	}
	return NewDigest(alg, m.sum[:m.Size])
}

// ioctl uses SyscallConn, so that f can't be closed during the call.
func ioctl(f *os.File, request uintptr, arg unsafe.Pointer) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	errno := unix.EINTR
	control := func(fd uintptr) {
		for errno == unix.EINTR {
			_, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, request, uintptr(arg))
		}
	}
	if err := conn.Control(control); err != nil {
		return err
	}
	return explain(errno)
}

// meanings says what the kernel means by an error (Documentation/filesystems/
// fsverity.rst, "FS_IOC_ENABLE_VERITY" and "FS_IOC_MEASURE_VERITY").
var meanings = map[unix.Errno]error{
	unix.ENODATA:      ErrNotEnabled,
	unix.ENOTTY:       ErrUnsupported, // the file system doesn't know the request
	unix.EOPNOTSUPP:   ErrUnsupported, // it does, but was made without the feature, or the kernel lacks it
	unix.ENOSYS:       ErrUnsupported,
	unix.EEXIST:       ErrAlreadyEnabled,
	unix.ETXTBSY:      ErrBusy,
	unix.EBUSY:        ErrBusy, // another process is enabling it just now
	unix.EOVERFLOW:    ErrMismatch,
	unix.EKEYREJECTED: ErrSignature,
	unix.EBADMSG:      ErrSignature,
	unix.ENOKEY:       ErrSignature,
}

func explain(errno unix.Errno) error {
	if errno == 0 {
		return nil
	}
	if meaning, ok := meanings[errno]; ok {
		return fmt.Errorf("%w (%w)", meaning, errno)
	}
	return errno
}
