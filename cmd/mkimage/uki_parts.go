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
	return parts, meant, ukiparts.CheckMachines(parts.Linux, parts.Initrd)
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
	if a, err := uki.ReadArch(bytes.NewReader(parts.Linux)); err == nil {
		arch = a.Go
	}
	if o.onlyProfile() {
		kind = "addon"
	}
	name := ukiparts.StubPath(kind, arch)
	if name == "" {
		return fmt.Errorf("want a kernel of an architecture with EFI, found %s; name the stub with --stub", arch)
	}
	return readParts([]part{{"--stub", name, &parts.Stub}})
}

// checkMixup refuses parts in each other's place, and says what to give instead.
func (o *ukiBuildOptions) checkMixup(linux []byte, initrds [][]byte) error {
	var mix *ukiparts.MixupError
	if err := ukiparts.CheckKernel(linux); errors.As(err, &mix) {
		want := "a kernel"
		if mix.Found == ukiparts.UKI {
			want = "the kernel alone"
		}
		return fmt.Errorf("--linux: %s is %s: want %s, as in ROOT/boot/vmlinuz-VERSION", o.linux, mix.Found, want)
	}
	for i, b := range initrds {
		if err := ukiparts.CheckInitrd(b); errors.As(err, &mix) {
			return fmt.Errorf("--initrd: %s is %s: want an initrd, as `mkimage initrd` makes it", o.initrds[i], mix.Found)
		}
	}
	return nil
}
