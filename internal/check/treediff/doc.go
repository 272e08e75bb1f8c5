// Package treediff says in which paths and attributes two file trees differ: what
// keeps two images from having one digest, in words.
//
// It compares what an image is made of. The size of a directory and its link count
// aren't: whoever writes an image computes them. Names of one file (hard links) are
// compared as such, and its attributes once.
//
//	A ─┐
//	   ├─▶ Trees ──▶ "/etc/motd: mode 0644 in A, 0600 in B" …
//	B ─┘     └─────▶ NewUpdate: objects and bytes that B has and A lacks
//
// The package does no I/O. Both trees must pass tree.Check.
package treediff
