package sign

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/composefs-go/composefs/verity"
)

// ErrRef is the cause when a text can't be the name of a ref.
var ErrRef = errors.New("invalid ref name")

// maxRef is the size of the longest name of a ref in bytes; NAME_MAX is that of a file.
const maxRef = 255

// CheckRef accepts the names that a ref can be booted by, as in composefs.ref=NAME: they
// stay below images/refs whatever is there, and nobody splits or quotes them.
func CheckRef(name string) error {
	if name == "" || len(name) > maxRef {
		return fmt.Errorf("%w: want 1 to %d bytes, found %d", ErrRef, maxRef, len(name))
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." || part == ".." {
			return fmt.Errorf("%w %q: want names separated by single slashes, without . and ..", ErrRef, name)
		}
	}
	if i := strings.IndexFunc(name, notRefRune); i >= 0 {
		_, n := utf8.DecodeRuneInString(name[i:])
		return fmt.Errorf("%w %q: want letters, digits and ._-+@:/, found %q at byte %d", ErrRef, name, name[i:i+n], i)
	}
	return nil
}

func notRefRune(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._-+@:/", r)
}

// MaxRefLink is more than the text of any ref's link has, in bytes: a name of 255 has no
// more than 128 parts.
const MaxRefLink = 1024

// ParseRefLink reads the text of the link images/refs/NAME: "../HEX", with more "../" for
// a name with slashes, down to images.
func ParseRefLink(name, link string) (verity.Digest, error) {
	up := strings.Repeat("../", 1+strings.Count(name, "/"))
	hex, ok := strings.CutPrefix(link, up)
	d, err := verity.ParseAnyHex(hex)
	if !ok || err != nil {
		return verity.Digest{}, fmt.Errorf("composefs/images/refs/%s: want a link to %sHEX of an image, found %.140q", name, up, link)
	}
	return d, nil
}
