package ukiparts

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/composefs-go/composefs/bootcfg/uki"
	"github.com/composefs-go/composefs/internal/artifact/initrd"
)

// StubPath returns where systemd's package puts one of its stubs for an architecture of
// Go, and "" for one that EFI doesn't know.
func StubPath(stub uki.Stub, goarch string) string {
	a, ok := uki.ArchOf(goarch)
	if !ok {
		return ""
	}
	name := "linux"
	if stub == uki.StubAddon {
		name = "addon"
	}
	return path.Join("/usr/lib/systemd/boot/efi", name+a.EFI+".efi.stub")
}

// A Kind is what a file turned out to be.
type Kind string

// The kinds that are taken for another part.
const (
	UKI     Kind = "a UKI already"
	Initrd  Kind = "an initrd"
	Program Kind = "an EFI program, perhaps a kernel"
)

// A MixupError is about a part in the place of another one: such a UKI can be
// assembled, and doesn't boot.
type MixupError struct{ Found Kind }

func (e *MixupError) Error() string { return "it is " + string(e.Found) }

// CheckKernel refuses a UKI or an initrd in the place of the kernel, with a MixupError, and
// a kernel that is cut short. What isn't an EFI program at all is for uki.Assemble to refuse.
func CheckKernel(content []byte) error {
	if !isProgram(content) {
		if _, err := initrd.Open(content); err == nil && len(content) > 0 {
			return &MixupError{Initrd}
		}
		return nil
	}
	f, err := uki.Parse(bytes.NewReader(content))
	if err != nil {
		return &PartError{"a kernel", err}
	}
	if _, whole := f.Section(".linux"); whole {
		return &MixupError{UKI}
	}
	return nil
}

// CheckInitrd refuses anything but a whole initrd; a program in its place is a MixupError. An
// initrd with a compression that isn't supported here passes.
func CheckInitrd(content []byte) error {
	if isProgram(content) {
		return &MixupError{Program}
	}
	if _, err := initrd.Open(content); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return &PartError{"an initrd", err}
	}
	return nil
}

// A StubError is about one of systemd's stubs in the place of another. A UKI on the stub for
// addons starts no kernel.
type StubError struct{ Want, Found uki.Stub }

func (e *StubError) Error() string {
	return fmt.Sprintf("the stub is %s, want %s", e.Found, e.Want)
}

// CheckStub refuses a program of systemd other than the stub that is wanted, with a
// StubError. A stub that doesn't say what it is passes.
func CheckStub(stub []byte, want uki.Stub) error {
	f, err := uki.Parse(bytes.NewReader(stub))
	if err != nil {
		return &PartError{"a stub of systemd", err}
	}
	if found := f.Stub(); found != "" && found != want {
		return &StubError{want, found}
	}
	return nil
}

func isProgram(content []byte) bool { return bytes.HasPrefix(content, []byte("MZ")) }

// CheckMachines refuses an initrd of which the programs are for another architecture than
// the kernel. One that can't be read is the doctor's business, and so is a kernel for an
// architecture that isn't known.
func CheckMachines(kernel, image []byte) error {
	arch, err := uki.ReadArch(bytes.NewReader(kernel))
	if err != nil || len(image) == 0 {
		return nil
	}
	root, err := initrd.Open(image)
	if err != nil {
		return nil
	}
	for _, name := range []string{"init", "usr/lib/composefs/composefs-setup-root"} {
		text, err := fs.ReadFile(root, name)
		if err != nil {
			continue
		}
		f, err := elf.NewFile(bytes.NewReader(text))
		if err == nil && f.Machine != arch.ELF {
			return fmt.Errorf("%w: the kernel is for %s, and /%s in the initrd is a program for %s", uki.ErrArch, arch.Go, name, f.Machine)
		}
	}
	return nil
}
