// Package transform changes a tree into the one from which an image for booting is
// made. Whatever the source, the digest of such an image is the same only if the
// same steps are done in the same order, so they are all in this package.
//
//	source ─▶ OCI ─▶ tree of a container image ─▶ Boot ─▶ tree of a root to boot
//
// OCI removes differences that come from how the same content was unpacked: the
// root takes its attributes from /usr, /run is emptied, and xattrs that belong to
// the machine rather than to the image are dropped.
//
// Boot empties /boot and /sysroot, over which other file systems are mounted, and
// labels all files according to the SELinux policy in the tree; without a policy
// there are no labels.
//
// Both recompute link counts from names, and make the first name of a file in
// sorted depth-first order its original. The steps are the same as in composefs-rs,
// so the digests are too; where releases of composefs-rs differ, Release selects
// one.
package transform
