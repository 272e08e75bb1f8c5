package digestcache

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/osfile"
	"github.com/composefs-go/composefs/verity"
)

const magic = "composefs-dc 1\n"

// family is the start of every cache file, whatever its version.
const family = "composefs-dc "

// ErrOther is the cause when the file at the path of a cache is something else, which a
// cache would overwrite.
var ErrOther = errors.New("it is another file")

// headerSize is the size of magic and algorithm.
const headerSize = len(magic) + 1

// maxRecords is the largest number of files that are remembered.
const maxRecords = 1 << 20

// read returns the records of the file at path; none, and no error, if there is no
// file.
func read(path string, alg verity.Algorithm) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := checkFamily(f); err != nil {
		return nil, err
	}
	if err := checkOwner(f); err != nil {
		return nil, err
	}
	text, err := osfile.ReadAll(f, int64(headerSize+maxRecords*recordSize(alg)+sha256.Size))
	if err != nil {
		return nil, err
	}
	return parse(text, alg)
}

// checkFamily refuses a file that was never a cache. An empty file may become one.
func checkFamily(f *os.File) error {
	head := make([]byte, len(family))
	switch n, err := f.ReadAt(head, 0); {
	case n == 0 && errors.Is(err, io.EOF):
		return nil
	case err != nil && !errors.Is(err, io.EOF):
		return err
	case string(head[:n]) != family:
		return ErrOther
	}
	return nil
}

// checkOwner refuses a file that another user could have written.
func checkOwner(f *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return errors.New("it is no regular file")
	case st.Uid != uint32(os.Geteuid()) && st.Uid != 0:
		return fmt.Errorf("it belongs to user %d, want %d", st.Uid, os.Geteuid())
	case st.Mode&0o022 != 0:
		return fmt.Errorf("others can write to it (mode %04o)", st.Mode&0o7777)
	}
	return nil
}

func recordSize(alg verity.Algorithm) int { return keySize + alg.Size() }

func parse(text []byte, alg verity.Algorithm) ([]byte, error) {
	body, size := len(text)-sha256.Size, recordSize(alg)
	switch {
	case body < headerSize || !bytes.HasPrefix(text, []byte(magic)):
		return nil, errors.New("it isn't one, or of another version")
	case text[headerSize-1] != byte(alg):
		return nil, fmt.Errorf("its digests aren't %s", alg)
	case sha256.Sum256(text[:body]) != [sha256.Size]byte(text[body:]):
		return nil, errors.New("it is damaged")
	case (body-headerSize)%size != 0:
		return nil, fmt.Errorf("want records of %d bytes, found %d bytes", size, body-headerSize)
	}
	records := text[headerSize:body]
	for i := size; i < len(records); i += size {
		if bytes.Compare(records[i-size:][:keyIdentity], records[i:][:keyIdentity]) >= 0 {
			return nil, fmt.Errorf("record %d is out of order", i/size)
		}
	}
	return records, nil
}

// write replaces the file at path.
func write(path string, alg verity.Algorithm, records []byte) error {
	dir, err := osfile.OpenDir(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	osfile.Sweep(dir)
	return osfile.Replace(dir, filepath.Base(path), 0o600, func(f *os.File) error {
		h := sha256.New()
		header := append([]byte(magic), byte(alg))
		for _, part := range [][]byte{header, records} {
			h.Write(part)
			if _, err := f.Write(part); err != nil {
				return err
			}
		}
		_, err := f.Write(h.Sum(nil))
		return err
	})
}
