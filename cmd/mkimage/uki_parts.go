package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/bootcfg/uki"
	"github.com/composefs-go/composefs/internal/artifact/initrd"
	"github.com/composefs-go/composefs/internal/artifact/ukiparts"
	"github.com/composefs-go/composefs/internal/filekind"
	"github.com/composefs-go/composefs/internal/osfile"
)

// A part is a file that goes into a section.
type part struct {
	flag, name string
	content    *[]byte
}

// partChecks check the content of a part, by its flag. bootcfg/uki checks --sbat and --join
// itself.
var partChecks = map[string]func([]byte) error{
	"--linux":           ukiparts.CheckKernel,
	"--initrd":          ukiparts.CheckInitrd,
	"--microcode":       initrd.CheckMicrocode,
	"--os-release":      ukiparts.CheckOSRelease,
	"--splash":          ukiparts.CheckSplash,
	"--devicetree":      ukiparts.CheckDeviceTree,
	"--devicetree-auto": ukiparts.CheckDeviceTree,
	"--pcrpkey":         ukiparts.CheckPCRPublicKey,
	"--pcrsig":          ukiparts.CheckPCRSignature,
}

// readParts reads the parts that have a name.
func readParts(parts []part) error {
	for _, p := range parts {
		if p.name == "" {
			continue
		}
		b, err := readSmall(p.name, maxPart)
		if err != nil {
			return fmt.Errorf("%s: %w", p.flag, err)
		}
		*p.content = b
	}
	return nil
}

// checkParts refuses parts whose content isn't what the flag wants.
func checkParts(parts []part) error {
	for _, p := range parts {
		check := partChecks[p.flag]
		if p.name == "" || check == nil {
			continue
		}
		if err := check(*p.content); err != nil {
			return fmt.Errorf("%s: %w", p.flag, partProblem(p.name, *p.content, err))
		}
	}
	return nil
}

// partProblem says what a file is, if it can't be the part, and what is wanted instead.
func partProblem(name string, content []byte, err error) error {
	var mixup *ukiparts.MixupError
	var part *ukiparts.PartError
	switch {
	case errors.As(err, &mixup) && mixup.Found == ukiparts.Program:
		return fmt.Errorf("%s is %s: want an initrd, as `mkimage initrd` makes it", name, mixup.Found)
	case errors.As(err, &mixup) && mixup.Found == ukiparts.UKI:
		return fmt.Errorf("%s is %s: want the kernel alone, as in ROOT/boot/vmlinuz-VERSION", name, mixup.Found)
	case errors.As(err, &mixup):
		return fmt.Errorf("%s is %s: want a kernel, as in ROOT/boot/vmlinuz-VERSION", name, mixup.Found)
	case !errors.As(err, &part):
		return fmt.Errorf("%s: %w", name, err)
	}
	switch kind := filekind.Of(content[:min(len(content), filekind.HeadSize)]); kind {
	case filekind.Unknown, filekind.Packed, filekind.Cpio, filekind.EFI, filekind.JSON, filekind.Text:
		return fmt.Errorf("%s: %w", name, err)
	default:
		return fmt.Errorf("%s is %s: want %s", name, kind, part.Want)
	}
}

// checkStub refuses a stub of another kind than is wanted, and says which one to take.
func checkStub(name string, stub []byte, want uki.Stub) error {
	err := ukiparts.CheckStub(stub, want)
	var other *ukiparts.StubError
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &other):
		return fmt.Errorf("--stub: %w", partProblem(name, stub, err))
	case want == uki.StubAddon:
		return fmt.Errorf("--stub: %s is %s: want the stub for addons, as in addonx64.efi.stub of systemd 254 or newer", name, other.Found)
	}
	return fmt.Errorf("--stub: %s is %s: want the stub for UKIs, as in linuxx64.efi.stub", name, other.Found)
}

// openStub reads a stub of systemd.
func openStub(name string, kind uki.Stub) ([]byte, error) {
	stub, err := readSmall(name, maxPart)
	if os.IsNotExist(err) && kind == uki.StubAddon {
		return nil, fmt.Errorf("read systemd's stub for addons: %w; install the package systemd-boot-efi of systemd 254 or newer, or name the file with --stub", err)
	}
	if os.IsNotExist(err) {
		return nil, fmt.Errorf("read systemd-stub: %w; install the package systemd-boot-efi, or name the file with --stub", err)
	}
	if err != nil {
		return nil, fmt.Errorf("--stub: %w", err)
	}
	return stub, nil
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
		{"--linux", o.linux, &parts.Linux}, {"--microcode", o.microcode, &parts.Microcode},
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
	if o.hwids != "" {
		if parts.HWIDs, err = uki.PackHWIDs(osfile.DirFS(o.hwids)); err != nil {
			return parts, "", fmt.Errorf("--hwids %s: %w", o.hwids, err)
		}
	}
	if err := checkParts(files); err != nil {
		return parts, "", err
	}
	parts.Initrd = uki.JoinInitrds(initrds...)
	if err := o.readStub(&parts); err != nil {
		return parts, "", err
	}
	if err := o.pcr.apply(cmd, &parts); err != nil {
		return parts, "", err
	}
	return parts, meant, ukiparts.CheckMachines(parts.Linux, parts.Initrd)
}

// readStub reads the stub, by default systemd's for the kernel. A profile may have any: only
// its sections are joined to the UKI.
func (o *ukiBuildOptions) readStub(parts *uki.Options) (err error) {
	name, kind := o.stub, uki.StubLinux
	if o.onlyProfile() {
		kind = uki.StubAddon
	}
	if name == "" {
		arch := runtime.GOARCH
		if a, err := uki.ReadArch(bytes.NewReader(parts.Linux)); err == nil {
			arch = a.Go
		}
		if name = ukiparts.StubPath(kind, arch); name == "" {
			return fmt.Errorf("want a kernel of an architecture with EFI, found %s; name the stub with --stub", arch)
		}
	}
	if parts.Stub, err = openStub(name, kind); err != nil || o.onlyProfile() {
		return err
	}
	return checkStub(name, parts.Stub, kind)
}
