// Package tarball reads tar archives into a file tree.
//
// An archive is one stream: plain, gzip or zstd, told apart by their first bytes;
// entries in any of the formats that archive/tar reads (v7, ustar, pax, GNU with
// long names, sparse files of all kinds). Nothing is read twice and nothing is
// unpacked: contents go from the stream to a Sink by way of a few buffers.
//
//	stream ─▶ entries ─┬─▶ tree
//	                   └─▶ chunks ─▶ workers ─▶ Sink (digest only, or a repository)
//
// # What an archive means
//
// The tree is the one that GNU tar would unpack as root on an empty file system,
// and then it is that of package directory, so that both give one digest:
//
//   - Names are relative to the root, with or without "/" or "./" before them. An
//     entry for "./" or "/" describes the root itself.
//   - A later entry for a name replaces an earlier one. A directory over a directory
//     replaces its attributes and leaves its children alone.
//   - A parent directory without an entry of its own is 0755, 0:0, time 0, without
//     extended attributes; an entry that comes later describes it. The root without
//     an entry is the same. So an archive with all directories and one without have
//     one digest if and only if those directories have just these attributes.
//   - A hard link needs a target that came before it, and has no attributes of its
//     own. The first name in depth-first order is the original.
//   - Times have the nanoseconds of a pax header; owners are the numeric ones.
//   - The same of a global header (uid, gid, mtime) holds for all files after it that
//     have none of their own. Labels, comments and the like change nothing.
//   - A regular file whose name ends with "/" is a directory, as before there was a type
//     for those.
//   - SCHILY.xattr.NAME is an extended attribute; in NAME, %3D is "=" and %25 is "%",
//     as GNU tar writes them, or any %XX if libarchive wrote it. LIBARCHIVE.xattr.NAME is
//     one too, in base64; if both are there the first counts, since it is all that GNU
//     tar and container runtimes read. SCHILY.acl.access and SCHILY.acl.default become
//     system.posix_acl_access and _default, RHT.security.selinux becomes
//     security.selinux with the NUL at its end that the kernel's tools give it, unless
//     the attribute itself is there too.
//
// # Layers
//
// Several archives are the layers of an OCI image. In one of them .wh.NAME hides what
// lower layers have under NAME, and .wh..wh..opq all that they have in its directory.
// They hide nothing of their own layer, whether they come before or after it: what a
// layer has and hides is there as if the lower ones had never had it.
//
//   - A hidden directory that the layer has files in stays, with these alone. If the layer
//     has no entry for it, it is as any directory without one.
//   - A hard link takes what its target is when the link comes: a lower layer's file, if
//     the whiteout of that comes later, and otherwise it is an error. Container runtimes
//     do the same.
//   - A path through a symbolic link is an error. With Options.FollowLinks it leads where
//     the link does, as the tree is then: absolute targets begin at its root, there is
//     nothing above that, and the last name isn't followed. Hard links' targets and
//     whiteouts go the same way.
//
// composefs-rs lets a whiteout hide what came before it, of its own layer too. So does
// Options.InOrder. If the two give different trees, Options.Remark is told.
//
// # What is refused
//
// Each with the number and name of the entry: "..", names of more than 255 bytes, a
// file where a directory is needed, hard links to what isn't there or with content,
// types without a meaning here, numbers that the kernel couldn't hold, global headers
// that would change names, sizes or attributes, an archive that ends within an entry,
// and other bytes after it. One that ends without its end marker is read, with a remark.
//
// Memory is bounded by Options.MaxEntries, what an archive may unpack to by
// Options.MaxExpansion.
package tarball
