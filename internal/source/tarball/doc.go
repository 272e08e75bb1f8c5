// Package tarball reads tar archives into a file tree.
//
// An archive is one stream: plain, gzip or zstd, told apart by their first bytes;
// entries in any of the formats that archive/tar reads (v7, ustar, pax, GNU with
// long names, sparse files of all kinds). Nothing is read twice and nothing is
// unpacked to disk: contents go from the stream to a Sink through a few buffers.
//
//	stream ─▶ entries ─┬─▶ tree
//	                   └─▶ chunks ─▶ workers ─▶ Sink (digest only, or a repository)
//
// # What an archive means
//
// The tree is the one that package directory would read if GNU tar had unpacked the archive
// as root on an empty file system, so that both have the same digest:
//
//   - Names are relative to the root, with or without "/" or "./" before them. An
//     entry for "./" or "/" describes the root itself.
//   - A later entry for a name replaces an earlier one. A directory over a directory
//     replaces its attributes and leaves its children alone.
//   - A parent directory without an entry of its own is 0755, 0:0, time 0, without
//     extended attributes; an entry that comes later describes it. The root without
//     an entry is the same. So an archive with entries for all directories and one without
//     have the same digest if and only if the directories have just these attributes.
//   - A hard link needs a target that came before it, and has no attributes of its
//     own. The first name in depth-first order is the original.
//   - Times have the nanoseconds of a pax header; owners are the numeric ones.
//   - Owners and times in a global header (uid, gid, mtime) apply to all files after it that
//     have none of their own. Its other records, such as labels and comments, are ignored.
//   - A regular file whose name ends with "/" is a directory: the oldest archives have no
//     type for directories.
//   - SCHILY.xattr.NAME is an extended attribute; in NAME, %3D is "=" and %25 is "%",
//     as GNU tar writes them, or any %XX if libarchive wrote it. LIBARCHIVE.xattr.NAME is
//     one too, in base64; if both are present the first counts, since GNU tar and container
//     runtimes read only that. SCHILY.acl.access and SCHILY.acl.default become
//     system.posix_acl_access and _default, RHT.security.selinux becomes
//     security.selinux with the NUL at its end that the kernel's tools add, unless the
//     attribute itself is present too.
//
// # Layers
//
// Several archives are the layers of an OCI image. In a layer, .wh.NAME hides the file NAME
// of lower layers, and .wh..wh..opq hides everything that they have in its directory. They
// hide no files of their own layer, in whatever order the entries come: a file that a layer
// both has and hides is as if lower layers had never had it.
//
//   - A hidden directory in which the layer has files stays, with only these files. If the
//     layer has no entry for it, it is like any directory without an entry.
//   - The target of a hard link is looked up when the link comes. It may be a file of a
//     lower layer if the whiteout of that file comes later; if it came before, the link is
//     an error. Container runtimes do the same.
//   - A path through a symbolic link is an error. With Options.FollowLinks the link is
//     followed in the tree as it is at that point: absolute targets begin at its root,
//     nothing is above the root, and a link at the end of a path isn't followed. The same
//     holds for the targets of hard links and for whiteouts.
//
// In composefs-rs a whiteout hides everything that came before it, in its own layer too. So
// it does with Options.InOrder. If the two rules give different trees, Options.Remark is
// called.
//
// # What is refused
//
// Errors give the number and name of the entry. Refused are "..", names of more than 255
// bytes, a file where a directory is needed, hard links to missing files or with content,
// types that mean nothing here, numbers too large for the kernel, global headers that would
// change names, sizes or attributes, an archive that ends within an entry, and other bytes
// after it. An archive without its end marker is read, with a remark.
//
// Options.MaxEntries limits the memory, Options.MaxExpansion the size that an archive may
// unpack to.
package tarball
