// Package osfile opens files without leaving a directory and publishes files
// so that a crash leaves either the old state or the new one.
//
// A directory is always an open *os.File and a path is always relative to it:
//
//	OpenIn        stays beneath the directory, symbolic links included
//	OpenPlain     the same, and refuses every symbolic link
//	OpenRegularPlain, OpenDirPlain
//	              the same, and say what is there instead
//	OpenTrusted   neither the file nor its directory is a link: for what decides what is trusted
//	OpenInRoot    takes the directory for "/", as chroot would
//	Publish       temporary file, write, fsync, link, fsync of the directory
//
// The confinement is the kernel's (openat2, Linux 5.6); there is no fallback
// that walks the path in user space.
package osfile
