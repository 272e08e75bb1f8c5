// Package mount mounts things by open file, never by a path looked up twice.
//
//	image (open file) ── EROFS ──▶ root of the metadata ┐
//	                                                    ├─ Overlay ──▶ root ── Attach ──▶ directory
//	object store (open directory) ──────────────────────┘
//
// An Image does both steps. A mounted tree is an *os.File that isn't visible anywhere until
// Attach. Errors include the kernel's own messages. If the kernel lacks a feature there is
// a fallback or a *kernel.MissingError; internal/boot/kernel finds out which features there
// are.
package mount
