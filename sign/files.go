package sign

import (
	"strings"

	"github.com/composefs-go/composefs/verity"
)

// Directory is the directory of the seals in a repository.
const Directory = "seals"

// MaxSignatures is the largest number of files in which Policy.Check looks for a signature.
const MaxSignatures = 1 + 2*MaxKeys

// A File is a file of an image's seal: its text, or one of its signatures.
type File struct {
	Image  verity.Digest
	Suffix string // what its name has after "<hex>.seal": "" for the text
}

// signatureEnding ends the names of signature files, as minisign names them.
const signatureEnding = ".minisig"

// TextFile returns the file with the text of an image's seal, "<hex>.seal".
func TextFile(image verity.Digest) File { return File{Image: image} }

// SignatureFile returns the file with the first signature of an image's seal, which is
// where minisign puts it: "<hex>.seal.minisig".
func SignatureFile(image verity.Digest) File { return File{image, signatureEnding} }

// KeySignatureFile returns the file with the signature by a particular key, beside the first
// one: "<hex>.seal.<key-id>.minisig".
func KeySignatureFile(image verity.Digest, id KeyID) File {
	return File{image, "." + id.String() + signatureEnding}
}

// NextSignatureFile returns the file in which a signature by a particular key waits for its
// text while the key's other files are in use: "<hex>.seal.<key-id>.next.minisig".
func NextSignatureFile(image verity.Digest, id KeyID) File {
	return File{image, "." + id.String() + ".next" + signatureEnding}
}

// ParseFile parses a name as Name returns it; ok is false if it isn't the name of a file of
// a seal.
func ParseFile(name string) (f File, ok bool) {
	hex, suffix, ok := strings.Cut(name, ".seal")
	image, err := verity.ParseAnyHex(hex)
	f = File{image, suffix}
	if !ok || err != nil || suffix != "" && !f.IsSignature() {
		return File{}, false
	}
	return f, true
}

// Name returns the name of the file in its directory.
func (f File) Name() string { return f.Image.Hex() + ".seal" + f.Suffix }

// IsSignature reports whether the file holds a signature, rather than the text.
func (f File) IsSignature() bool {
	return strings.HasPrefix(f.Suffix, ".") && strings.HasSuffix(f.Suffix, signatureEnding)
}

// Compare orders files by their names.
func (f File) Compare(other File) int { return strings.Compare(f.Name(), other.Name()) }

// Limit returns the largest size that the file may have, in bytes.
func (f File) Limit() int64 {
	if f.Suffix == "" {
		return MaxSealSize
	}
	return MaxSignatureSize
}

// SignatureFiles returns all files that may hold a signature by one of the keys, the usual
// one first. With these names there is no need to list an untrusted directory.
func (k Keyring) SignatureFiles(image verity.Digest) []File {
	return append([]File{SignatureFile(image)}, k.filesOf(image, KeySignatureFile)...)
}

func (k Keyring) filesOf(image verity.Digest, of func(verity.Digest, KeyID) File) (files []File) {
	for _, key := range k {
		files = append(files, of(image, key.ID))
	}
	return files
}
