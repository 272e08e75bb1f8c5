package initrd

import (
	"bytes"
	"debug/buildinfo"
	"debug/elf"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/composefs-go/composefs/bootcfg/uki"
)

// setupRootName is what the program's package is called, whoever builds it.
const setupRootName = "/cmd/composefs-setup-root"

// A ProgramError is about a program that can't be the initrd's first process: it would
// end, and the kernel with it.
type ProgramError struct {
	Found   string // what it is
	Dynamic bool   // it is composefs-setup-root, and needs a dynamic linker
	Err     error  // why it can't be read as a program for Linux
}

func (e *ProgramError) Error() string {
	const want = "want composefs-setup-root, a static program"
	if e.Err != nil {
		return want + " for Linux: " + e.Err.Error()
	}
	return want + ", found " + e.Found
}

func (e *ProgramError) Unwrap() error { return e.Err }

// CheckSetupRoot refuses any program but composefs-setup-root, with a ProgramError. Go
// writes into each program what it was made of, stripped or not.
func CheckSetupRoot(program []byte) error {
	info, err := buildinfo.Read(bytes.NewReader(program))
	if err != nil {
		return &ProgramError{Found: "something else"}
	}
	if !strings.HasSuffix(info.Path, setupRootName) {
		return &ProgramError{Found: "the program " + path.Base(info.Path)}
	}
	f, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return &ProgramError{Err: err}
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return &ProgramError{Found: "one that needs a dynamic linker, which the initrd doesn't have", Dynamic: true}
		}
	}
	return nil
}

// A MachineError is about modules for another processor than the program's.
type MachineError struct{ Program, Modules, Version string }

func (e *MachineError) Error() string {
	return fmt.Sprintf("composefs-setup-root is for %s, the modules of kernel %s are for %s", e.Program, e.Version, e.Modules)
}

// CheckMachine refuses modules for another processor than the program's, with a
// MachineError. What isn't well-formed isn't our business: the kernel's tools made it.
func (o Options) CheckMachine() error {
	program, err := elf.NewFile(bytes.NewReader(o.Init))
	if err != nil {
		return nil
	}
	modules, err := o.Kernel.Resolve(o.Modules)
	if err != nil || len(modules) == 0 {
		return err
	}
	data, err := o.Kernel.Read(modules[0])
	if err != nil {
		return err
	}
	module, err := elf.NewFile(bytes.NewReader(data))
	if err != nil || module.Machine == program.Machine && module.Class == program.Class {
		return nil
	}
	return &MachineError{machineName(program), machineName(module), o.Kernel.Version()}
}

// machineName is what Go calls an architecture, or else what ELF does.
func machineName(f *elf.File) string {
	for _, a := range uki.Arches() {
		if a.ELF == f.Machine {
			return a.Go
		}
	}
	return f.Machine.String()
}

// A ModulesDirError is about a directory that isn't the one of a kernel version, and has
// some of these below it.
type ModulesDirError struct{ Versions []string }

func (e *ModulesDirError) Error() string {
	return fmt.Sprintf("want the modules of one kernel version, found a directory with %d of them", len(e.Versions))
}

// CheckModulesDir refuses a directory that has the modules of kernel versions below it,
// with a ModulesDirError. What else may be wrong, NewKernel says.
func CheckModulesDir(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "modules.dep")); !os.IsNotExist(err) {
		return nil
	}
	for _, below := range []string{"*", "usr/lib/modules/*", "lib/modules/*", "modules/*"} {
		found, _ := filepath.Glob(filepath.Join(dir, below, "modules.dep"))
		if len(found) == 0 {
			continue
		}
		for i := range found {
			found[i] = filepath.Dir(found[i])
		}
		return &ModulesDirError{found}
	}
	return nil
}
