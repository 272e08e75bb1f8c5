package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/composefs-go/composefs/sign"
)

// The kinds of minisign's files.
const (
	publicKind    = "a public key"
	privateKind   = "a private key"
	signatureKind = "a signature"
)

// keyKinds are what people take for a key of ours, by how the text begins.
var keyKinds = []struct {
	begins *regexp.Regexp
	kind   string
}{
	{regexp.MustCompile(`^-----BEGIN OPENSSH PRIVATE KEY-----`), "a private key of OpenSSH"},
	{regexp.MustCompile(`^(ssh-(ed25519|rsa|dss)|ecdsa-sha2-\S+|sk-\S+) AAAA`), "a public key of OpenSSH"},
	{regexp.MustCompile(`^-----BEGIN SSH2? PUBLIC KEY-----`), "a public key of OpenSSH"},
	{regexp.MustCompile(`^-----BEGIN ([A-Z]+ )?PRIVATE KEY-----`), "a private key in PEM, as of openssl"},
	{regexp.MustCompile(`^-----BEGIN ([A-Z]+ )?PUBLIC KEY-----`), "a public key in PEM, as of openssl"},
	{regexp.MustCompile(`^-----BEGIN (TRUSTED )?CERTIFICATE-----`), "a certificate in PEM, as of openssl"},
	{regexp.MustCompile(`^-----BEGIN PGP `), "a key or signature of OpenPGP"},
	{regexp.MustCompile(`^(# created: |AGE-SECRET-KEY-|age1)`), "a key of age"},
	{regexp.MustCompile(`^untrusted comment: (signify|[^\n]*\bsignify\b)`), "a file of signify"},
	{regexp.MustCompile(`^composefs-seal `), "the statement of a seal"},
}

// keyKind tells what the text of a file is, if it is a key or something like that.
func keyKind(text []byte) string {
	for _, k := range keyKinds {
		if k.begins.Match(text) {
			return k.kind
		}
	}
	if _, err := sign.ParseKey("", text); err == nil {
		return publicKind
	}
	if _, err := sign.ParseSignature(text); err == nil {
		return signatureKind
	}
	if sign.IsEncrypted(text) {
		return privateKind
	}
	if _, err := sign.ParsePrivateKey(text, ""); err == nil {
		return privateKind
	}
	if secret := lastLine(text); bytes.HasPrefix(secret, []byte("EdBK")) {
		return "a private key of signify"
	}
	return ""
}

// lastLine decodes the base64 that such files end with.
func lastLine(text []byte) []byte {
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	b, _ := base64.StdEncoding.AppendDecode(nil, bytes.TrimSpace(lines[len(lines)-1]))
	return b
}

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
func readKey(file, want string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxForeignKey))
	if err != nil {
		return nil, err
	}
	kind := keyKind(text)
	if kind == want || kind == "" && len(text) <= sign.MaxKeySize {
		return text, nil // the parser has the best words for what is no key at all
	}
	e := &keyError{file: file, found: kind, want: "a minisign public key"}
	if want == privateKind {
		e.want = "a minisign private key"
	}
	if kind == "" {
		e.found = fmt.Sprintf("more than %d bytes of something else", sign.MaxKeySize)
	}
	e.remedy = otherHalf(file, kind, want)
	return nil, e
}

// otherHalf says where the right key may be.
func otherHalf(file, kind, want string) string {
	pairs := map[string][2]string{publicKind: {".key", ".pub"}, privateKind: {".pub", ".key"}}
	name, right := "NAME", pairs[want][1]
	if kind != publicKind && kind != privateKind {
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
