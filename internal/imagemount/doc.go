// Package imagemount mounts an image on a running system as it was asked for, by mkimage
// mount or by the options of mount(8).
//
//	"digest=…,basedir=…" ── Parse ──▶ Options ── Plan ──▶ Plan ── Mount ──▶ mounted
//	                                                └──▶ Report
//
// Plan checks which image it is, by the digest that it must have and by its seal, decides
// whether the kernel is to check the content of files, and opens everything. Mount takes
// what was opened then. Errors are facts; what can be done about them is said by
// cmd/mkimage. How a kernel mounts an image is internal/boot/mount's concern.
package imagemount
