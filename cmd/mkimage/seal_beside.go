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
	return func(f sign.File) (text []byte, err error) {
		for _, file := range []string{
			image + strings.TrimPrefix(f.Name(), f.Image.Hex()),
			filepath.Join(dir, "..", sign.Directory, f.Name()),
			filepath.Join(dir, "..", "..", sign.Directory, f.Name()),
		} {
			if text, err = readSmall(file, f.Limit()); !errors.Is(err, fs.ErrNotExist) {
				break
			}
		}
		return text, err
	}
}
