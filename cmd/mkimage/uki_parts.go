package main

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/bootcfg/uki"
	"github.com/composefs-go/composefs/internal/artifact/initrd"
)

// A part is a file that goes into a section.
type part struct {
	flag, name string
	content    *[]byte
}

// readParts reads the parts that have a name.
func readParts(parts []part) error {
	for _, p := range parts {
		if p.name == "" {
			continue
		}
		b, err := readSmall(p.name, maxPart)
		if os.IsNotExist(err) && p.flag == "--stub" {
			return fmt.Errorf("read systemd-stub: %w; install the package systemd-boot-efi, or name the file with --stub", err)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p.flag, err)
		}
		*p.content = b
	}
	return nil
}

// maxText bounds a command line or the text of a profile in a file, in bytes.
const maxText = 1 << 16

// textOrFile returns the text, or the content of the file that @ names.
func textOrFile(flag, value string) (string, error) {
	name, ok := strings.CutPrefix(value, "@")
	if !ok {
		return value, nil
	}
	text, err := readSmall(name, maxText)
	if err != nil {
		return "", fmt.Errorf("%s: %w", flag, err)
	}
	return string(text), nil
}

// parts reads all that goes into the UKI, and tells the image that it shall name.
func (o *ukiBuildOptions) parts(cmd *cobra.Command) (parts uki.Options, meant string, err error) {
	if len(o.deviceTrees) > 1 {
		return parts, "", usagef(cmd, "want one --devicetree, which is for every machine, found %d; give one per machine with --devicetree-auto", len(o.deviceTrees))
	}
	parts.Uname = o.uname
	if parts.Cmdline, meant, err = o.line(cmd); err != nil {
		return parts, "", err
	}
	profile, err := textOrFile("--profile", o.profile)
	if err != nil {
		return parts, "", err
	}
	if parts.Profile = []byte(profile); profile != "" {
		if err := uki.CheckProfile(parts.Profile); err != nil {
			return parts, "", usagef(cmd, "--profile: %w", err)
		}
	}
	initrds := make([][]byte, len(o.initrds))
	parts.DeviceTreeAuto, parts.Join = make([][]byte, len(o.autoTrees)), make([][]byte, len(o.joined))
	files := []part{
		{"--stub", o.stub, &parts.Stub}, {"--linux", o.linux, &parts.Linux}, {"--microcode", o.microcode, &parts.Microcode},
		{"--os-release", o.osRelease, &parts.OSRelease}, {"--splash", o.splash, &parts.Splash},
		{"--sbat", o.sbat, &parts.SBAT}, {"--pcrpkey", o.pcrpKey, &parts.PCRPKey}, {"--pcrsig", o.pcrSig, &parts.PCRSig},
	}
	for _, list := range []struct {
		flag  string
		names []string
		into  [][]byte
	}{
		{"--initrd", o.initrds, initrds}, {"--devicetree-auto", o.autoTrees, parts.DeviceTreeAuto}, {"--join", o.joined, parts.Join},
	} {
		for i, name := range list.names {
			files = append(files, part{list.flag, name, &list.into[i]})
		}
	}
	for _, name := range o.deviceTrees {
		files = append(files, part{"--devicetree", name, &parts.DeviceTree})
	}
	if err := readParts(files); err != nil {
		return parts, "", err
	}
	if err := o.checkMixup(parts.Linux, initrds); err != nil {
		return parts, "", err
	}
	if err := checkMicrocode(o.microcode, parts.Microcode); err != nil {
		return parts, "", err
	}
	parts.Initrd = uki.JoinInitrds(initrds...)
	if o.hwids != "" {
		if parts.HWIDs, err = uki.PackHWIDs(os.DirFS(o.hwids)); err != nil {
			return parts, "", fmt.Errorf("--hwids %s: %w", o.hwids, err)
		}
	}
	if o.stub == "" {
		if err := o.readStub(&parts); err != nil {
			return parts, "", err
		}
	}
	if err := o.pcr.apply(cmd, &parts); err != nil {
		return parts, "", err
	}
	return parts, meant, checkInitrdMachine(parts)
}

// checkMicrocode refuses anything but microcode in what is unpacked before the initrd.
func checkMicrocode(name string, content []byte) error {
	if name == "" {
		return nil
	}
	if err := initrd.CheckMicrocode(content); err != nil {
		return fmt.Errorf("--microcode: %s: %w", name, err)
	}
	return nil
}

// readStub reads systemd's stub for the kernel.
func (o *ukiBuildOptions) readStub(parts *uki.Options) error {
	arch, kind := runtime.GOARCH, "linux"
	if a, ok := archOfProgram(parts.Linux); ok {
		arch = a.Go
	}
	if o.onlyProfile() {
		kind = "addon"
	}
	name := stub(kind, arch)
	if name == "" {
		return fmt.Errorf("want a kernel of an architecture with EFI, found %s; name the stub with --stub", arch)
	}
	return readParts([]part{{"--stub", name, &parts.Stub}})
}

// archOfProgram returns the architecture that an EFI program is for, if it is one
// and its architecture is known.
func archOfProgram(program []byte) (uki.Arch, bool) {
	f, err := uki.Parse(bytes.NewReader(program))
	if err != nil {
		return uki.Arch{}, false
	}
	return uki.ArchOfMachine(f.Machine)
}

// elfMachines are the architectures of ELF programs, by GOARCH.
var elfMachines = map[string]elf.Machine{
	"386": elf.EM_386, "amd64": elf.EM_X86_64, "arm": elf.EM_ARM, "arm64": elf.EM_AARCH64, "loong64": elf.EM_LOONGARCH, "riscv64": elf.EM_RISCV,
}

// checkInitrdMachine refuses an initrd of which the programs are for another
// architecture than the kernel. One that can't be read is the doctor's business.
func checkInitrdMachine(parts uki.Options) error {
	arch, ok := archOfProgram(parts.Linux)
	if !ok || len(parts.Initrd) == 0 {
		return nil
	}
	root, err := initrd.Open(parts.Initrd)
	if err != nil {
		return nil
	}
	for _, name := range []string{"init", "usr/lib/composefs/composefs-setup-root"} {
		text, err := fs.ReadFile(root, name)
		if err != nil {
			continue
		}
		f, err := elf.NewFile(bytes.NewReader(text))
		if err == nil && f.Machine != elfMachines[arch.Go] {
			return fmt.Errorf("%w: the kernel is for %s, and /%s in the initrd is a program for %s", errMix, arch.Go, name, f.Machine)
		}
	}
	return nil
}

// errMix is the cause when parts of several architectures come together.
var errMix = errors.New("parts of different architectures")
