package repo

import (
	"fmt"
	"io"
	"path"
	"slices"

	"github.com/composefs-go/composefs/internal/osfile"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// SealFiles are the contents of the files of an image's seal, unverified.
type SealFiles struct {
	Text       []byte
	Signatures map[sign.File][]byte
}

// ReadSeal returns the files of an image's seal; without a text the error is an
// fs.ErrNotExist. Of a file that is too large it returns more than its Limit.
func (r *Repo) ReadSeal(d verity.Digest) (SealFiles, error) {
	text, err := r.readStart(sign.TextFile(d))
	if err != nil {
		return SealFiles{}, fmt.Errorf("read seal: %w", err)
	}
	signatures, err := r.readSignatures(d)
	return SealFiles{text, signatures}, err
}

func (r *Repo) readSignatures(d verity.Digest) (map[sign.File][]byte, error) {
	found := map[sign.File][]byte{}
	dir, err := osfile.OpenDirPlain(r.lock, sign.Directory)
	if err != nil {
		return nil, fmt.Errorf("read seals: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("read seals: %w", err)
	}
	slices.Sort(names)
	for _, name := range names {
		f, ok := sign.ParseFile(name)
		if !ok || f.Image != d || !f.IsSignature() || len(found) == sign.MaxSignatures {
			continue
		}
		if found[f], err = r.readStart(f); err != nil {
			return nil, fmt.Errorf("read seal: %w", err)
		}
	}
	return found, nil
}

// sealPath is where a file of a seal is.
func sealPath(f sign.File) string { return path.Join(sign.Directory, f.Name()) }

// ReadSealFile reads a file of a seal as composefs-setup-root does: a regular file,
// through no symbolic link. It is a sign.ReadSeal.
func (r *Repo) ReadSealFile(f sign.File) ([]byte, error) {
	return osfile.ReadFileIn(r.lock, sealPath(f), f.Limit())
}

// readStart reads the start of a regular file, through no symbolic link.
func (r *Repo) readStart(name sign.File) ([]byte, error) {
	f, err := osfile.OpenRegularPlain(r.lock, sealPath(name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, name.Limit()+1))
}
