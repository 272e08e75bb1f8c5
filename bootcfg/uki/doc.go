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
//	+-------------------------------+
//
// The stub finds the sections by name, in memory. So each also gets a range of
// addresses, after those of the stub and a multiple of SectionAlignment.
//
// What is built here is the same, byte for byte, as what systemd's ukify makes
// of the same stub and the same sections; it isn't signed (see sign/secureboot).
//
// Format: the PE/COFF specification, and the UKI specification of the UAPI group.
package uki
