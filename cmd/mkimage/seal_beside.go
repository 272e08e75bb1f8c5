package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/composefs-go/composefs/sign"
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
		err = fmt.Errorf("%w: no key is trusted: %s has no file *.pub: put the .pub file of the signing key there", errRefused, names[0])
	}
	return keys, err
}

// sealBeside reads the seal of an image that is a file: beside it, as FILE.seal, or if
// it is in a repository, there. mount(8) follows the link that images/HEX is, to
// objects/xx/yyyy. Where a seal lies proves nothing.
func sealBeside(image string) sign.ReadSeal {
	dir := filepath.Dir(image)
	return func(name string, limit int64) (text []byte, err error) {
		_, ending, _ := strings.Cut(name, ".") // HEX.seal, HEX.seal.minisig …
		for _, file := range []string{
			image + "." + ending,
			filepath.Join(dir, "..", "seals", name),
			filepath.Join(dir, "..", "..", "seals", name),
		} {
			if text, err = readSmall(file, limit); !errors.Is(err, fs.ErrNotExist) {
				break
			}
		}
		return text, err
	}
}
