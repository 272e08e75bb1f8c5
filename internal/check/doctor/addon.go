package doctor

import (
	"bytes"
	"context"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/bootcfg/uki"
)

// An addon is what a file beside a UKI adds to it.
type addon struct {
	line   string // appended to the command line
	initrd []byte // unpacked after the UKI's, over its files
}

// addonsOf returns the addons that the stub takes in, in its order: those in
// loader/addons, then those beside the UKI.
func addonsOf(ctx context.Context, r *Report, d *Disk, esp Partition, name string, files []string, machine uint16) ([]addon, error) {
	var addons []addon
	for _, dir := range []string{"loader/addons/", name + ".extra.d/"} {
		for _, file := range slices.Sorted(slices.Values(files)) {
			rest, ok := cutPrefixFold(file, dir)
			if !ok || strings.Contains(rest, "/") || !strings.HasSuffix(strings.ToLower(rest), ".addon.efi") {
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
			if f.Machine != machine {
				r.Stop("addon/machine", "%s: it is for machine type %#x, the UKI for %#x", file, f.Machine, machine)
			}
			text, _ := f.Section(".cmdline")
			line, err := uki.Profile{Sections: []uki.Section{{Name: ".cmdline", Data: text}}}.Cmdline()
			if err != nil {
				r.Stop("addon/cmdline", "%s: %v", file, err)
				continue
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
			if line != "" || len(image) > 0 {
				addons = append(addons, addon{line, image})
			}
		}
	}
	return addons, nil
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
