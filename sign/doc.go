// Package sign says whether an image is ours: seals, the keys that sign them and
// the policy that they are held against.
//
// A seal is a small text about one image, kept beside it and signed with
// minisign, so that minisign itself, or a pair of eyes, can check it:
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
// The keys and the policy come from the initramfs, which the firmware has checked
// or the user trusts; the seal and its signatures come from a disk that nobody
// vouches for. So Policy.Verify reads nothing of a seal before a signature by a
// trusted key has held for it:
//
//	size ▷ signature ▷ text ▷ digest ▷ revoked? ▷ sequence ▷ os-id, ref ▷ Verdict
//
// Signatures are Ed25519 over the BLAKE2b-512 hash of the text ("prehashed", what
// minisign has written since 0.10). The older form is refused.
//
// Making keys and signing are in private.go alone; a program that only verifies
// links neither them nor a source of random numbers.
package sign
