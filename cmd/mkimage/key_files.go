package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/composefs-go/composefs/internal/filekind"
	"github.com/composefs-go/composefs/sign"
)

// A keyError is a file that isn't the key that is wanted.
type keyError struct {
	file, want, found string
	remedy            string
}

func (e *keyError) Error() string {
	return fmt.Sprintf("%s: want %s, found %s: %s", e.file, e.want, e.found, e.remedy)
}

// maxForeignKey is how much is read of a file that should be a key: more than ours
// may have, to tell what it is instead.
const maxForeignKey = 64 << 10

// readKey reads a file, and refuses what is another kind of key than wanted.
func readKey(file string, want filekind.Kind) ([]byte, error) {
	text, err := readStart(file, maxForeignKey)
	if err != nil {
		return nil, err
	}
	kind := filekind.Key(text)
	if kind == want || kind == filekind.Unknown && len(text) <= sign.MaxKeySize {
		return text, nil // the parser has the best words for what is no key at all
	}
	e := &keyError{file: file, found: string(kind), want: "a minisign public key"}
	if want == filekind.PrivateKey {
		e.want = "a minisign private key"
	}
	if kind == filekind.Unknown {
		e.found = fmt.Sprintf("more than %d bytes of something else", sign.MaxKeySize)
	}
	e.remedy = otherHalf(file, kind, want)
	return nil, e
}

// readStart reads at most so many bytes of a file.
func readStart(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}

// otherHalf says where the right key may be.
func otherHalf(file string, kind, want filekind.Kind) string {
	pairs := map[filekind.Kind][2]string{filekind.PublicKey: {".key", ".pub"}, filekind.PrivateKey: {".pub", ".key"}}
	name, right := "NAME", pairs[want][1]
	if kind != filekind.PublicKey && kind != filekind.PrivateKey {
		return "make a pair with `mkimage key new NAME`, and name NAME" + right
	}
	if stem, ok := strings.CutSuffix(file, pairs[want][0]); ok {
		name = stem
	}
	if _, err := os.Stat(name + right); err == nil {
		return "name " + name + right
	}
	return "name the other half of the pair, as `mkimage key new` made it: " + filepath.Base(name) + right
}

// A keyNames remembers where the keys of a keyring came from.
type keyNames map[string]sign.Key

// errTwoKeys is the cause when two keys have the same name: one would take the other's
// place in the initrd.
var errTwoKeys = errors.New("two different keys have the same name")

// add takes a key; the same one twice is as good as once.
func (n keyNames) add(k sign.Key) error {
	if have, taken := n[k.Name]; taken && !have.Equal(k) {
		return fmt.Errorf("%w, %s.pub: rename one of the files", errTwoKeys, k.Name)
	}
	n[k.Name] = k
	return nil
}
