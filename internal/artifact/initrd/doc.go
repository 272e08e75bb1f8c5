// Package initrd makes minimal initrds, and reads initrds from any source.
//
// An initrd made by this package contains composefs-setup-root as /init, the kernel
// modules that are needed to reach the root partition, the policy and the keys. It
// has no shell and no other program, and no tool of the distribution is needed to
// make it.
//
//	/init                                       composefs-setup-root
//	/dev/console /dev/kmsg /dev/null            what is needed before devtmpfs is mounted
//	/dev /proc /run /sys /sysroot /tmp          mount points
//	/usr/lib/composefs/setup-root-conf.toml     policy, if given
//	/usr/lib/composefs/keys.d/NAME.pub          keys
//	/usr/lib/composefs/modules                  the modules in load order, "PATH: NEEDS…" a line
//	/usr/lib/modules/VERSION/kernel/…           the modules, not compressed
//	/usr/lib/modules/VERSION/modules.builtin    wanted modules that are built into the kernel
//
// The archive is newc cpio, compressed with zstd or not. Everything belongs to root
// and has time 0. The same input gives the same bytes.
//
// Open unpacks an initrd as the kernel does, into an fs.FS. It is safe for
// untrusted input.
package initrd
