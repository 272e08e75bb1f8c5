// Package verity computes and checks fs-verity digests, and enables fs-verity on
// files.
//
// With fs-verity the kernel checks the integrity of single files: the blocks of a file
// are the leaves of a Merkle tree, and whenever the kernel reads a block, it checks the
// block against the tree. The digest depends on the root of the tree and on the size of
// the file:
//
//	file     | block 0 | block 1 | … | block n (zero-padded) |
//	              │         │               │
//	level 0  |  hash  |  hash  |  …   |   hash   |  in blocks of 4096 bytes
//	              └────┬────┘
//	level 1       |  hash  | …                      until one hash remains
//	                   │
//	descriptor  { version, algorithm, block size, file size, root hash }
//	                   │
//	digest         H(descriptor)
//
// composefs always uses blocks of 4096 bytes and no salt, with SHA-256 or SHA-512.
//
// [Sum], [SumReader] and [SumFile] compute the digest of one file. A [Hasher] serves for
// many. [Enable], [Measure] and [Check] talk to the kernel.
//
// Source: Documentation/filesystems/fsverity.rst in the Linux kernel.
package verity
