// Package uki puts a kernel, an initrd, a command line and what else belongs to
// them into one EFI program, a Unified Kernel Image, and reads one back.
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
// The stub finds the sections by name, in memory. So each also gets a range of
// addresses, after those of the stub and a multiple of SectionAlignment.
//
// The sections have the names, the content and the flags that systemd's ukify
// gives them. An addon is built the same way on another stub, without a kernel.
//
// A signature for Secure Boot stands for the Digest of the program and lies
// behind the sections. Making and checking one is the business of
// sign/secureboot; this package says where it is and what it is for.
//
// Everything here may be given hostile files: what the headers claim is checked
// against the file before memory is spent on it.
//
// Format: the PE/COFF specification, Microsoft's "Windows Authenticode Portable
// Executable Signature Format", and the UKI specification of the UAPI group.
package uki
