// Package dumpfile reads and writes the text form of a file tree that the
// composefs tools exchange: one file a line, the root first.
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
// The two families of tools have a dialect each. Parse and Write are those of C,
// which understands nearly all that composefs-rs writes. C is stricter than
// mkcomposefs where that goes on with undefined values: the DIGEST of a file whose
// content is outside of the image must be 64 or 128 hex digits, GID and RDEV must
// be numbers, and a directory can't be the target of a hard link. Rust takes what
// composefs-rs does, and of what that writes without reading it the times before 1970. Source: composefs-dump(5), and the behaviour of
// the programs where the page is silent.
package dumpfile
