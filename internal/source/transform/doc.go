// Package transform changes a tree into the one that an image for booting is made
// of. Whoever computes the digest of such an image, from whatever source, must do
// the same steps in the same order; so they are here and nowhere else.
//
//	source ─▶ OCI ─▶ tree of a container image ─▶ Boot ─▶ tree of a root to boot
//
// OCI makes what differs between the ways to the same content equal: the root
// takes its attributes from /usr, /run is emptied, xattrs that are of the machine
// rather than of the image are dropped.
//
// Boot empties what other file systems are mounted on, /boot and /sysroot, and
// labels all files as the SELinux policy in the tree says; without a policy there
// are no labels.
//
// Both recompute link counts from names, and make the first name of a file in
// sorted depth-first order its original. The steps are those of composefs-rs,
// which gives the same digests; where its releases differ, Release says whose.
package transform
