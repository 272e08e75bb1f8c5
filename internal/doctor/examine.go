package doctor

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/bootcfg/uki"
	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/internal/initrd"
)

// An Examiner knows what isn't in the thing that it looks at.
type Examiner struct {
	Arch    string          // GOARCH, for the type of the root partition
	Cmdline string          // for an initrd that comes without one
	RootFS  string          // type of the root file system, "" if rootfstype= or the disk says it
	Builtin map[string]bool // modules in the kernel, if somebody knows; see ParseBuiltin
	Store   Store           // the repository, nil if it isn't known
}

// machines are the values of PE headers as those of ELF.
var machines = map[uint16]elf.Machine{0x8664: elf.EM_X86_64, 0xaa64: elf.EM_AARCH64, 0x5064: elf.EM_RISCV, 0x014c: elf.EM_386}

// MaxBootFile is the size of the largest UKI or initrd that is looked at, in bytes.
const MaxBootFile = 1 << 30

// Initrd examines an initrd.
func (e *Examiner) Initrd(image []byte) *Report {
	r := &Report{Kind: "initrd", Findings: []Finding{}}
	checkLength(r, e.Cmdline, machineOf(nil, e.Arch))
	e.boot(r, image, e.Cmdline, "", 0)
	return r
}

// UKI examines a unified kernel image.
func (e *Examiner) UKI(program io.ReaderAt) *Report {
	r := &Report{Kind: "uki", Findings: []Finding{}}
	f, err := uki.Parse(program)
	if err != nil {
		r.Stop("uki", "build it again with `mkimage uki build`", "%v", err)
		return r
	}
	e = e.forMachine(f.Machine)
	e.uki(r, f, func(*Report, string) *Examiner { return e }, nil)
	return r
}

// profile examines one of the boots that a UKI makes.
func (e *Examiner) profile(r *Report, f uki.Profile, u ukiOnDisk) {
	const remedy = "build it again with `mkimage uki build`"
	linux, ok := f.Section(".linux")
	if !ok {
		r.Stop("kernel", remedy, "there is no kernel (.linux) in it")
	}
	release, _ := uki.KernelVersion(linux)
	if text, ok := f.Section(".uname"); ok {
		said := strings.TrimRight(string(text), "\x00\n")
		if release != "" && said != release {
			r.Warn("uname", remedy, ".uname says %s, the kernel is %s", said, release)
		}
		release = said
	}
	if release != "" {
		r.Fact("kernel", "%s", release)
	}
	line, err := f.Cmdline()
	if err != nil {
		r.Stop("cmdline", remedy, "%v", err)
	}
	here := u.at(r, line)
	if line == "" {
		if line = e.Cmdline; line == "" {
			r.Warn("cmdline", remedy, "there is no .cmdline in it: the boot loader decides what is booted")
		}
	}
	checkLength(r, strings.Join(append([]string{line}, u.addons...), " "), u.machine)
	image, ok := f.Section(".initrd")
	if !ok {
		r.Stop("initrd", remedy, "there is no initrd (.initrd) in it")
		return
	}
	here.boot(r, image, line, release, machines[u.machine])
}

// boot examines an initrd with the command line and the kernel that go with it.
func (e *Examiner) boot(r *Report, image []byte, line, release string, machine elf.Machine) {
	root, err := initrd.Open(image)
	if err != nil {
		r.Stop("initrd", "make the initrd again", "%v", err)
		return
	}
	i := &Initrd{Root: root, Kernel: release, Machine: machine, Builtin: e.Builtin}
	start, trust := i.Examine(r)
	var cmdline bootcfg.Cmdline
	var device Root
	if line != "" {
		cmdline, device = i.Cmdline(r, line, start, trust, e.Arch)
	}
	if device.Type == "" {
		device.Type = e.RootFS
	}
	i.Modules(r, device)
	if e.Store != nil && cmdline.Asked() {
		CheckStore(r, e.Store, cmdline, trust, Kernel{release, machine})
	}
}

// Image examines an image by itself.
func (e *Examiner) Image(image io.ReaderAt, size int64) *Report {
	r := &Report{Kind: "image", Findings: []Finding{}}
	img, err := erofs.Open(image, size)
	if err != nil {
		r.Stop("image", "build the image again", "%v", err)
		return r
	}
	line, err := bootcfg.ParseCmdline(e.Cmdline)
	if err != nil {
		r.Stop("cmdline", "correct the command line", "%v", err)
	}
	Image(r, img, e.Store, line, bootcfg.DefaultConfig(), Kernel{})
	if e.Store != nil {
		checkObjects(r, e.Store, img)
	}
	return r
}

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
	esp, ok := d.ESP()
	if !ok {
		r.Stop("esp", "make the disk again with `mkimage disk`", "the disk has no EFI system partition: firmware finds nothing to boot")
		return nil
	}
	files, err := d.BootFiles(ctx, esp)
	if err != nil {
		return fmt.Errorf("list the EFI system partition: %w", err)
	}
	entries := 0
	for _, file := range files {
		upper := strings.ToUpper(file)
		var entry *Report
		switch {
		case strings.HasSuffix(upper, ".EFI") && (strings.HasPrefix(upper, "EFI/LINUX/") || strings.HasPrefix(upper, "EFI/BOOT/")):
			entry, err = e.diskUKI(ctx, d, esp, file, files)
		case strings.HasPrefix(upper, "LOADER/ENTRIES/") && strings.HasSuffix(upper, ".CONF"):
			entry, err = e.diskEntry(ctx, d, esp, file)
		}
		if err != nil {
			return fmt.Errorf("read %s of the EFI system partition: %w", file, err)
		}
		if entry == nil {
			continue
		}
		entries++
		r.add(file, entry)
	}
	if entries == 0 {
		r.Stop("entries", "put a UKI into EFI/Linux, or make the disk again with `mkimage disk --uki`", "nothing on the EFI system partition boots Linux: no UKI in EFI/BOOT or EFI/Linux, no entry in loader/entries")
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
		f.Problem = printable(name) + ": " + f.Problem
		r.Findings = append(r.Findings, f)
	}
}

// diskUKI examines an EFI program, if it is a UKI.
func (e *Examiner) diskUKI(ctx context.Context, d *Disk, esp Partition, name string, files []string) (*Report, error) {
	program, err := d.ReadBootFile(ctx, esp, name, MaxBootFile)
	if err != nil {
		return nil, err
	}
	r := &Report{Findings: []Finding{}}
	f, err := uki.Parse(bytes.NewReader(program))
	if err != nil {
		r.Stop("uki", "put a good one in its place", "%v", err)
		return r, nil
	}
	addons, err := addonLines(ctx, r, d, esp, name, files, f.Machine)
	if err != nil {
		return nil, err
	}
	if !isUKI(f) {
		return nil, nil // a boot loader
	}
	e = e.forMachine(f.Machine)
	e.uki(r, f, func(r *Report, line string) *Examiner { return e.onDisk(ctx, r, d, line) }, addons)
	return r, nil
}

// diskEntry examines a boot loader entry of type 1.
func (e *Examiner) diskEntry(ctx context.Context, d *Disk, esp Partition, name string) (*Report, error) {
	text, err := d.ReadBootFile(ctx, esp, name, 1<<20)
	if err != nil {
		return nil, err
	}
	r := &Report{Findings: []Finding{}}
	entry, err := bootcfg.ParseEntry(bytes.NewReader(text))
	if err != nil {
		r.Stop("entry", "correct the entry", "%v", err)
		return r, nil
	}
	linux, ok := entry.Get(bootcfg.EntryLinux)
	if !ok {
		return nil, nil // of another kind: what it names is examined by itself
	}
	r.Warn("unsigned", "boot a UKI, or require seals", "an entry of type 1 is not signed: its seal is all that protects the image")
	kernel, err := d.ReadBootFile(ctx, esp, strings.TrimPrefix(path.Clean("/"+linux), "/"), MaxBootFile)
	if err != nil {
		r.Stop("kernel", "put the kernel there", "%s: %v", linux, err)
	}
	var image []byte
	for _, part := range entry.All(bootcfg.EntryInitrd) {
		b, err := d.ReadBootFile(ctx, esp, strings.TrimPrefix(path.Clean("/"+part), "/"), MaxBootFile)
		if err != nil {
			r.Stop("initrd", "put the initrd there", "%s: %v", part, err)
			return r, nil
		}
		image = append(image, b...)
		image = append(image, make([]byte, -len(image)&3)...)
	}
	release, _ := uki.KernelVersion(kernel)
	machine := machineOf(kernel, e.Arch)
	checkLength(r, entry.Options(), machine)
	e.forMachine(machine).onDisk(ctx, r, d, entry.Options()).boot(r, image, entry.Options(), release, kernelMachine(kernel))
	return r, nil
}

// onDisk returns an examiner whose store is the root partition that the command
// line means.
func (e *Examiner) onDisk(ctx context.Context, r *Report, d *Disk, cmdline string) *Examiner {
	here := *e
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
		r.Stop("repository", "make the disk again with `mkimage disk`", "%v", err)
	case err != nil:
		r.Warn("repository", "check the repository with `mkimage verify`", "%v", err)
	default:
		here.Store = store
	}
	return &here
}

// Detect tells what a file is by its first bytes (at least 2048, if it has as many):
// "uki", "image", "disk" or "initrd".
func Detect(head []byte) string {
	has := func(at int, magic string) bool {
		return len(head) >= at+len(magic) && string(head[at:at+len(magic)]) == magic
	}
	switch {
	case has(0, "MZ"):
		return "uki"
	case has(1024, "\xe2\xe1\xf5\xe0"):
		return "image"
	case has(512, "EFI PART"), has(510, "\x55\xaa"):
		return "disk"
	}
	return "initrd"
}
