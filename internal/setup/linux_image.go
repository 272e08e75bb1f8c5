package setup

import (
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/mount"
	"github.com/composefs-go/composefs/internal/osfile"
	"github.com/composefs-go/composefs/verity"
)

// openFlags open what may be anything: a FIFO must not keep us waiting for its
// writer, nor a terminal become ours.
const openFlags = unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY

// bufferSize is how much is read at a time. Reading goes through one buffer.
const bufferSize = 128 << 10

func (l *linux) OpenImage(d verity.Digest) error {
	// images/HEX is a link to ../objects/xx/yyyy. Wherever it leads beneath the
	// repository, it is the digest of what is found there that decides.
	f, err := osfile.OpenIn(l.store, path.Join("images", d.Hex()), openFlags)
	if err != nil {
		return err
	}
	if err := wantRegular(f); err != nil {
		f.Close()
		return err
	}
	l.image = f
	return nil
}

func wantRegular(f *os.File) error {
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: want a regular file, found %s", f.Name(), info.Mode().Type())
	}
	return err
}

// ResolveRef reads one link, images/refs/NAME -> ../HEX, and trusts nothing but
// the form of its text.
func (l *linux) ResolveRef(name string) (verity.Digest, error) {
	link, err := osfile.OpenIn(l.store, path.Join("images/refs", name), unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return verity.Digest{}, err
	}
	defer link.Close()
	buf := make([]byte, 1024)
	n, err := unix.Readlinkat(int(link.Fd()), "", buf)
	if err != nil {
		return verity.Digest{}, fmt.Errorf("read the link %s: %w", link.Name(), err)
	}
	// A ref in a subdirectory has more "../", down to images.
	hex, ok := strings.CutPrefix(string(buf[:n]), strings.Repeat("../", 1+strings.Count(name, "/")))
	d, err := verity.ParseAnyHex(hex)
	if !ok || err != nil {
		return verity.Digest{}, fmt.Errorf("%s: want a link to ../HEX of an image, found %.140q", link.Name(), buf[:n])
	}
	return d, nil
}

func (l *linux) Measure(alg verity.Algorithm) (verity.Digest, error) {
	return verity.Measure(l.image, alg)
}

func (l *linux) ReadImage() error { return copyAll(io.Discard, l.image) }

// copyAll reads the whole file from its start through one buffer.
func copyAll(w io.Writer, f *os.File) error {
	_, err := io.CopyBuffer(onlyWriter{w}, io.NewSectionReader(f, 0, 1<<62), make([]byte, bufferSize))
	return err
}

// onlyWriter hides ReadFrom, which would bring a buffer of its own.
type onlyWriter struct{ io.Writer }

// HashImage makes a private copy: where there is no fs-verity the file could
// change between hashing and mounting. ramfs, because EROFS can't be mounted
// from a file on tmpfs; it never goes to swap either.
func (l *linux) HashImage(alg verity.Algorithm) (verity.Digest, error) {
	memory, err := mount.Memory("ramfs", "mode=0700")
	if err != nil {
		return verity.Digest{}, err
	}
	defer memory.Close()
	to, err := osfile.OpenPlain(memory, "image", unix.O_RDWR|unix.O_CREAT|unix.O_EXCL)
	if err != nil {
		return verity.Digest{}, err
	}
	defer to.Close()
	h := verity.NewHasher(alg)
	if err := copyAll(io.MultiWriter(to, h), l.image); err != nil {
		return verity.Digest{}, err
	}
	copied, err := osfile.OpenPlain(memory, "image", unix.O_RDONLY)
	if err != nil {
		return verity.Digest{}, err
	}
	l.image.Close()
	l.image = copied
	return h.Sum(), nil
}

func (l *linux) ReadSeal(name string, limit int64) ([]byte, error) {
	return osfile.ReadFileIn(l.store, path.Join("seals", name), limit)
}
