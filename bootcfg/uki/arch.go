package uki

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"slices"
)

// ErrCmdlineLength is the cause when a command line is longer than the kernel keeps.
var ErrCmdlineLength = errors.New("the command line is too long")

// A CmdlineLengthError is an ErrCmdlineLength: Linux silently cuts off what is beyond the
// limit.
type CmdlineLengthError struct {
	Length, Limit int    // bytes
	Arch          string // GOARCH
}

func (e *CmdlineLengthError) Error() string {
	return fmt.Sprintf("%v: want at most %d bytes for Linux on %s, found %d; it would be cut off there", ErrCmdlineLength, e.Limit, e.Arch, e.Length)
}
func (e *CmdlineLengthError) Unwrap() error { return ErrCmdlineLength }

// CheckCmdlineLength returns a CmdlineLengthError for a command line that Linux on a
// machine (IMAGE_FILE_MACHINE_…) would cut off. Machines that aren't known have no limit.
func CheckCmdlineLength(line string, machine uint16) error {
	a, ok := ArchOfMachine(machine)
	if !ok || len(line) <= a.MaxCmdline {
		return nil
	}
	return &CmdlineLengthError{len(line), a.MaxCmdline, a.Go}
}

// An Arch is an architecture of UEFI machines that run Linux.
type Arch struct {
	Go      string      // GOARCH
	EFI     string      // as in BOOTX64.EFI and linuxx64.efi.stub, in lower case
	Machine uint16      // IMAGE_FILE_MACHINE_…
	ELF     elf.Machine // of Linux's programs
	// MaxCmdline is how long a kernel command line may be, in bytes. Linux has room
	// for COMMAND_LINE_SIZE with a final NUL, and cuts off what is too long without
	// an error. The limit on riscv64 was 512 before Linux 6.4.
	MaxCmdline int
}

var arches = []Arch{
	{"386", "ia32", 0x014c, elf.EM_386, 2047},
	{"amd64", "x64", 0x8664, elf.EM_X86_64, 2047},
	{"arm", "arm", 0x01c2, elf.EM_ARM, 1023},
	{"arm64", "aa64", 0xaa64, elf.EM_AARCH64, 2047},
	{"loong64", "loongarch64", 0x6264, elf.EM_LOONGARCH, 4095},
	{"riscv64", "riscv64", 0x5064, elf.EM_RISCV, 1023},
}

// ErrArch is the cause when parts are for different architectures.
var ErrArch = errors.New("parts of different architectures")

// Arches returns all known architectures.
func Arches() []Arch { return slices.Clone(arches) }

// Machine returns the machine (IMAGE_FILE_MACHINE_…) that an EFI program is for. It reads only
// the headers.
func Machine(r io.ReaderAt) (uint16, error) {
	p, err := readProgram(r)
	if err != nil {
		return 0, err
	}
	return le16(p.file[4:6]), nil
}

// ReadArch returns the architecture that an EFI program is for; an unknown one is an
// ErrFormat. It reads only the headers.
func ReadArch(r io.ReaderAt) (Arch, error) {
	machine, err := Machine(r)
	if err != nil {
		return Arch{}, err
	}
	a, ok := ArchOfMachine(machine)
	if !ok {
		return Arch{}, fmt.Errorf("%w: it is for machine type %#x, which isn't known", ErrFormat, machine)
	}
	return a, nil
}

// ArchOf returns the architecture with this name in Go, and whether it is known.
func ArchOf(goarch string) (Arch, bool) {
	for _, a := range arches {
		if a.Go == goarch {
			return a, true
		}
	}
	return Arch{}, false
}

// ArchOfMachine returns the architecture with this number in PE headers, and
// whether it is known.
func ArchOfMachine(machine uint16) (Arch, bool) {
	for _, a := range arches {
		if a.Machine == machine {
			return a, true
		}
	}
	return Arch{}, false
}
