// Package sign decides whether an image is ours: it has seals, the keys that sign
// them, and the policy that they are checked against.
//
// A seal is a short text about one image, kept beside it and signed with minisign,
// so that it can be read by people and checked with minisign itself:
//
//	composefs-seal 1
//	digest fsverity-sha256-12:0f0e…
//	format erofs-v1
//	size 1441792
//	os-id debian
//	os-version 13
//	sequence 42
//	ref debian/stable
//
//	seals/<hex>.seal                   the text
//	seals/<hex>.seal.minisig           its signature
//	seals/<hex>.seal.<key-id>.minisig  signatures of further keys
//
// The keys and the policy come from the initramfs, which the firmware has verified
// or the user trusts; the seal and its signatures come from an untrusted disk. So
// Policy.Verify doesn't parse a seal until it has verified a signature of it by a
// trusted key:
//
//	size ▷ signature ▷ text ▷ digest ▷ revoked? ▷ sequence ▷ os-id, ref ▷ Verdict
//
// Signatures are Ed25519 over the BLAKE2b-512 hash of the text ("prehashed", what
// minisign has written since 0.10). The older form is refused.
//
// Only private.go makes keys and signs; a program that only verifies links neither
// that code nor a source of random numbers.
package sign
