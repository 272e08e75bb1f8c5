package repo

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
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
	s := Seal{text, map[string][]byte{}}
	entries, err := fs.ReadDir(r.root.FS(), "seals")
	if err != nil {
		return Seal{}, fmt.Errorf("read seals: %w", err)
	}
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), name)
		if !ok || !strings.HasSuffix(rest, ".minisig") || len(s.Signatures) == signaturesMax {
			continue
		}
		if s.Signatures[rest], err = r.readBounded(path.Join("seals", e.Name()), signatureMax+1); err != nil {
			return Seal{}, fmt.Errorf("read seal: %w", err)
		}
	}
	return s, nil
}

// ReadSealFile reads a file of the directory of seals as composefs-setup-root does:
// a regular file of at most limit bytes, through no symbolic link. It is a
// sign.ReadSeal.
func (r *Repo) ReadSealFile(name string, limit int64) ([]byte, error) {
	dir, err := r.root.Open(".")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return osfile.ReadFileIn(dir, path.Join("seals", name), limit)
}

func (r *Repo) readBounded(name string, limit int64) ([]byte, error) {
	f, err := r.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}

// WriteSeal stores a seal with its signatures and replaces the one there. An
// image without a seal is refused at boot, so the signatures come first: the seal
// itself is there only when they are.
func (r *Repo) WriteSeal(d verity.Digest, s Seal) error {
	if err := r.root.MkdirAll("seals", 0o755); err != nil {
		return fmt.Errorf("write seal: %w", err)
	}
	dir, err := r.root.Open("seals")
	if err != nil {
		return fmt.Errorf("write seal: %w", err)
	}
	defer dir.Close()
	replace := func(suffix string, content []byte) error {
		return osfile.Replace(dir, d.Hex()+".seal"+suffix, 0o644, func(f *os.File) error {
			_, err := f.Write(content)
			return err
		})
	}
	for _, suffix := range slices.Sorted(maps.Keys(s.Signatures)) {
		if err := replace(suffix, s.Signatures[suffix]); err != nil {
			return fmt.Errorf("write signature: %w", err)
		}
	}
	if err := replace("", s.Text); err != nil {
		return fmt.Errorf("write seal: %w", err)
	}
	return r.dropSignatures(d, s.Signatures)
}

// dropSignatures removes the signatures over an earlier text of the seal.
func (r *Repo) dropSignatures(d verity.Digest, keep map[string][]byte) error {
	have, err := r.ReadSeal(d)
	if err != nil {
		return err
	}
	for suffix := range have.Signatures {
		if _, ok := keep[suffix]; !ok {
			if err := r.root.Remove(path.Join("seals", d.Hex()+".seal"+suffix)); err != nil {
				return fmt.Errorf("remove outdated signature: %w", err)
			}
		}
	}
	return nil
}
