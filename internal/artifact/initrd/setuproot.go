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

// setupRootName ends the path of the program's package, also in forks.
const setupRootName = "/cmd/composefs-setup-root"

// A ProgramError is about a program that can't be the first process of the initrd. It would
// end, and the kernel would panic.
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

// CheckSetupRoot returns a ProgramError unless the program is composefs-setup-root. Go writes
// the path of the package into each program, also into a stripped one.
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

// CheckMachine returns a MachineError if the modules are for another processor than the
// program. It doesn't check whether they are well-formed.
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

// machineName returns Go's name of an architecture, or its name in ELF if Go has none.
func machineName(f *elf.File) string {
	for _, a := range uki.Arches() {
		if a.ELF == f.Machine {
			return a.Go
		}
	}
	return f.Machine.String()
}

// A ModulesDirError is about a directory that isn't one of a kernel version, but has such
// directories below it.
type ModulesDirError struct{ Versions []string }

func (e *ModulesDirError) Error() string {
	return fmt.Sprintf("want the modules of one kernel version, found a directory with %d of them", len(e.Versions))
}

// CheckModulesDir returns a ModulesDirError if a directory has directories of kernel versions
// below it. NewKernel reports whatever else may be wrong.
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
