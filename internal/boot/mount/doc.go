// Package mount mounts things by open file, never by a path looked up twice.
//
//	image (open file) ── EROFS ──▶ root of the metadata ┐
//	                                                    ├─ Overlay ──▶ root ── Attach ──▶ directory
//	object store (open directory) ──────────────────────┘
//
// An Image does both steps. A mounted tree is an *os.File that is mounted nowhere until Attach. Errors
// carry the kernel's own words. Where a kernel lacks something there is a
// fallback or a *kernel.MissingError; which one is found out by internal/boot/kernel.
package mount
