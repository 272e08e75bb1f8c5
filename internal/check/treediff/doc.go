// Package treediff lists the paths and attributes in which two file trees differ:
// it says in words why two images have different digests.
//
// It compares everything that affects an image. Sizes and link counts of
// directories don't, since they are computed when an image is written. The names of
// a hard-linked file are compared as a set, and its attributes once.
//
//	A ─┐
//	   ├─▶ Trees ──▶ "/etc/motd: mode 0644 in A, 0600 in B" …
//	B ─┘     └─────▶ NewUpdate: objects and bytes that B has and A lacks
//
// The package does no I/O. Both trees must pass tree.Check.
package treediff
