// Package filekind recognizes kinds of files by their first bytes or, if they aren't
// regular files, by their mode. Messages use it to say what was found instead of what was
// wanted.
//
//	head ─▶ table of kinds ─▶ Kind, as in "FILE is KIND"
package filekind

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/composefs-go/composefs/sign"
)

// A Kind is what a file is, in words that continue "FILE is …".
type Kind string

// The kinds that more is done with than saying so.
const (
	Unknown    Kind = ""
	Empty      Kind = "empty"
	Zeros      Kind = "a file of zeros"
	PublicKey  Kind = "a public key"  // of minisign
	PrivateKey Kind = "a private key" // of minisign
	Signature  Kind = "a signature"   // of minisign
	Tar        Kind = "a tar archive"
	Dump       Kind = "a dump" // composefs-dump text
	JSON       Kind = "JSON"
	Text       Kind = "a text"
	Image      Kind = "an image" // EROFS
	EFI        Kind = "an EFI program"
	Disk       Kind = "a disk" // it has a partition table
	Cpio       Kind = "a cpio archive"
	Packed     Kind = "packed" // an archive, most likely
)

// HeadSize is how many bytes of a file Of wants to see, if the file has as many.
const HeadSize = 2048

// keyKinds are keys and what people take for one, signatures and statements.
var keyKinds = []row{
	{"a private key of OpenSSH", begins(`-----BEGIN OPENSSH PRIVATE KEY-----`)},
	{"a public key of OpenSSH", begins(`(ssh-(ed25519|rsa|dss)|ecdsa-sha2-\S+|sk-\S+) AAAA`)},
	{"a public key of OpenSSH", begins(`-----BEGIN SSH2? PUBLIC KEY-----`)},
	{"a private key in PEM, as of openssl", begins(`-----BEGIN ([A-Z]+ )?PRIVATE KEY-----`)},
	{"a public key in PEM, as of openssl", begins(`-----BEGIN ([A-Z]+ )?PUBLIC KEY-----`)},
	{"a certificate in PEM, as of openssl", begins(`-----BEGIN (TRUSTED )?CERTIFICATE-----`)},
	{"a key or signature of OpenPGP", begins(`-----BEGIN PGP `)},
	{"a key of age", begins(`(# created: |AGE-SECRET-KEY-|age1)`)},
	{"a file of signify", begins(`untrusted comment: (signify|[^\n]*\bsignify\b)`)},
	{"the statement of a seal", begins(`composefs-seal `)},
	{PublicKey, func(head []byte) bool { _, err := sign.ParseKey("", head); return err == nil }},
	{Signature, func(head []byte) bool { _, err := sign.ParseSignature(head); return err == nil }},
	{PrivateKey, isPrivateKey},
	{"a private key of signify", func(head []byte) bool { return bytes.HasPrefix(lastLine(head), []byte("EdBK")) }},
}

// kinds are all kinds in the order in which they are tried. A text may begin with the magic
// number of something else, and the boot sector of a FAT file system ends as a disk's does.
var kinds = slices.Concat([]row{
	{Empty, func(head []byte) bool { return len(head) == 0 }},
	{Tar, magic(257, "ustar")},
}, keyKinds, []row{
	{Dump, magic(0, "/ ")},
	{JSON, begins(`\s*\{`)},
	{Cpio, afterZeros("07070")},
	{Text, isText},
	{EFI, magic(0, "MZ")},
	{Image, magic(1024, "\xe2\xe1\xf5\xe0")},
	{"a FAT file system without a disk around it", magic(54, "FAT")},
	{"a FAT file system without a disk around it", magic(82, "FAT")},
	{Disk, magic(512, "EFI PART")},
	{Disk, magic(510, "\x55\xaa")},
	{Packed, afterZeros("\x1f\x8b", "\x28\xb5\x2f\xfd", "\xfd7zXZ\x00", "\x02\x21\x4c\x18", "BZh", "\x5d\x00", "\x89LZO")}, // what kernels unpack
	{"a program", magic(0, "\x7fELF")},
	{"an ext4 file system without a disk around it", magic(1080, "\x53\xef")},
	{"an XFS file system without a disk around it", magic(0, "XFSB")},
	{"a squashfs file system", magic(0, "hsqs")},
	{Zeros, func(head []byte) bool { return len(bytes.TrimLeft(head, "\x00")) == 0 }},
})

// A row says how a kind is told.
type row struct {
	kind Kind
	is   func(head []byte) bool
}

// Of tells what a file is that begins with head: HeadSize bytes, or all that it has.
func Of(head []byte) Kind { return find(kinds, head) }

// Key tells what the text of a file is if it is a key, or is taken for one. Otherwise it
// is Unknown.
func Key(text []byte) Kind { return find(keyKinds, text) }

// secretMarks are in texts that hold a private key beside something else, such as a
// certificate.
var secretMarks = regexp.MustCompile(`-----BEGIN ([A-Z0-9]+ )*PRIVATE KEY( BLOCK)?-----|AGE-SECRET-KEY-1`)

// HoldsSecret reports whether the content of a file is or has a private key: in a format of
// text, or in DER. Other binary files have none: an archive may have a file with a key in it.
func HoldsSecret(content []byte) bool {
	return isText(content) && secretMarks.Match(content) || strings.HasPrefix(string(Key(content)), string(PrivateKey)) || isPrivateDER(content)
}

// isPrivateDER reports whether a file is a private key as openssl writes it with -outform
// DER, encrypted or not, or a PKCS #12 file, which holds one as a rule.
func isPrivateDER(content []byte) bool {
	if isEncryptedPKCS8(content) || isPKCS12(content) {
		return true
	}
	_, pkcs8 := x509.ParsePKCS8PrivateKey(content)
	_, pkcs1 := x509.ParsePKCS1PrivateKey(content)
	_, ec := x509.ParseECPrivateKey(content)
	return pkcs8 == nil || pkcs1 == nil || ec == nil
}

// isEncryptedPKCS8 reports whether a file is an EncryptedPrivateKeyInfo of RFC 5958.
func isEncryptedPKCS8(content []byte) bool {
	var key struct {
		Algorithm pkix.AlgorithmIdentifier
		Data      []byte
	}
	rest, err := asn1.Unmarshal(content, &key)
	return err == nil && len(rest) == 0
}

// isPKCS12 reports whether a file is a PFX of RFC 7292.
func isPKCS12(content []byte) bool {
	const version = 3
	var pfx struct {
		Version  int
		AuthSafe struct {
			Type    asn1.ObjectIdentifier
			Content asn1.RawValue `asn1:"tag:0"`
		}
		MAC asn1.RawValue `asn1:"optional"`
	}
	rest, err := asn1.Unmarshal(content, &pfx)
	return err == nil && len(rest) == 0 && pfx.Version == version
}

func find(rows []row, head []byte) Kind {
	for _, r := range rows {
		if r.is(head) {
			return r.kind
		}
	}
	return Unknown
}

// magic finds bytes at one place.
func magic(at int, want string) func([]byte) bool {
	return func(head []byte) bool {
		return len(head) >= at+len(want) && string(head[at:at+len(want)]) == want
	}
}

// afterZeros finds one of several magic numbers behind any zeros, which pad the parts of
// an initrd.
func afterZeros(magics ...string) func([]byte) bool {
	return func(head []byte) bool {
		head = bytes.TrimLeft(head, "\x00")
		return slices.ContainsFunc(magics, func(m string) bool { return bytes.HasPrefix(head, []byte(m)) })
	}
}

// begins matches the beginning of a text.
func begins(pattern string) func([]byte) bool {
	return regexp.MustCompile("^(?:" + pattern + ")").Match
}

// isText reports whether head is text in UTF-8. Its last character may be cut.
func isText(head []byte) bool {
	if len(head) == HeadSize {
		for cut := 1; cut < utf8.UTFMax && !utf8.Valid(head); cut++ {
			head = head[:HeadSize-cut]
		}
	}
	control := func(r rune) bool { return r < ' ' && !unicode.IsSpace(r) }
	return utf8.Valid(head) && !bytes.ContainsFunc(head, control)
}

func isPrivateKey(head []byte) bool {
	if sign.IsEncrypted(head) {
		return true
	}
	_, err := sign.ParsePrivateKey(head, "")
	return err == nil
}

// lastLine decodes the base64 that keys of minisign and signify end with.
func lastLine(text []byte) []byte {
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	b, _ := base64.StdEncoding.AppendDecode(nil, bytes.TrimSpace(lines[len(lines)-1]))
	return b
}
