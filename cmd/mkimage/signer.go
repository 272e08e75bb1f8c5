package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/internal/repo"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// sealOptions is what build and seal take to seal an image.
type sealOptions struct {
	key          string
	passwordFile string
	sequence     uint64
	osID         string
	osVersion    string
}

func (o *sealOptions) flags(cmd *cobra.Command, keyFlag string) {
	f := cmd.Flags()
	f.StringVar(&o.key, keyFlag, "", "seal the image with the private key in `FILE`")
	f.StringVar(&o.passwordFile, "password-file", "", "the first line of `FILE` decrypts the key (default: ask on the terminal)")
	f.Uint64Var(&o.sequence, "sequence", 0, "the image's `NUMBER`: higher is newer; a policy can refuse lower ones")
	f.StringVar(&o.osID, "os-id", "", "`ID` of the system in the seal, as in os-release")
	f.StringVar(&o.osVersion, "os-version", "", "`VERSION_ID` of the system in the seal, as in os-release")
}

func (o *sealOptions) check(cmd *cobra.Command) error {
	if !cmd.Flags().Changed("sequence") {
		return usagef(cmd, "sealing needs --sequence N: a number that grows with each release, so that a machine can refuse older images")
	}
	return nil
}

// A signer is an open private key.
type signer struct{ key sign.PrivateKey }

// open reads the key before anything else is done: a wrong password should not
// cost a build. Without a key it returns nil.
func (o *sealOptions) open(u *ui) (*signer, error) {
	if o.key == "" {
		return nil, nil
	}
	text, err := readSmall(o.key, sign.MaxKeySize)
	if err != nil {
		return nil, err
	}
	password := ""
	if sign.IsEncrypted(text) {
		if password, err = o.password(u); err != nil {
			return nil, err
		}
	}
	key, err := sign.ParsePrivateKey(text, password)
	if err != nil {
		return nil, fmt.Errorf("open key %s: %w", o.key, err)
	}
	return &signer{key}, nil
}

func (o *sealOptions) password(u *ui) (string, error) {
	if o.passwordFile != "" {
		return readPassword(o.passwordFile)
	}
	f, ok := u.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return "", fmt.Errorf("key %s is encrypted and there is no terminal to ask for its password: use --password-file", o.key)
	}
	fmt.Fprintf(u.err, "password of %s: ", o.key)
	b, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(u.err)
	return string(b), err
}

// readPassword returns the first line of a file; none if there is no name.
func readPassword(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	b, err := readSmall(name, 4096)
	line, _, _ := strings.Cut(string(b), "\n")
	return line, err
}

// sealed is what seal reports.
type sealed struct {
	Digest   verity.Digest `json:"digest"`
	Sequence uint64        `json:"sequence"`
	Key      string        `json:"key"`
	File     string        `json:"file"`
}

// seal signs a statement about the image and stores both. If the same statement is
// there already, the signature is added to those by other keys.
func (o *sealOptions) seal(r *repo.Repo, image verity.Digest, format erofs.Format, size int64, s *signer) (sealed, error) {
	statement := sign.Seal{
		Digest: image, Format: format.String(), Size: uint64(size),
		OSID: o.osID, OSVersion: o.osVersion, Sequence: o.sequence,
	}
	text := statement.Text()
	signature, err := sign.Sign(text, s.key)
	if err != nil {
		return sealed{}, fmt.Errorf("seal image %s: %w", image.Hex(), err)
	}
	have, err := r.ReadSeal(image)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return sealed{}, err
	}
	if !bytes.Equal(have.Text, text) {
		have = repo.Seal{Text: text, Signatures: map[string][]byte{}}
	}
	suffix := strings.TrimPrefix(sign.SignatureName(image), sign.SealName(image))
	if other, taken := have.Signatures[suffix]; taken && !madeBy(other, s.key.ID()) {
		suffix = strings.TrimPrefix(sign.KeySignatureName(image, s.key.ID()), sign.SealName(image))
	}
	have.Signatures[suffix] = signature
	if err := r.WriteSeal(image, have); err != nil {
		return sealed{}, err
	}
	return sealed{image, o.sequence, sign.FormatID(s.key.ID()), "seals/" + sign.SealName(image)}, nil
}

func madeBy(signature []byte, key uint64) bool {
	s, err := sign.ParseSignature(signature)
	return err == nil && s.KeyID == key
}

// readSmall reads a file of at most limit bytes.
func readSmall(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("read %s: want at most %d bytes, found more", name, limit)
	}
	return b, err
}
