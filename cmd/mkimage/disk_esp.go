package main

import (
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/bootcfg/uki"
	"github.com/composefs-go/composefs/internal/artifact/disk"
)

// bootPath is where firmware looks for a program when nobody told it another place.
func bootPath(a uki.Arch) string { return "EFI/BOOT/BOOT" + strings.ToUpper(a.EFI) + ".EFI" }

// espEntries are the files of the EFI system partition, and the architecture that
// they are for, as Go calls it.
func (o *diskOptions) espEntries(cmd *cobra.Command) (entries []disk.Entry, goarch string, err error) {
	var programs espPrograms
	if o.uki != "" {
		a, err := archOfFile(o.uki)
		if err != nil {
			return nil, "", fmt.Errorf("--uki: %w", err)
		}
		if err := checkWholeUKI(o.uki, a); err != nil {
			return nil, "", fmt.Errorf("--uki: %w", err)
		}
		e, err := espEntry(bootPath(a), o.uki)
		if err != nil {
			return nil, "", err
		}
		if err := programs.add(e.Path, o.uki); err != nil {
			return nil, "", fmt.Errorf("--uki %s: %w", o.uki, err)
		}
		entries = append(entries, e)
	}
	for _, pair := range o.esp {
		name, file, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, "", usagef(cmd, "--esp: want PATH=FILE, found %q", pair)
		}
		name = strings.TrimPrefix(path.Clean("/"+name), "/")
		if err := programs.add(name, file); err != nil {
			return nil, "", fmt.Errorf("--esp %s: %w", name, err)
		}
		e, err := espEntry(name, file)
		if err != nil {
			return nil, "", err
		}
		entries = append(entries, e)
	}
	if len(entries) == 0 {
		return nil, "", usagef(cmd, "nothing to boot: say --uki FILE, or --esp PATH=FILE for another boot loader")
	}
	if programs.first == "" {
		return entries, runtime.GOARCH, nil
	}
	return entries, programs.arch.Go, nil
}

// checkWholeUKI refuses other EFI programs: firmware would start a kernel without an
// initrd, and so without composefs-setup-root.
func checkWholeUKI(name string, a uki.Arch) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	program, err := uki.Parse(f)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if _, ok := program.Section(".linux"); !ok {
		return fmt.Errorf("%s: want a UKI, found an EFI program without a kernel in it (.linux): if it is the kernel, put it into one with `mkimage uki build --linux %s`; if it is a boot loader, say --esp %s=%s",
			name, name, bootPath(a), name)
	}
	if _, ok := program.Section(".initrd"); !ok {
		return fmt.Errorf("%s: want a UKI with an initrd in it (.initrd), found none: build it again with `mkimage uki build --initrd FILE`", name)
	}
	return nil
}

func espEntry(name, file string) (disk.Entry, error) {
	st, err := os.Stat(file)
	if err != nil {
		return disk.Entry{}, err
	}
	return disk.Entry{
		Path: name, Mode: 0o644, Size: st.Size(),
		Open: func() (io.ReadCloser, error) { return os.Open(file) },
	}, nil
}

// espPrograms are the EFI programs seen so far, which must be for one architecture.
type espPrograms struct {
	first string // path of the first
	arch  uki.Arch
}

// add looks at a file: one that is no EFI program may be for any architecture.
func (p *espPrograms) add(name, file string) error {
	a, err := archOfFile(file)
	if os.IsNotExist(err) {
		return err
	}
	if err != nil {
		return nil
	}
	base := strings.ToUpper(path.Base(name))
	if own, ok := strings.CutPrefix(base, "BOOT"); ok && own != strings.ToUpper(a.EFI)+".EFI" {
		for _, other := range uki.Arches() {
			if own == strings.ToUpper(other.EFI)+".EFI" {
				return fmt.Errorf("%w: firmware of %s machines starts %s, and the program is for %s", errMix, other.Go, base, a.Go)
			}
		}
	}
	// There is 32-bit firmware on 64-bit machines, with a boot loader for it.
	if a.Go == "386" && strings.Contains(base, "IA32") && (p.first == "" || p.arch.Go == "amd64") {
		return nil
	}
	if p.first != "" && p.arch != a {
		return fmt.Errorf("%w: it is for %s, and %s is for %s", errMix, a.Go, p.first, p.arch.Go)
	}
	p.first, p.arch = name, a
	return nil
}

// archOfFile returns the architecture of an EFI program.
func archOfFile(name string) (uki.Arch, error) {
	f, err := os.Open(name)
	if err != nil {
		return uki.Arch{}, err
	}
	defer f.Close()
	machine, err := uki.Machine(f)
	if err != nil {
		return uki.Arch{}, fmt.Errorf("%s: %w", name, err)
	}
	a, ok := uki.ArchOfMachine(machine)
	if !ok {
		return uki.Arch{}, fmt.Errorf("%s: %w: it is for machine type %#x, which isn't known", name, uki.ErrFormat, machine)
	}
	return a, nil
}
