package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

type sealCommand struct {
	sealOptions
	repo          string
	statementOnly bool
	output        string
	signature     string
	statementFile string
	trusted       []string
}

const sealLong = `Seal writes a statement about IMAGE (a digest or a ref) into the repository and signs it
in minisign's format. A machine with the public key in its initramfs boots the image only
with such a seal, and only if the sequence number isn't below its minimum.

Sealing with a second key adds a signature, if the statement is the same. One valid
signature is enough to boot. Another statement replaces the one that was there, together
with all its signatures: name every key that machines rely on.

A key that isn't on this machine signs in three steps:

  mkimage seal --repo repo --sequence 42 --statement-only IMAGE   here: writes HEX.seal
  minisign -S -s KEY -m HEX.seal                                  where the key is
  mkimage seal --repo repo --add-signature HEX.seal.minisig --keys KEY.pub IMAGE

The statement is a short text, which people can read before they sign it. --add-signature
reads it from beside the signature, or else from the repository, and refuses a signature
that composefs-setup-root would refuse.`

func newSeal(u *ui) *cobra.Command {
	var o sealCommand
	cmd := &cobra.Command{
		Use:     "seal --repo DIR --key FILE --sequence N IMAGE",
		Short:   "sign an image, so that machines with the key boot it",
		Long:    sealLong,
		Example: "  mkimage seal --repo repo --key mykey.key --sequence 42 debian/13",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(cmd); err != nil {
				return err
			}
			return o.run(u, args[0])
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.repo, "repo", "", "repository `DIR`")
	o.flags(cmd, "key")
	f.BoolVar(&o.statementOnly, "statement-only", false, "write the text to be signed, and sign nothing")
	f.StringVarP(&o.output, "output", "o", "", "with --statement-only: write the statement to `FILE` (default: HEX.seal; - is standard output)")
	f.StringVar(&o.signature, "add-signature", "", "store the signature in `FILE`, made by minisign of a statement")
	f.StringVar(&o.statementFile, "statement", "", "with --add-signature: the `FILE` that was signed (default: FILE without .minisig, or the seal in the repository)")
	f.StringArrayVar(&o.trusted, "keys", nil, "with --add-signature: the signature must be by one of these keys: a .pub `FILE`, or a directory of them (repeatable)")
	return cmd
}

// check finds what can't be meant: there are three ways to use the command.
func (o *sealCommand) check(cmd *cobra.Command) error {
	ways := 0
	for _, way := range []bool{o.asked(), o.statementOnly, o.signature != ""} {
		if way {
			ways++
		}
	}
	switch {
	case o.repo == "" && ways == 0:
		return usagef(cmd, "seal needs --repo and --key")
	case o.repo == "":
		return usagef(cmd, "seal needs --repo")
	case ways == 0:
		return usagef(cmd, "seal needs --key, or --statement-only to sign elsewhere")
	case ways > 1:
		return usagef(cmd, "--key, --statement-only and --add-signature exclude each other")
	case o.signature == "" && (o.statementFile != "" || len(o.trusted) > 0):
		return usagef(cmd, "--statement and --keys go with --add-signature")
	case !o.statementOnly && o.output != "":
		return usagef(cmd, "--output goes with --statement-only")
	case o.signature != "":
		return o.checkUnused(cmd, "key instead of --add-signature") // all that is in the statement
	}
	return o.sealOptions.check(cmd)
}

func (o *sealCommand) run(u *ui, name string) error {
	if err := checkOutputs(o.output, o.oneUse); err != nil {
		return err
	}
	signers, err := o.open(u)
	if err != nil {
		return err
	}
	r, err := openRepo(u, o.repo)
	if err != nil {
		return err
	}
	defer r.Close()
	image, header, size, err := openSound(r, name)
	if err != nil {
		return err
	}
	if o.signature != "" {
		return o.addSignature(u, r, image, size)
	}
	seal, err := o.newSeal(image, header.Version, size)
	if err != nil {
		return err
	}
	if err := o.checkSeal(u, r, image, o.sequence, publicKeys(signers)); err != nil {
		return err
	}
	if o.statementOnly {
		return o.writeStatement(u, seal)
	}
	result, err := o.store(u, r, seal, signers)
	if err != nil {
		return err
	}
	return o.report(u, result)
}

func (o *sealCommand) report(u *ui, s sealReport) error {
	var keys []string
	for _, id := range s.Keys {
		keys = append(keys, id.String())
	}
	return u.result(s, fmt.Sprintf("%s/%s: sequence %d, key %s", o.repo, s.File, s.Sequence, strings.Join(keys, ", ")))
}

// openSound returns what a seal says about an image, having read all of it: never
// vouch for an image by its name alone, nor for one that can't be read.
func openSound(r *repo.Repo, name string) (d verity.Digest, h erofs.Header, size int64, err error) {
	if d, err = r.Resolve(name); err != nil {
		return
	}
	f, err := r.Verify(d, sign.Policy{Need: sign.Off}, repo.AnyContent)
	if err != nil {
		return
	}
	defer f.Close()
	size = f.Size
	img, err := erofs.Open(f, size)
	if err == nil {
		h = img.Header()
		var root *tree.Node
		root, err = repo.CheckImage(img, d)
		if err == nil {
			err = checkSizes(r, root)
		}
	}
	if err != nil {
		err = fmt.Errorf("%w to seal image %s, which isn't sound: %w", errRefused, d.Hex(), err)
	}
	return
}

// checkSizes checks that objects have the sizes that an image says. Ones that aren't there yet aren't
// looked at.
func checkSizes(r *repo.Repo, root *tree.Node) error {
	for name, e := range tree.Walk(root) {
		d := e.Node.ContentObject()
		if d.IsZero() || e.Link {
			continue
		}
		size, err := r.ObjectSize(d)
		if errors.Is(err, repo.ErrNoObject) {
			continue
		}
		if err != nil {
			return err
		}
		if size != int64(e.Node.Size) {
			return fmt.Errorf("%w: %s: want %d bytes, and the object %s has %d", repo.ErrUnsound, name, e.Node.Size, d.ObjectPath(), size)
		}
	}
	return nil
}

// writtenStatement is what seal --statement-only reports.
type writtenStatement struct {
	Digest   verity.Digest `json:"digest"`
	Sequence uint64        `json:"sequence"`
	File     string        `json:"file"`
}

func (o *sealCommand) writeStatement(u *ui, seal sign.Seal) error {
	s, text := seal.Statement(), seal.Text()
	if standardOutputs[o.output] {
		_, err := u.out.Write(text)
		return err
	}
	name := o.output
	if name == "" {
		name = sign.TextFile(s.Digest).Name()
	}
	if err := u.writeOutputBytes(name, text); err != nil {
		return err
	}
	return u.result(writtenStatement{s.Digest, s.Sequence, name},
		fmt.Sprintf("%s: sign it with `minisign -S -s KEY -m %s`, then: mkimage seal --repo %s --add-signature %s --keys KEY.pub %s",
			name, shellWord(name), shellWord(o.repo), shellWord(name+".minisig"), s.Digest.Hex()))
}

// addSignature stores what another program signed, if it is a seal of this image.
func (o *sealCommand) addSignature(u *ui, r *repo.Repo, image verity.Digest, size int64) error {
	text, err := o.signedStatement(r, image)
	if err != nil {
		return err
	}
	signature, err := readSmall(o.signature, sign.MaxSignatureSize)
	if err != nil {
		return err
	}
	s, err := sign.ParseSignature(signature)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", errRefused, o.signature, err)
	}
	seal, err := checkStatement(text, image, size)
	said := seal.Statement()
	var known sign.Keyring
	if err == nil {
		known, err = o.checkSigner(u, r, seal, signature)
	}
	if isUnreadable(err) {
		return err
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	if err := o.checkSeal(u, r, image, said.Sequence, known); err != nil {
		return err
	}
	o.remarkLost(u, r, seal, []sign.KeyID{s.KeyID})
	if err := addSignatures(u, r, seal, []sign.Signature{s}, known); err != nil {
		return err
	}
	return o.report(u, newSealReport(said, []sign.KeyID{s.KeyID}))
}

// signedStatement reads the text that the signature is of.
func (o *sealCommand) signedStatement(r *repo.Repo, image verity.Digest) ([]byte, error) {
	if o.statementFile != "" {
		return readSmall(o.statementFile, sign.MaxSealSize)
	}
	if beside, ok := strings.CutSuffix(o.signature, ".minisig"); ok {
		if text, err := readSmall(beside, sign.MaxSealSize); !errors.Is(err, fs.ErrNotExist) {
			return text, err
		}
	}
	have, err := r.ReadSeal(image)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the statement that was signed is neither beside %s nor in the repository: name it with --statement", o.signature)
	}
	return have.Text, err
}

// checkStatement checks that a text says the truth about an image.
func checkStatement(text []byte, image verity.Digest, size int64) (sign.Seal, error) {
	seal, err := sign.ParseSeal(text)
	s := seal.Statement()
	switch {
	case err != nil:
		return seal, err
	case s.Digest != image:
		return seal, fmt.Errorf("%w: want %s, found %s", sign.ErrOtherDigest, image, s.Digest)
	case s.Size != 0 && s.Size != uint64(size):
		return seal, fmt.Errorf("the statement says that the image has %d bytes, found %d", s.Size, size)
	}
	return seal, nil
}

// checkSigner wants the signature to be by one of the keys, if there are any to
// hold it against, and returns them.
func (o *sealCommand) checkSigner(u *ui, r *repo.Repo, seal sign.Seal, signature []byte) (sign.Keyring, error) {
	if len(o.trusted) == 0 {
		if by := replacedSigners(r, seal, signature); len(by) > 0 {
			return nil, fmt.Errorf("the image has another seal, by %s, and without the public key it can't be checked that this signature is any good: name the key with --keys", strings.Join(by, " and "))
		}
		u.remark("the signature wasn't checked, as there is no --keys; the boot will check it")
		return nil, nil
	}
	keys, err := loadKeyring(o.trusted)
	if err != nil {
		return nil, err
	}
	_, err = sign.Policy{Keys: keys}.Verify(seal.Statement().Digest, seal.Text(), [][]byte{signature})
	return keys, err
}

// replacedSigners returns the keys whose signatures would go if one was stored: all of
// another statement, or the one by the same key.
func replacedSigners(r *repo.Repo, seal sign.Seal, signature []byte) []string {
	have, err := r.ReadSeal(seal.Statement().Digest)
	if err != nil {
		return nil
	}
	added, _ := sign.ParseSignature(signature)
	var keys []string
	for _, text := range have.Signatures {
		s, err := sign.ParseSignature(text)
		if err == nil && !bytes.Equal(text, signature) && (s.KeyID == added.KeyID || !bytes.Equal(have.Text, seal.Text())) {
			keys = append(keys, s.KeyID.String())
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}
