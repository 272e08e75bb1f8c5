package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/bootcfg/uki"
	"github.com/composefs-go/composefs/internal/disktool"
	"github.com/composefs-go/composefs/internal/printable"
)

// Disk examines every boot entry of a disk: UKIs where firmware and boot loaders
// look for them, and entries of type 1. The root partition is the store.
func (e *Examiner) Disk(ctx context.Context, name string) (*Report, error) {
	d, err := OpenDisk(ctx, name)
	if err != nil {
		return nil, err
	}
	r := &Report{Kind: "disk", Findings: []Finding{}}
	err = e.disk(ctx, r, d)
	return r, errors.Join(err, d.Close())
}

func (e *Examiner) disk(ctx context.Context, r *Report, d *Disk) error {
	switch {
	case d.TableSize > d.Size:
		r.Stop("disk-size", "the disk is cut short: its partition table was made for %d bytes, and there are %d", d.TableSize, d.Size)
		return nil
	case d.Damaged:
		r.Stop("partition-table", "the partition table is damaged: all that is left of a GPT is the entry that protects it from older programs")
		return nil
	}
	esps := d.ESPs()
	isESP := func(p Partition) bool {
		return slices.ContainsFunc(esps, func(esp Partition) bool { return esp.Number == p.Number })
	}
	if len(esps) == 0 {
		r.Stop("esp", "the disk has no EFI system partition: firmware finds nothing to boot")
		return nil
	}
	entries, started := 0, false
	for _, p := range d.BootPartitions() {
		files, err := d.BootFiles(ctx, p)
		if errors.Is(err, ErrListing) {
			r.Stop("esp/names", "partition %d: %v", p.Number, err)
			continue
		}
		if err != nil && !isESP(p) {
			r.Warn("boot-partition", "partition %d is for boot loader entries and can't be read: %v", p.Number, err)
			continue
		}
		if err != nil {
			return fmt.Errorf("list the EFI system partition: %w", err)
		}
		started = started || isESP(p) && slices.ContainsFunc(files, func(f string) bool { return placeOf(f) == placeBoot })
		n, err := (&bootPartition{e, ctx, d, p, files}).entries(r, isESP(p))
		if err != nil {
			return err
		}
		entries += n
	}
	switch {
	case entries == 0:
		r.Stop("entries", "nothing on the EFI system partition boots Linux: no UKI in EFI/BOOT or EFI/Linux, no entry in loader/entries")
	case !started:
		r.Warn("loader", "there is no EFI/BOOT/BOOT….EFI on the EFI system partition: only firmware that was told what else to start boots the disk")
	}
	return nil
}

// add adds what was found about one of several.
func (r *Report) add(name string, entry *Report) { r.addAs("entry", name, name, entry) }

// addAs adds what was found about a thing of some kind, with its name before each
// problem and the longer title as a fact.
func (r *Report) addAs(kind, name, title string, entry *Report) {
	r.Fact(kind, "%s", title)
	r.Facts = append(r.Facts, entry.Facts...)
	for _, f := range entry.Findings {
		f.Problem = printable.Line(name) + ": " + f.Problem
		r.Findings = append(r.Findings, f)
	}
}

// A bootPartition is one where boot loaders look for entries.
type bootPartition struct {
	*Examiner
	ctx   context.Context
	disk  *Disk
	part  Partition
	files []string
}

// The places of files that boot something.
const (
	placeBoot  = "EFI/BOOT"       // programs for firmware, BOOTX64.EFI
	placeMenu  = "EFI/LINUX"      // UKIs, for the menu of a boot loader
	placeEntry = "LOADER/ENTRIES" // entries of type 1
)

// placeOf returns which of them a file is in, "" for another file. What lies deeper is
// not for the menu: addons, for instance.
func placeOf(file string) string {
	upper := strings.ToUpper(file)
	dir, ext := path.Dir(upper), path.Ext(upper)
	if dir == placeEntry && ext == ".CONF" || (dir == placeBoot || dir == placeMenu) && ext == ".EFI" {
		return dir
	}
	return ""
}

// entries examines all of them and returns how many boot Linux.
func (b *bootPartition) entries(r *Report, esp bool) (n int, err error) {
	for _, file := range b.files {
		var entry *Report
		switch place := placeOf(file); {
		case place == placeEntry:
			entry, err = b.entry(file)
		case place == placeMenu, place == placeBoot && esp:
			entry, err = b.program(file, place == placeMenu)
		}
		if tool := (*disktool.Error)(nil); errors.As(err, &tool) && b.ctx.Err() == nil {
			r.Stop("entry/unreadable", "%v", err)
			continue // it mustn't hide what else there is
		}
		if err != nil {
			return n, fmt.Errorf("read %s of partition %d: %w", file, b.part.Number, err)
		}
		if entry != nil {
			n++
			r.add(file, entry)
		}
	}
	return n, nil
}

func (b *bootPartition) read(name string) ([]byte, error) {
	return b.disk.ReadBootFile(b.ctx, b.part, name, MaxBootFile)
}

// program examines an EFI program, if it is a UKI.
func (b *bootPartition) program(name string, menu bool) (*Report, error) {
	content, err := b.read(name)
	if err != nil {
		return nil, err
	}
	r := &Report{Findings: []Finding{}}
	checkTries(r, name)
	f, err := uki.Parse(bytes.NewReader(content))
	switch {
	case err != nil:
		r.Stop("uki/on-disk", "%v", err)
		return r, nil
	case !isUKI(f) && !menu:
		return nil, nil // a boot loader
	}
	if err := checkName(f); menu && err != nil {
		r.Stop("os-release", "%v", err)
	}
	return r, b.uki(r, name, content, f, "")
}

// uki examines a UKI. A boot loader may have options for it: they take the
// place of its own command line, unless Secure Boot keeps them from it.
func (b *bootPartition) uki(r *Report, name string, content []byte, f *uki.File, options string) error {
	b.checkSignature(r, content, f)
	besideUKI(r, name, b.files)
	addons, err := addonsOf(b.ctx, r, b.disk, b.part, name, b.files, f)
	if err != nil {
		return err
	}
	e := b.forMachine(f.Machine)
	at := func(r *Report, line string) *Examiner { return e.on(b.ctx, r, b.disk, line) }
	own, _ := f.Section(".cmdline")
	switch {
	case options == "":
		e.uki(r, f, at, addons)
	case len(own) == 0:
		e.uki(r, withCmdline(f, options), at, addons)
	default:
		r.Warn("options", "where Secure Boot is off, its options replace the command line of the UKI: %s", options)
		e.uki(r, f, at, addons)
		other := &Report{}
		e.uki(other, withCmdline(f, options), at, addons)
		for _, f := range other.Findings {
			if !slices.Contains(r.Findings, f) {
				f.Problem = "with its options: " + f.Problem
				r.Findings = append(r.Findings, f)
			}
		}
	}
	return nil
}

// withCmdline returns the UKI with another command line.
func withCmdline(f *uki.File, line string) *uki.File {
	g := *f
	g.Sections = slices.Clone(f.Sections)
	text := uki.Section{Name: ".cmdline", Data: []byte(line)}
	for i, s := range g.Sections {
		if s.Name == text.Name {
			g.Sections[i] = text
			return &g
		}
	}
	g.Sections = slices.Insert(g.Sections, 0, text)
	return &g
}

// checkTries says of an entry that boot loaders count whether it has tries left.
func checkTries(r *Report, file string) {
	name, err := bootcfg.ParseEntryName(path.Base(file))
	if err == nil && name.Bad() {
		r.Warn("tries", "it has no tries left: boot loaders take it for bad and prefer every other entry")
	}
}

// entry examines a boot loader entry of type 1.
func (b *bootPartition) entry(name string) (*Report, error) {
	text, err := b.disk.ReadBootFile(b.ctx, b.part, name, 1<<20)
	if err != nil {
		return nil, err
	}
	r := &Report{Findings: []Finding{}}
	checkTries(r, name)
	entry, err := bootcfg.ParseEntry(bytes.NewReader(text))
	if err != nil {
		r.Stop("entry/malformed", "%v", err)
		return r, nil
	}
	var kind, file string
	for _, kind = range []string{bootcfg.EntryLinux, bootcfg.EntryUKI, bootcfg.EntryEFI} {
		if file, _ = entry.Get(kind); file != "" {
			break
		}
	}
	if file == "" {
		r.Stop("entry/nothing", "it has neither linux nor uki or efi: it boots nothing")
		return r, nil
	}
	content, ok := b.named(r, kind, file)
	if !ok {
		return r, nil
	}
	f, err := uki.Parse(bytes.NewReader(content))
	if err == nil {
		checkArchitecture(r, entry, f.Machine)
	}
	switch {
	case err == nil && isUKI(f):
		b.named(r, bootcfg.EntryInitrd, entry.All(bootcfg.EntryInitrd)...)
		return r, b.uki(r, onPartition(file), content, f, entry.Options())
	case kind == bootcfg.EntryEFI:
		return nil, nil // a boot loader, or a shell
	case kind == bootcfg.EntryUKI:
		r.Stop("uki/entry", "%s is no UKI", file)
		return r, nil
	}
	b.kernel(r, entry, content)
	return r, nil
}

// kernel examines an entry with a kernel and an initrd of its own.
func (b *bootPartition) kernel(r *Report, entry bootcfg.Entry, linux []byte) {
	r.Warn("unsigned/entry", "an entry of type 1 is not signed: its seal is all that protects the image")
	release := checkKernelFile(r, "kernel/entry", linux, 0)
	if release == "" {
		unknownKernel(r, "kernel-version/entry")
	}
	for _, key := range []string{bootcfg.EntryDevicetree, devicetreeOverlay} {
		for _, value := range entry.All(key) {
			b.named(r, key, strings.Fields(value)...)
		}
	}
	parts := entry.All(bootcfg.EntryInitrd)
	if len(parts) == 0 {
		r.Stop("initrd/entry", "the entry has no initrd, so nothing starts composefs-setup-root")
		return
	}
	image, ok := b.named(r, bootcfg.EntryInitrd, parts...)
	if !ok {
		return
	}
	machine := machineOf(linux, b.Arch)
	checkLength(r, entry.Options(), machine)
	b.forMachine(machine).on(b.ctx, r, b.disk, entry.Options()).boot(r, image, entry.Options(), release, kernelMachine(linux))
}

// onPartition is the name of a file that an entry names.
func onPartition(name string) string { return inside(name) }

// absent are the kinds of files that an entry names, by its keys.
var absent = map[string]Kind{
	bootcfg.EntryLinux:      "kernel/absent",
	bootcfg.EntryInitrd:     "initrd/absent",
	bootcfg.EntryUKI:        "uki/absent",
	bootcfg.EntryEFI:        "efi",
	bootcfg.EntryDevicetree: "devicetree",
	devicetreeOverlay:       "devicetree-overlay",
}

// devicetreeOverlay is the key of an entry that may name several files in a line.
const devicetreeOverlay = "devicetree-overlay"

// named reads the files that an entry names, one after the other, as a boot loader
// puts initrds together.
func (b *bootPartition) named(r *Report, key string, names ...string) (content []byte, ok bool) {
	for _, name := range names {
		part, err := b.read(onPartition(name))
		if err != nil {
			r.Stop(absent[key], "%s: %v", name, err)
			return nil, false
		}
		content = append(content, part...)
		if len(names) > 1 {
			content = append(content, make([]byte, -len(content)&3)...)
		}
	}
	return content, true
}

// checkArchitecture checks that an entry is for the machine that its program is for:
// boot loaders leave out those for others.
func checkArchitecture(r *Report, entry bootcfg.Entry, machine uint16) {
	said, ok := entry.Get(bootcfg.EntryArchitecture)
	if a, known := uki.ArchOfMachine(machine); ok && known && !strings.EqualFold(said, a.EFI) {
		r.Stop("architecture", "it says architecture %s, and boots a program for %s: boot loaders leave it out", said, a.EFI)
	}
}

// on returns an examiner whose store is the root partition that the command
// line means.
func (e *Examiner) on(ctx context.Context, r *Report, d *Disk, cmdline string) *Examiner {
	here := *e
	here.onDisk = true
	line, err := bootcfg.ParseCmdline(cmdline)
	if err != nil {
		return &here // which is said where the line is looked at
	}
	root, _ := line.Lookup("root")
	p, ok := d.Root(r, root, e.Arch)
	if !ok {
		return &here
	}
	here.RootFS = p.FS.Type
	store, err := d.OpenStore(ctx, p)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.Stop("repository", "%v", err)
	case err == nil:
		here.Store = store
	case e.Store == nil: // else somebody has mounted it, and said where
		r.Warn("repository/unreadable", "%v", err)
	}
	return &here
}
