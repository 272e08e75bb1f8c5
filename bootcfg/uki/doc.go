// Package uki assembles a kernel, an initrd, a command line and related parts into
// one EFI program, a Unified Kernel Image (UKI), and reads such programs.
//
// A UKI is systemd-stub, a PE program, with sections added:
//
//	+-------------------------------+ 0
//	| DOS header, e_lfanew          |
//	| PE header, optional header    |
//	| section table                 |  40 bytes a section; new rows go here
//	+-------------------------------+ SizeOfHeaders
//	| .text .data … .sbat .sdmagic  |  the stub's own
//	+-------------------------------+ rounded up to FileAlignment
//	| .osrel .cmdline .uname …      |  ours, in the order given
//	| .initrd                       |
//	| .linux                        |
//	+-------------------------------+ rounded up to 8
//	| signatures                    |  the certificate table; not hashed
//	+-------------------------------+
//
// The stub finds the sections by name, in memory. Each section therefore also gets
// an address range, at a multiple of SectionAlignment after the stub's own.
//
// The sections have the names, the content and the flags that systemd's ukify
// gives them. An addon is built the same way on another stub, without a kernel.
//
// A Secure Boot signature covers the Digest of the program and is stored after the
// sections. Package sign/secureboot makes and verifies signatures; this package
// locates them and computes the digest.
//
// All functions may be given hostile files: sizes in headers are checked against
// the file before memory is allocated.
//
// Format: the PE/COFF specification, Microsoft's "Windows Authenticode Portable
// Executable Signature Format", and the UKI specification of the UAPI group.
package uki
