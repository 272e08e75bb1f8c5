// Package setup is what happens in the initramfs: it proves that an image is the
// one that is meant, mounts it as the root and hands over to the init system.
//
//	read ─▶ plan ─▶ verify ─▶ mount ─▶ compose ─▶ self-test ─▶ record ─▶ hand over
//
// The plan is a list of steps that can be printed; applying it stops at the
// first error, takes back what was mounted and leaves /sysroot as it was. What
// touches the machine is behind the interface system.
//
// Until the image is verified nothing of the root partition is parsed but the
// seal, and that by package sign: bounded and strict.
package setup
