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
//   - SCHILY.xattr.NAME is an extended attribute; in NAME, %3D is "=" and %25 is "%",
//     as GNU tar writes them, or any %XX if libarchive wrote it. SCHILY.acl.access and SCHILY.acl.default become
//     system.posix_acl_access and _default, RHT.security.selinux becomes
//     security.selinux with the NUL at its end that the kernel's tools give it, unless
//     the attribute itself is there too.
//   - Several archives are the layers of an OCI image: .wh.NAME removes what came
//     before under NAME, .wh..wh..opq all that came before in its directory. Within
//     one archive they do the same, in the order of the entries, as in composefs-rs.
//
// # What is refused
//
// Each with the number and name of the entry: "..", names of more than 255 bytes, a
// file where a directory is needed (also a symlink to one: nothing is followed),
// hard links to what isn't there, types without a meaning here, numbers that the
// kernel couldn't hold, global headers that would change files, an archive without
// its end marker, and other bytes after it. Memory is bounded by Options.MaxEntries.
package tarball
