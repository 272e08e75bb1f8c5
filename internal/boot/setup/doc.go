// Package setup runs in the initramfs: it verifies that an image is the one that
// was named, mounts it as the root and hands over to the init system.
//
//	read ─▶ plan ─▶ verify ─▶ mount ─▶ compose ─▶ self-test ─▶ record ─▶ hand over
//
// The plan is a list of steps that can be printed; applying it stops at the first
// error, undoes what was mounted and leaves /sysroot as it was. Everything that
// touches the machine is behind the interface System.
//
// Until the image is verified, only the seal is parsed from the root partition, by
// package sign, whose parser is bounded and strict.
package setup
