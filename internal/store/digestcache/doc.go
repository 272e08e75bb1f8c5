// Package digestcache remembers the digests of files from one build to the next, so
// that the next one reads only what has changed since.
//
// It trusts the kernel: a file with the same size, modification time and change time
// as before has the same content as before. Programs can't set the change time, but
// it has limits, hence these rules:
//
//   - A file is identified by file system, device number and inode number.
//   - It is remembered only if its last change was more than Settled before the build
//     began. Change times are as coarse as the kernel's tick, or a second on some file
//     systems, and a process that has mapped a file can write to it without a new change
//     time until the kernel writes the pages back.
//   - Only files on ext4, XFS, Btrfs and F2FS are remembered. Other file systems have no
//     change time, leave it to another machine, or don't renew it for mapped files.
//   - A cache that others can write to isn't used: it could say anything.
//
// What remains: anyone who can set the clock back, write to the underlying disk, or
// restore an older state of it can hide a change from the cache. All of these need
// root. Without a cache, which is the default, everything is hashed.
//
//	file:   "composefs-dc 1\n" algorithm, records in order of their keys, SHA-256 of
//	        all that
//	record: key (60 bytes), digest (32 or 64 bytes)
//	key:    type and id of the file system, device, inode, size, seconds and
//	        nanoseconds of modification and of change, as big-endian numbers
package digestcache
