package doctor

import (
	"bytes"
	"context"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/bootcfg/uki"
	"github.com/composefs-go/composefs/internal/artifact/initrd"
	"github.com/composefs-go/composefs/internal/printable"
)

// An addon is what a file beside a UKI adds to it.
type addon struct {
	line   string // appended to the command line
	initrd []byte // unpacked after the UKI's, over its files
}

// addonsOf returns the addons that the stub of a UKI takes in, in its order: those in
// loader/addons, then those beside the UKI.
func addonsOf(ctx context.Context, r *Report, d *Disk, esp Partition, name string, files []string, of *uki.File) ([]addon, error) {
	var addons []addon
	for _, dir := range []string{"loader/addons/", name + ".extra.d/"} {
		for _, file := range slices.Sorted(slices.Values(files)) {
			rest, ok := cutPrefixFold(file, dir)
			if !ok || strings.Contains(rest, "/") || !strings.HasSuffix(strings.ToLower(rest), addonSuffix) {
				continue
			}
			program, err := d.ReadBootFile(ctx, esp, file, MaxBootFile)
			if err != nil {
				return nil, err
			}
			f, err := uki.Parse(bytes.NewReader(program))
			if err != nil {
				r.Stop("addon/malformed", "%s: %v", file, err)
				continue
			}
			if a, ok := readAddon(r, file, program, f, of); ok {
				addons = append(addons, a)
			}
		}
	}
	return addons, nil
}

// addonSuffix ends the names of addons.
const addonSuffix = ".addon.efi"

// readAddon checks an addon of a UKI, and reports whether it has a command line or an initrd.
func readAddon(r *Report, file string, program []byte, f, of *uki.File) (addon, bool) {
	if f.Machine != of.Machine {
		r.Stop("addon/machine", "%s: it is for machine type %#x, the UKI for %#x", file, f.Machine, of.Machine)
	}
	if of.Signed {
		if _, err := signerOf(program, f); err != nil {
			r.Warn("addon/unsigned", "%s: where Secure Boot is on, systemd-stub leaves it out: %v", file, err)
		}
	}
	if f.Stub() == uki.StubLinux {
		r.Warn("addon/stub", "%s: it is built on the stub for UKIs, not on the one for addons", file)
	}
	text, _ := f.Section(".cmdline")
	line, err := uki.Profile{Sections: []uki.Section{{Name: ".cmdline", Data: text}}}.Cmdline()
	if err != nil {
		r.Stop("addon/cmdline", "%s: %v", file, err)
		return addon{}, false
	}
	if c, err := bootcfg.ParseCmdline(line); err != nil || c.Asked() {
		r.Stop("addon/image", "%s: an addon must not name an image: %s", file, line)
	} else if err := c.CheckInit(); err != nil {
		r.Stop("addon/rdinit", "%s: %v", file, err)
	}
	if err := checkMicrocode(f.Section(".ucode")); err != nil {
		r.Stop("addon/microcode", "%s: %v", file, err)
	}
	image, _ := f.Section(".initrd")
	checkOverlay(r, file, image)
	return addon{line, image}, line != "" || len(image) > 0
}

// credentialDir is where systemd-stub takes credentials from for all UKIs.
const credentialDir = "loader/credentials/"

// besideUKI names the files on the EFI system partition that the stub passes to the initrd
// without a signature.
func besideUKI(r *Report, name string, files []string) {
	for _, file := range slices.Sorted(slices.Values(files)) {
		lower := strings.ToLower(file)
		_, beside := cutPrefixFold(file, name+".extra.d/")
		_, global := cutPrefixFold(file, credentialDir)
		if beside && !strings.HasSuffix(lower, addonSuffix) || global {
			r.Fact("beside", "%s: the stub passes it to the initrd, without asking for a signature", file)
		}
	}
}

// checkOverlay checks an addon's initrd, if it has one.
func checkOverlay(r *Report, file string, image []byte) {
	if len(image) == 0 {
		return
	}
	root, err := initrd.OpenOver(image)
	if err != nil {
		r.Warn("addon-program", "%s: what it puts over the initrd of the UKI can't be told: %v", file, err)
		return
	}
	found := &Report{}
	Overlay(found, root)
	for _, f := range found.Findings {
		f.Problem = printable.Line(file) + ": " + f.Problem
		r.Findings = append(r.Findings, f)
	}
}

// withAddons returns the initrds of a UKI and its addons as the kernel unpacks them.
func withAddons(image []byte, addons []addon) []byte {
	whole := image
	for _, a := range addons {
		if len(a.initrd) > 0 {
			whole = append(slices.Clip(whole), make([]byte, -len(whole)&3)...)
			whole = append(whole, a.initrd...)
		}
	}
	return whole
}

// cutPrefixFold is strings.CutPrefix for names of FAT, which have no case.
func cutPrefixFold(name, prefix string) (rest string, ok bool) {
	if len(name) < len(prefix) || !strings.EqualFold(name[:len(prefix)], prefix) {
		return name, false
	}
	return name[len(prefix):], true
}
