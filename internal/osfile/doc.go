// Package osfile opens files beneath a directory, and publishes files such that after a
// crash there is either the old state or the new one.
//
// A directory is always an open *os.File and a path is always relative to it:
//
//	OpenIn        stays beneath the directory, also where it follows symbolic links
//	OpenPlain     the same, but refuses every symbolic link
//	OpenRegularPlain, OpenDirPlain
//	              the same, and say what is there instead
//	OpenTrusted   for files that decide what is trusted: neither the file nor its
//	              directory may be a symbolic link
//	OpenInRoot    takes the directory for "/", as chroot would
//	Publish       temporary file, write, fsync, link, fsync of the directory
//
// The kernel keeps paths beneath the directory (openat2, Linux 5.6). There is no
// fallback that walks a path in user space.
package osfile
