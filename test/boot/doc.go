// Package boot boots good and damaged disks, and checks what the guest prints. It
// contains only tests:
//
//	lab_test.go         what every case shares: programs, keys, image, disk, made once
//	disk_test.go        a copy of the disk with something changed on its root partition
//	direct_test.go      kernel and our initrd without firmware: what boots
//	row_test.go         ... and what must not: a row is one thing changed, and its answer
//	refused_test.go     ... the plain cases
//	seal_test.go        ... seals and signatures
//	key_test.go         ... keys and policies
//	argument_test.go    ... command lines, refs
//	repository_test.go  ... what lies where the repository and the state should
//	extension_test.go   ... system extensions on the disk
//	hostile_test.go     ... images that are sealed and no good
//	userspace_test.go   ... without fs-verity; the image swapped while we look
//	verdict_test.go     ... and what mkimage verify says of the same
//	measure_test.go     a TPM
//	firmware_test.go    UEFI, a unified kernel image from the disk
//	secure_lab_test.go  UEFI with Secure Boot, with keys of our own
//	secureboot_test.go  ... UKIs, addons, boot loaders, good and bad
//	uki_test.go         ... signed UKIs that aren't as they look
//	two_disks_test.go   ... two disks that fit what root= says
//	debian_test.go      a real Debian: systemd in a dracut initramfs
//	dracut_test.go      ... what that initramfs and one without systemd don't boot, and no shell
//
// docs/threat-model.md cites them by their names.
package boot
