// Package imagemount mounts an image on a running system as it was asked for, by mkimage
// mount or by the options of mount(8).
//
//	"digest=…,basedir=…" ── Parse ──▶ Options ── Mount ──▶ Report
//
// What it must be is checked by the open file that is mounted then: the digest by which
// the image is known, and its seal. Errors are facts; what can be done about them is
// said by cmd/mkimage. How it is mounted is internal/boot/mount's concern.
package imagemount
