package doctor

import (
	"bytes"
	"debug/elf"
	"io"
	"strings"
	"time"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/bootcfg/uki"
	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/internal/artifact/initrd"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// An Examiner knows what isn't in the thing that it looks at.
type Examiner struct {
	Arch    string          // GOARCH, for the type of the root partition
	Cmdline string          // for an initrd that comes without one
	RootFS  string          // type of the root file system, "" if rootfstype= or the disk says it
	Builtin map[string]bool // modules in the kernel, if somebody knows; see ParseBuiltin
	Store   Store           // the repository, nil if it isn't known
	Now     time.Time       // certificates are held against; the zero time is none

	onDisk bool // the partitions are known
	addons []addon
}

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
	content, err := io.ReadAll(io.NewSectionReader(program, 0, MaxBootFile))
	var f *uki.File
	if err == nil {
		f, err = uki.Parse(bytes.NewReader(content))
	}
	if err != nil {
		r.Stop("uki/file", "%v", err)
		return r
	}
	e.checkSignature(r, content, f)
	if err := checkName(f); err != nil {
		r.Warn("os-release/alone", "%v", err)
	}
	e = e.forMachine(f.Machine)
	e.uki(r, f, func(*Report, string) *Examiner { return e }, nil)
	return r
}

// profile examines one of the boots that a UKI makes.
func (e *Examiner) profile(r *Report, f uki.Profile, u ukiOnDisk) {
	release := u.kernel(r, f)
	line, err := f.Cmdline()
	if err != nil {
		r.Stop("cmdline/section", "%v", err)
	}
	here := u.at(r, line)
	if line == "" {
		if line = e.Cmdline; line == "" {
			r.Warn("cmdline/none", "there is no .cmdline in it: the boot loader decides what is booted")
		}
	}
	whole := line
	for _, a := range u.addons {
		whole = strings.TrimSpace(whole + " " + a.line)
	}
	checkLength(r, whole, u.machine)
	microcode, ok := f.Section(".ucode")
	if err := checkMicrocode(microcode, ok); err != nil {
		r.Stop("microcode", "%v", err)
		microcode = nil
	}
	image, ok := f.Section(".initrd")
	if !ok {
		r.Stop("initrd/section", "there is no initrd (.initrd) in it")
		return
	}
	with := *here
	with.addons = u.addons
	with.boot(r, initrd.WithMicrocode(microcode, withAddons(image, u.addons)), line, release, elfMachine(u.machine))
}

// boot examines an initrd with the command line and the kernel that go with it.
func (e *Examiner) boot(r *Report, image []byte, line, release string, machine elf.Machine) {
	root, err := initrd.Open(image)
	if err != nil {
		r.Stop("initrd/malformed", "%v", err)
		return
	}
	i := &Initrd{Root: root, Kernel: release, Machine: machine, Builtin: e.Builtin, OnDisk: e.onDisk}
	start, trust := i.Examine(r)
	var cmdline bootcfg.Cmdline
	var device Root
	if line != "" {
		cmdline, device = i.Cmdline(r, line, start, trust, e.Arch)
	}
	for _, a := range e.addons {
		if c, err := bootcfg.ParseCmdline(a.line); err == nil {
			i.arguments(r, c, start, trust)
		}
	}
	i.checkBeside(r, start, cmdline)
	if device.Type == "" {
		device.Type = e.RootFS
	}
	i.Modules(r, device)
	i.CheckKernel(r, trust, cmdline)
	if e.Store != nil && cmdline.Asked() {
		CheckStore(r, e.Store, cmdline, trust, Kernel{release, machine})
	}
}

// Image examines an image by itself. want is the digest that it goes by, zero if it has
// no such name.
func (e *Examiner) Image(image io.ReaderAt, size int64, want verity.Digest) *Report {
	r := &Report{Kind: "image", Findings: []Finding{}}
	if !want.IsZero() {
		found, err := verity.SumFile(want.Algorithm(), image, size)
		if err == nil {
			err = sign.CheckDigest(want, found)
		}
		if err != nil {
			r.Stop("digest", "%v", err)
			return r
		}
	}
	img, err := erofs.Open(image, size)
	if err != nil {
		r.Stop("image/malformed", "%v", err)
		return r
	}
	line, err := bootcfg.ParseCmdline(e.Cmdline)
	if err != nil {
		r.Stop("cmdline/given", "%v", err)
	}
	read := Image(r, img, e.Store, line, bootcfg.DefaultConfig(), Kernel{})
	if e.Store != nil {
		checkObjects(r, e.Store, img, read)
	}
	return r
}
