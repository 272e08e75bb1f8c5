// Package dumpfile reads and writes the text form of a file tree that the composefs tools
// exchange: one line per file, the root first.
//
//	PATH SIZE MODE NLINK UID GID RDEV MTIME PAYLOAD CONTENT DIGEST KEY=VALUE…
//	/usr/bin 4096 40755 2 0 0 0 1700000000.0 - - -
//	/usr/bin/sh 4 120777 1 0 0 0 1700000000.0 bash - - security.selinux=bin_t
//	/usr/bin/bash 1346480 100755 1 0 0 0 1700000000.0 2d/7116… - 2d7116…
//	/usr/bin/rbash 0 @100755 1 0 0 0 0.0 /usr/bin/bash - -
//
// Fields are separated by one space; a backslash escapes (\\ \n \r \t \xHH); a
// lone "-" means that an optional field isn't there; "@" before the mode makes a
// hard link whose target is PAYLOAD, named before or after.
//
// The C tools and composefs-rs each have a dialect. Parse and Write use the dialect of C,
// in which nearly everything that composefs-rs writes can be read. They are stricter than
// mkcomposefs where mkcomposefs goes on with undefined values: the DIGEST of a file whose
// content is outside of the image must be 64 or 128 hex digits, GID and RDEV must be
// numbers, and a directory can't be the target of a hard link. Rust accepts what
// composefs-rs accepts, and also times before 1970, which composefs-rs writes but refuses
// to read. Source: composefs-dump(5), and the behaviour of the programs where that page
// says nothing.
package dumpfile
