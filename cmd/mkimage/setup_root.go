package main

import (
	"bytes"
	"debug/buildinfo"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/composefs-go/composefs/internal/artifact/initrd"
)

// setupRootName is what the program's package is called, whoever builds it.
const setupRootName = "/cmd/composefs-setup-root"

// setupRootPlaces are where composefs-setup-root is looked for. Those that begin with
// a dot are beside mkimage: in a build directory, and below any PREFIX of an installation.
var setupRootPlaces = []string{
	"./composefs-setup-root", "../lib/composefs/composefs-setup-root", "../libexec/composefs-setup-root",
	"/usr/lib/composefs/composefs-setup-root", "/usr/libexec/composefs-setup-root",
}

// findSetupRoot reads the first composefs-setup-root that there is.
func findSetupRoot() ([]byte, error) {
	var looked []string
	for _, name := range setupRootPlaces {
		if strings.HasPrefix(name, ".") {
			self, err := os.Executable()
			if err != nil {
				continue
			}
			name = filepath.Join(filepath.Dir(self), name)
		}
		looked = append(looked, name)
		if b, err := readSmall(name, maxProgram); err == nil {
			return b, checkSetupRoot(name, b)
		}
	}
	return nil, fmt.Errorf("composefs-setup-root for %s is in none of %s: name it with --setup-root", runtime.GOARCH, strings.Join(looked, ", "))
}

// checkSetupRoot refuses any other program: as the first process it would end, and
// the kernel with it. Go writes into each program what it was made of, stripped or not.
func checkSetupRoot(name string, program []byte) error {
	const want = "want composefs-setup-root, a static program"
	info, err := buildinfo.Read(bytes.NewReader(program))
	if err != nil {
		return fmt.Errorf("%s: %s, found something else: make it with `make build`, or leave --setup-root out", name, want)
	}
	if !strings.HasSuffix(info.Path, setupRootName) {
		return fmt.Errorf("%s: %s, found the program %s: make it with `make build`, or leave --setup-root out", name, want, filepath.Base(info.Path))
	}
	f, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return fmt.Errorf("%s: %s for Linux: %w", name, want, err)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("%s: %s, found one that needs a dynamic linker, which the initrd doesn't have: build it with CGO_ENABLED=0", name, want)
		}
	}
	return nil
}

// checkMachine refuses modules for another processor than the program's. What isn't
// well-formed isn't our business: the kernel's tools made it.
func checkMachine(parts initrd.Options) error {
	program, err := elf.NewFile(bytes.NewReader(parts.Init))
	if err != nil {
		return nil
	}
	modules, err := parts.Kernel.Resolve(parts.Modules)
	if err != nil || len(modules) == 0 {
		return err
	}
	data, err := parts.Kernel.Read(modules[0])
	if err != nil {
		return err
	}
	module, err := elf.NewFile(bytes.NewReader(data))
	if err != nil || module.Machine == program.Machine && module.Class == program.Class {
		return nil
	}
	return fmt.Errorf("composefs-setup-root is for %s, the modules of kernel %s are for %s: build composefs-setup-root for that one (GOARCH) and name it with --setup-root",
		machineName(program), parts.Kernel.Version(), machineName(module))
}

// machineName is what Go calls an architecture, or else what ELF does.
func machineName(f *elf.File) string {
	names := map[elf.Machine]string{elf.EM_X86_64: "amd64", elf.EM_AARCH64: "arm64", elf.EM_RISCV: "riscv64", elf.EM_386: "386", elf.EM_ARM: "arm"}
	if name := names[f.Machine]; name != "" {
		return name
	}
	return f.Machine.String()
}

// errModulesDir is the cause when a directory isn't the one of a kernel version.
var errModulesDir = errors.New("want the modules of one kernel version")

// checkModulesDir names the directories that may have been meant.
func checkModulesDir(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "modules.dep")); err == nil {
		return nil
	}
	for _, below := range []string{"*", "usr/lib/modules/*", "lib/modules/*", "modules/*"} {
		if found, _ := filepath.Glob(filepath.Join(dir, below, "modules.dep")); len(found) > 0 {
			return fmt.Errorf("%w, found a directory with %d of them: name one, as in %s", errModulesDir, len(found), filepath.Dir(found[len(found)-1]))
		}
	}
	return nil // Kernel says what is missing
}
