package repo

import (
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/internal/osfile"
	"github.com/composefs-go/composefs/verity"
)

// Seals and their signatures are read up to these sizes, in bytes and in number.
const (
	sealMax       = 4096
	signatureMax  = 1024
	signaturesMax = 256 // as many as a keyring may have keys
)

// A Seal is the statement about an image and the signatures over it, as files.
type Seal struct {
	Text       []byte
	Signatures map[string][]byte // by the part of the name after ".seal": ".minisig", ".<key-id>.minisig"
}

// ReadSeal returns an image's seal; without one the error is an fs.ErrNotExist.
func (r *Repo) ReadSeal(d verity.Digest) (Seal, error) {
	name := d.Hex() + ".seal"
	text, err := r.readBounded(path.Join("seals", name), sealMax+1)
	if err != nil {
		return Seal{}, fmt.Errorf("read seal: %w", err)
	}
	signatures, err := r.readSignatures(name)
	return Seal{text, signatures}, err
}

func (r *Repo) readSignatures(name string) (map[string][]byte, error) {
	found := map[string][]byte{}
	dir, err := osfile.OpenDirPlain(r.lock, "seals")
	if err != nil {
		return nil, fmt.Errorf("read seals: %w", err)
	}
	defer dir.Close()
	all, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("read seals: %w", err)
	}
	slices.Sort(all)
	for _, file := range all {
		rest, ok := strings.CutPrefix(file, name)
		if !ok || !strings.HasSuffix(rest, ".minisig") || len(found) == signaturesMax {
			continue
		}
		if found[rest], err = r.readBounded(path.Join("seals", file), signatureMax+1); err != nil {
			return nil, fmt.Errorf("read seal: %w", err)
		}
	}
	return found, nil
}

// ReadSealFile reads a file of the directory of seals as composefs-setup-root does:
// a regular file of at most limit bytes, through no symbolic link. It is a
// sign.ReadSeal.
func (r *Repo) ReadSealFile(name string, limit int64) ([]byte, error) {
	return osfile.ReadFileIn(r.lock, path.Join("seals", name), limit)
}

// readBounded reads the start of a regular file, through no symbolic link.
func (r *Repo) readBounded(name string, limit int64) ([]byte, error) {
	f, err := osfile.OpenRegularPlain(r.lock, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}
