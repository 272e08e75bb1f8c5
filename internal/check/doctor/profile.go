package doctor

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/bootcfg/uki"
	"github.com/composefs-go/composefs/internal/artifact/initrd"
)

// ukiOnDisk is what is known of a UKI besides the profile that is examined.
type ukiOnDisk struct {
	machine uint16
	addons  []addon                         // in the stub's order
	at      func(*Report, string) *Examiner // an examiner of the disk that a command line means
}

// uki examines each profile of a UKI: anyone who boots the machine may choose.
func (e *Examiner) uki(r *Report, f *uki.File, at func(*Report, string) *Examiner, addons []addon) {
	profiles, err := f.Profiles()
	if err != nil {
		r.Stop("profiles/malformed", "%v", err)
	}
	if f.Stub() == uki.StubAddon {
		r.Stop("stub", "it is built on the stub for addons, which starts no kernel")
	}
	if !f.Signed {
		r.Warn("unsigned", "it has no Secure Boot signature: the keys, the policy and the command line in it aren't authenticated")
	}
	u := ukiOnDisk{f.Machine, addons, at}
	images := map[string]bool{}
	for _, p := range profiles {
		image, one := imageOf(p), r
		if images[image] = true; len(profiles) > 1 {
			one = &Report{}
		}
		e.profile(one, p, u)
		if one == r {
			continue
		}
		id, title := p.Title()
		r.addAs("profile", fmt.Sprintf("profile %s", p), strings.TrimSpace(fmt.Sprintf("%s %s %s", p, id, title)), one)
	}
	if len(images) > 1 {
		r.Warn("profiles", "the profiles name different images")
	}
}

// imageOf returns the arguments of the profile that name its image.
func imageOf(p uki.Profile) string {
	line, err := p.Cmdline()
	if err != nil {
		return ""
	}
	c, err := bootcfg.ParseCmdline(line)
	if err != nil {
		return ""
	}
	return strings.Join(c.ImageArguments(), " ")
}

// keepsOut is in the /init of our dracut module.
const keepsOut = "# composefs-init: "

// checkBeside warns of systemd in an initrd that takes in credentials from beside the
// UKI, which nobody has signed.
func (i *Initrd) checkBeside(r *Report, start Start, line bootcfg.Cmdline) {
	if start != StartUnit {
		return
	}
	if text, err := fs.ReadFile(i.Root, "init"); err == nil && bytes.Contains(text, []byte(keepsOut)) {
		return
	}
	if !importsCredentials(line) {
		return
	}
	r.Warn("esp-files",
		"systemd in the initrd takes credentials from the EFI system partition, which aren't signed: where there is no TPM they start any program before the image is verified")
}

// forMachine returns an examiner for the machine, if it is known.
func (e *Examiner) forMachine(machine uint16) *Examiner {
	here := *e
	if a, ok := uki.ArchOfMachine(machine); ok {
		here.Arch = a.Go
	}
	return &here
}

// isUKI tells a UKI from a boot loader.
func isUKI(f *uki.File) bool {
	return slices.ContainsFunc(f.Sections, func(s uki.Section) bool { return s.Name == ".linux" })
}

// checkLength checks that the kernel keeps the whole command line.
func checkLength(r *Report, line string, machine uint16) {
	if err := uki.CheckCmdlineLength(line, machine); err != nil {
		r.Stop("cmdline-length", "%v", err)
	}
}

// machineOf returns the machine that a kernel is for; without one, that of an
// architecture of Go.
func machineOf(kernel []byte, goarch string) uint16 {
	if m, err := uki.Machine(bytes.NewReader(kernel)); err == nil {
		return m
	}
	a, _ := uki.ArchOf(goarch)
	return a.Machine
}

// elfMachine returns which programs run on a machine, 0 if that isn't known.
func elfMachine(machine uint16) elf.Machine {
	a, _ := uki.ArchOfMachine(machine)
	return a.ELF
}

// kernelMachine returns which programs a kernel runs, 0 if that isn't known.
func kernelMachine(kernel []byte) elf.Machine {
	a, err := uki.ReadArch(bytes.NewReader(kernel))
	if err != nil {
		return 0
	}
	return a.ELF
}

// checkMicrocode checks what is unpacked before the initrd, if there is anything.
func checkMicrocode(section []byte, ok bool) error {
	if !ok {
		return nil
	}
	if err := initrd.CheckMicrocode(section); err != nil {
		return fmt.Errorf(".ucode, which the kernel unpacks before the initrd: %w", err)
	}
	return nil
}
