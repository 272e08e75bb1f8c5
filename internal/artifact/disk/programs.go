package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/bootcfg/uki"
)

// BootPath returns the path on the EFI system partition where firmware looks for a program
// unless it was told another one.
func BootPath(a uki.Arch) string { return "EFI/BOOT/BOOT" + strings.ToUpper(a.EFI) + ".EFI" }

// An ESP collects the files of an EFI system partition. All EFI programs among them must be
// for the same architecture.
type ESP struct {
	Entries []Entry

	first string // path of the first program
	arch  uki.Arch
}

// Arch returns the architecture of the programs, and whether there are any.
func (p *ESP) Arch() (a uki.Arch, known bool) { return p.arch, p.first != "" }

// A NotUKIError is about an EFI program that firmware would start, but that contains no
// kernel or no initrd: it would boot without composefs-setup-root.
type NotUKIError struct {
	Path  string
	Arch  uki.Arch
	Lacks string // the section, ".linux" or ".initrd"
}

func (e *NotUKIError) Error() string {
	if e.Lacks == ".linux" {
		return e.Path + ": want a UKI, found an EFI program without a kernel in it (.linux)"
	}
	return fmt.Sprintf("%s: want a UKI with an initrd in it (%s), found none", e.Path, e.Lacks)
}

// AddUKI adds a UKI as the program that firmware starts.
func (p *ESP) AddUKI(file string) error {
	a, err := readUKI(file)
	if err != nil {
		return err
	}
	return p.Add(BootPath(a), file)
}

// readUKI returns the architecture of a UKI, and refuses other EFI programs.
func readUKI(name string) (uki.Arch, error) {
	f, err := os.Open(name)
	if err != nil {
		return uki.Arch{}, err
	}
	defer f.Close()
	a, err := uki.ReadArch(f)
	if err != nil {
		return uki.Arch{}, fmt.Errorf("%s: %w", name, err)
	}
	program, err := uki.Parse(f)
	if err != nil {
		return uki.Arch{}, fmt.Errorf("%s: %w", name, err)
	}
	for _, section := range []string{".linux", ".initrd"} {
		if _, ok := program.Section(section); !ok {
			return uki.Arch{}, &NotUKIError{name, a, section}
		}
	}
	return a, nil
}

// Add adds a file under a name, a path below the root of the partition.
func (p *ESP) Add(name, file string) error {
	if slices.Contains(strings.Split(name, "/"), "..") || name == "" || strings.HasSuffix(name, "/") {
		return fmt.Errorf("%q: %w: want the path of a file below the root of the partition", name, ErrEntry)
	}
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	err := p.checkProgram(name, file)
	var st fs.FileInfo
	if err == nil {
		st, err = os.Stat(file)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	p.Entries = append(p.Entries, Entry{
		Path: name, Mode: 0o644, Size: st.Size(),
		Open: func() (io.ReadCloser, error) { return os.Open(file) },
	})
	return nil
}

// checkProgram refuses a program for another architecture than the others have, or than its
// name says. Files that aren't EFI programs are fine.
func (p *ESP) checkProgram(name, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	a, err := uki.ReadArch(f)
	if errors.Is(err, uki.ErrFormat) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	base := strings.ToUpper(path.Base(name))
	if own, ok := strings.CutPrefix(base, "BOOT"); ok && own != strings.ToUpper(a.EFI)+".EFI" {
		for _, other := range uki.Arches() {
			if own == strings.ToUpper(other.EFI)+".EFI" {
				return fmt.Errorf("%w: firmware of %s machines starts %s, and the program is for %s", uki.ErrArch, other.Go, base, a.Go)
			}
		}
	}
	// There is 32-bit firmware on 64-bit machines, with a boot loader for it.
	if a.Go == "386" && strings.Contains(base, "IA32") && (p.first == "" || p.arch.Go == "amd64") {
		return nil
	}
	if p.first != "" && p.arch != a {
		return fmt.Errorf("%w: it is for %s, and %s is for %s", uki.ErrArch, a.Go, p.first, p.arch.Go)
	}
	p.first, p.arch = name, a
	return nil
}
