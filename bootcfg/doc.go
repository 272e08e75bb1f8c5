// Package bootcfg reads and writes the text that a boot is configured with: the
// kernel command line, the policy of composefs-setup-root and Boot Loader
// Specification entries.
//
//	root=LABEL=os composefs.digest=v1-sha256-12:0f0e… rw -- single
//	              └──────────── Image ──────────────┘      └─ for init
//
// Everything here is a pure function of its input. The initramfs parses this
// text before anything is verified, so every parser is strict and bounded.
package bootcfg
