package setup

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/osfile"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// bufferSize is how much is read at a time. Reading goes through one buffer.
const bufferSize = 128 << 10

func (l *linux) OpenImage(d verity.Digest) (err error) {
	// images/HEX is a link to ../objects/xx/yyyy. Wherever it leads beneath the
	// repository, the digest of the file found there decides.
	l.image, err = osfile.OpenRegularIn(l.store, path.Join("images", d.Hex()))
	return err
}

// ResolveRef reads one link, images/refs/NAME -> ../HEX, and trusts nothing but
// the form of its text. No other link is followed on the way.
func (l *linux) ResolveRef(name string) (verity.Digest, error) {
	text, err := osfile.ReadLinkIn(l.store, path.Join("images/refs", name), sign.MaxRefLink)
	if err != nil {
		return verity.Digest{}, err
	}
	return sign.ParseRefLink(name, text)
}

func (l *linux) Measure(alg verity.Algorithm) (verity.Digest, error) {
	return l.digestOf(l.image, alg)
}

func (l *linux) ReadImage() error { return copyAll(io.Discard, l.image) }

// copyAll reads the whole file from its start through one buffer.
func copyAll(w io.Writer, f *os.File) error { return copyTo(w, f, 1<<62) }

// copyTo reads no more than so many bytes.
func copyTo(w io.Writer, f *os.File, size int64) error {
	_, err := io.CopyBuffer(onlyWriter{w}, io.NewSectionReader(f, 0, size), make([]byte, bufferSize))
	return err
}

// onlyWriter hides ReadFrom, which would bring a buffer of its own.
type onlyWriter struct{ io.Writer }

// maxImage is the largest image that is held in memory, in bytes.
const maxImage = 1 << 30

// HashImage makes a private copy: where there is no fs-verity the file could
// change between hashing and mounting. The copy is sealed: from then on nobody,
// whatever their privileges, can write to it.
func (l *linux) HashImage(alg verity.Algorithm) (verity.Digest, error) {
	info, err := l.image.Stat()
	if err != nil {
		return verity.Digest{}, err
	}
	if most := imageLimit(); info.Size() > most {
		return verity.Digest{}, refuse(CodeMount, problem(LargeImage, "the image is too large to hold in memory: want at most %d bytes here, found %d", most, info.Size()))
	}
	memory, err := newMemory("composefs image")
	if err != nil {
		return verity.Digest{}, err
	}
	h := verity.NewHasher(alg)
	if err = copyTo(io.MultiWriter(memory, h), l.image, info.Size()); err == nil {
		err = seal(memory)
	}
	if err != nil {
		memory.Close()
		return verity.Digest{}, err
	}
	l.image.Close()
	l.image = memory
	return h.Sum(), nil
}

// newMemory makes a file that is only in memory and may be sealed.
func newMemory(name string) (*os.File, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate(name, flags|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3
		fd, err = unix.MemfdCreate(name, flags)
	}
	if err != nil {
		return nil, fmt.Errorf("make a file in memory: %w", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// seal makes a file in memory immutable, for good.
func seal(f *os.File) error {
	_, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_GROW|unix.F_SEAL_SHRINK|unix.F_SEAL_SEAL)
	if err != nil {
		return fmt.Errorf("seal the copy in memory: %w", err)
	}
	return nil
}

// imageLimit leaves half of the memory to the system: an image larger than all of it
// would have the first process killed.
func imageLimit() int64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return maxImage
	}
	return min(maxImage, int64(uint64(info.Totalram)*uint64(info.Unit)/2))
}

func (l *linux) ReadSeal(f sign.File) ([]byte, error) {
	return osfile.ReadFileIn(l.store, path.Join(sign.Directory, f.Name()), f.Limit())
}
