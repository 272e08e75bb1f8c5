package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/composefs-go/composefs/internal/repo"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// systemKeys is where the keys are that the machine's owner trusts.
const systemKeys = "/etc/composefs/keys.d"

// trustedKeys reads the keys that count: those named, or the machine's.
func trustedKeys(names []string) (sign.Keyring, error) {
	if len(names) == 0 {
		names = []string{systemKeys}
		if _, err := os.Stat(systemKeys); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w: no key is trusted: there is no directory %s: put the .pub file of the signing key there", errRefused, systemKeys)
		}
	}
	keys, err := loadKeyring(names)
	if err == nil && len(keys) == 0 {
		err = fmt.Errorf("%w: no key is trusted: %s has no file *.pub: put that of the signing key there", errRefused, names[0])
	}
	return keys, err
}

// sealBeside returns how to find the seal of an image that is a file: beside it, as
// FILE.seal, or if it is in a repository, there. mount(8) follows the link that
// images/HEX is, to objects/xx/yyyy. Where a seal lies proves nothing.
func sealBeside(image string, keys sign.Keyring) func(verity.Digest) (repo.Seal, error) {
	return func(d verity.Digest) (seal repo.Seal, err error) {
		dir := filepath.Dir(image)
		for _, name := range []string{
			image + ".seal",
			filepath.Join(dir, "..", "seals", sign.SealName(d)),
			filepath.Join(dir, "..", "..", "seals", sign.SealName(d)),
		} {
			if seal, err = readSeal(name, keys); !errors.Is(err, fs.ErrNotExist) {
				break
			}
		}
		return seal, err
	}
}

// readSeal reads a seal and those of its signatures that may be by one of the keys.
func readSeal(name string, keys sign.Keyring) (repo.Seal, error) {
	text, err := readSmall(name, sign.MaxSealSize)
	if err != nil {
		return repo.Seal{}, err
	}
	s := repo.Seal{Text: text, Signatures: map[string][]byte{}}
	suffixes := []string{".minisig"}
	for _, key := range keys {
		suffixes = append(suffixes, "."+sign.FormatID(key.ID)+".minisig")
	}
	for _, suffix := range suffixes {
		signature, err := readSmall(name+suffix, sign.MaxSignatureSize)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return s, err
		}
		s.Signatures[suffix] = signature
	}
	return s, nil
}
