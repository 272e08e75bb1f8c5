package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/internal/await"
	"github.com/composefs-go/composefs/internal/filekind"
	"github.com/composefs-go/composefs/internal/printable"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// sealOptions is what build and seal take to seal an image.
type sealOptions struct {
	keys         []string
	oneUse       string
	passwordFile string
	sequence     uint64
	osID         string
	osVersion    string
	forRefs      []string
	force        bool
}

func (o *sealOptions) flags(cmd *cobra.Command, keyFlag string) {
	f := cmd.Flags()
	f.StringArrayVar(&o.keys, keyFlag, nil, "seal the image with the private key in `FILE` (repeatable: any one of the keys is enough to boot)")
	f.StringVar(&o.oneUse, "one-use-key", "", "seal the image with a new key that signs nothing else: write its public key to `FILE`, and discard the private one")
	f.StringVar(&o.passwordFile, "password-file", "", "the first line of `FILE` decrypts the key (default: ask on the terminal)")
	f.Uint64Var(&o.sequence, "sequence", 0, "the image's `NUMBER`: higher is newer; a policy can refuse lower ones")
	f.StringVar(&o.osID, "os-id", "", "`ID` of the system in the seal, as in os-release")
	f.StringArrayVar(&o.forRefs, "for-ref", nil, "the seal is valid for boots by composefs.ref=`NAME`, and by no other ref (repeatable; default: by any)")
	f.BoolVar(&o.force, "force", false, "let a seal or a ref go back to a lower sequence")
	f.StringVar(&o.osVersion, "os-version", "", "`VERSION_ID` of the system in the seal, as in os-release")
}

// asked reports whether the image is to be sealed.
func (o *sealOptions) asked() bool { return len(o.keys) > 0 || o.oneUse != "" }

// check wants a number where it counts: a one-use key vouches for one image, and
// there is no older one.
func (o *sealOptions) check(cmd *cobra.Command) error {
	for _, name := range o.forRefs {
		if err := sign.CheckRef(name); err != nil {
			return usagef(cmd, "--for-ref: %w", err)
		}
	}
	if base, ok := strings.CutSuffix(o.oneUse, ".pub"); ok {
		if _, err := os.Lstat(base + ".key"); err == nil {
			return usagef(cmd, "--one-use-key: %s is the public half of %s.key, as mkimage key new names them, and would be overwritten: name another file", o.oneUse, base)
		}
	}
	// What fits into a seal with the longest digest and size fits into every one.
	if _, err := o.newSeal(verity.Sum(verity.SHA512, nil), erofs.V1, math.MaxInt64); err != nil {
		return usagef(cmd, "%w", err)
	}
	if !cmd.Flags().Changed("sequence") && (o.oneUse == "" || len(o.keys) > 0) {
		return usagef(cmd, "sealing needs --sequence N: a number that grows with each release, so that a machine can refuse older images")
	}
	return nil
}

// sealFlags are of no use where nothing is sealed.
var sealFlags = []string{"sequence", "os-id", "os-version", "for-ref", "password-file"}

// checkUnused refuses flags that would go unheard.
func (o *sealOptions) checkUnused(cmd *cobra.Command, keyFlag string) error {
	for _, name := range sealFlags {
		if cmd.Flags().Changed(name) {
			return usagef(cmd, "--%s is for a seal, and nothing is being sealed: name a key with --%s", name, keyFlag)
		}
	}
	return nil
}

// A signer is an open private key.
type signer struct {
	key    sign.PrivateKey
	public string // file that the public half goes to when the image is sealed; "" for keys that are kept
}

// open reads the keys before anything else is done: a wrong password should not
// cost a build. A one-use key is made in memory and never written.
func (o *sealOptions) open(u *ui) (signers []signer, err error) {
	if _, err := readPassword(o.passwordFile); err != nil { // also if no key needs it
		return nil, err
	}
	for _, name := range o.keys {
		key, err := o.openKey(u, name)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(signers, func(s signer) bool { return s.key.ID() == key.ID() }) {
			continue // named twice
		}
		signers = append(signers, signer{key: key})
	}
	if o.oneUse != "" {
		key, err := sign.NewKey()
		if err != nil {
			return nil, fmt.Errorf("make a one-use key: %w", err)
		}
		signers = append(signers, signer{key, o.oneUse})
	}
	return signers, nil
}

func (o *sealOptions) openKey(u *ui, name string) (sign.PrivateKey, error) {
	text, err := readKey(name, filekind.PrivateKey)
	if err != nil {
		return sign.PrivateKey{}, refusedAt(inKey, err)
	}
	password := ""
	if sign.IsEncrypted(text) {
		if password, err = o.password(u, name); err != nil {
			return sign.PrivateKey{}, err
		}
	}
	key, err := sign.ParsePrivateKey(text, password)
	if err != nil {
		return key, fmt.Errorf("open key %s: %w", name, err)
	}
	return key, nil
}

func (o *sealOptions) password(u *ui, name string) (string, error) {
	if o.passwordFile != "" {
		return readPassword(o.passwordFile)
	}
	f, ok := u.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return "", fmt.Errorf("key %s is encrypted and there is no terminal to ask for its password: use --password-file", name)
	}
	fmt.Fprintf(u.err, "password of %s: ", printable.Line(name))
	defer fmt.Fprintln(u.err)
	return askPassword(u.ctx, int(f.Fd()))
}

// askPassword reads a line from a terminal that doesn't show it. After a signal the
// terminal is as it was.
func askPassword(ctx context.Context, fd int) (string, error) {
	before, err := term.GetState(fd)
	if err != nil {
		return "", err
	}
	text, err := await.Call(ctx, func() ([]byte, error) { return term.ReadPassword(fd) })
	if ctx.Err() != nil {
		return "", errors.Join(err, term.Restore(fd, before))
	}
	return string(text), err
}

// readPassword returns the first line of a file; none if there is no name.
func readPassword(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	b, err := readSmall(name, 4096)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	if line == "" {
		return "", fmt.Errorf("%s: want a password in its first line, found none: write one there, or leave out --password-file if the key has none", name)
	}
	return line, nil
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
