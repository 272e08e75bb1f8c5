// Package boot boots good disks and damaged ones, and says what the guest must
// have printed. It is all tests:
//
//	lab_test.go        what every case shares: programs, keys, image, disk, made once
//	disk_test.go       a copy of the disk with something changed on its root partition
//	direct_test.go     kernel and our initrd without firmware: most cases
//	firmware_test.go   UEFI, a unified kernel image from the disk
//	debian_test.go     a real Debian: systemd in a dracut initramfs
//	examples_test.go   the scripts of examples/
package boot
