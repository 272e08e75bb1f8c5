package sign

import "github.com/composefs-go/composefs/verity"

// SealName returns the name of the file with an image's seal, "<hex>.seal".
func SealName(image verity.Digest) string { return image.Hex() + ".seal" }

// SignatureName returns the name of the file with the first signature of an
// image's seal, which is where minisign puts it: "<hex>.seal.minisig".
func SignatureName(image verity.Digest) string { return SealName(image) + ".minisig" }

// KeySignatureName returns the name of the file with the signature by a certain
// key, which lies beside the first one: "<hex>.seal.<key-id>.minisig".
func KeySignatureName(image verity.Digest, id KeyID) string {
	return SealName(image) + "." + id.String() + ".minisig"
}

// SignatureNames returns the names of all files that may hold a signature by one
// of the keys, the usual one first. Who looks for these needn't list a directory
// that nobody vouches for.
func (k Keyring) SignatureNames(image verity.Digest) []string {
	names := []string{SignatureName(image)}
	for _, key := range k {
		names = append(names, KeySignatureName(image, key.ID))
	}
	return names
}

// NextSignatureName returns the name that a signature by a certain key has while it waits
// for its text, and the key's other places are taken: "<hex>.seal.<key-id>.next.minisig".
func NextSignatureName(image verity.Digest, id KeyID) string {
	return SealName(image) + "." + id.String() + ".next.minisig"
}

// nextSignatureNames returns the names of files that are there only if somebody was
// stopped while he sealed the image again with several keys.
func (k Keyring) nextSignatureNames(image verity.Digest) (names []string) {
	for _, key := range k {
		names = append(names, NextSignatureName(image, key.ID))
	}
	return names
}
