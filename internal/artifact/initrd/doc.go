// Package initrd makes a minimal initrd, and reads those that anybody made.
//
// What it makes has composefs-setup-root as /init, the kernel modules that reach
// the root partition, policy and keys. No shell, no other program, no tool of the
// distribution.
//
//	/init                                       composefs-setup-root
//	/dev/console /dev/kmsg /dev/null            what is needed before devtmpfs is mounted
//	/dev /proc /run /sys /sysroot /tmp          to mount upon
//	/usr/lib/composefs/setup-root-conf.toml     policy, if given
//	/usr/lib/composefs/keys.d/NAME.pub          keys
//	/usr/lib/composefs/modules                  "PATH: NEEDS…", a line each, in load order
//	/usr/lib/modules/VERSION/kernel/…           those modules, not compressed
//	/usr/lib/modules/VERSION/modules.builtin    which of those wanted are in the kernel itself
//
// The archive is newc cpio, compressed with zstd or not. Everything belongs to
// root and has time 0. Same input, same bytes.
//
// Open unpacks an initrd as the kernel does, into an fs.FS. It is safe with bytes
// that nobody vouches for.
package initrd
