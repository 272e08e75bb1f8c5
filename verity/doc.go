// Package verity computes and checks fs-verity digests, and enables fs-verity on
// files.
//
// fs-verity is the kernel's integrity check for single files: a file's blocks are
// the leaves of a Merkle tree, and the kernel checks each block that it reads
// against it. The digest names both the tree's root and the file's size:
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
// composefs uses one set of parameters: blocks of 4096 bytes, no salt, SHA-256 or
// SHA-512. Source: Documentation/filesystems/fsverity.rst in the Linux kernel.
package verity
