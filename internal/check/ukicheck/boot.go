package ukicheck

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/bootcfg/uki"
	"github.com/composefs-go/composefs/internal/artifact/initrd"
	"github.com/composefs-go/composefs/internal/check/doctor"
	"github.com/composefs-go/composefs/sign"
)

// A Boot is one of the boots that a UKI makes, or what an addon adds to them.
type Boot struct {
	Number    int    // of the profile
	ID, Title string // of the profile, "" if it has none
	Kernel    string // version
	OS        string // PRETTY_NAME
	Cmdline   string // as the kernel gets it
	Line      bootcfg.Cmdline
	LineErr   error        // why Line is nothing
	Images    []string     // arguments of Line that name the image
	Keys      sign.Keyring // that seals are held against
	Policy    *Policy      // nil without an initrd that can be read
	Problems  []error      // that would stop a boot, or that hide something
	Warnings  []string     // what the signer should know

	refused []error // Problems with which no UKI is built
}

// A Policy is the one in an initrd, or the default if it has none.
type Policy struct {
	bootcfg.Config
	Written bool // it is a file in the initrd
}

// ErrUnverified is the cause when a profile boots something without verifying it.
var ErrUnverified = errors.New("nothing would be verified")

func (b *Boot) problem(err error) { b.Problems = append(b.Problems, err) }

// refuse adds a problem with which no UKI is built.
func (b *Boot) refuse(err error) {
	b.refused = append(b.refused, err)
	b.problem(err)
}

// In returns the error with the number of the profile before it.
func (b *Boot) In(err error) error { return fmt.Errorf("profile @%d: %w", b.Number, err) }

// Image returns the arguments that name the image, as they are written.
func (b *Boot) Image() string { return strings.Join(b.Images, " ") }

// read reads what UKIs and addons have in common. It returns the initrd, which open has
// opened, nil if there is none that can be read. open gets the microcode that is unpacked before
// it, too.
func (b *Boot) read(from uki.Profile, open func(microcode, image []byte) (*initrd.Archive, error)) *initrd.Archive {
	text := func(name string) string {
		data, _ := from.Section(name)
		text, _, _ := strings.Cut(string(data), "\x00")
		return strings.TrimRight(text, "\n")
	}
	b.Number, b.Kernel, b.OS = from.Number, text(".uname"), prettyName(text(".osrel"))
	b.ID, b.Title = from.Title()
	if b.Cmdline, b.LineErr = from.Cmdline(); b.LineErr == nil {
		b.Line, b.LineErr = bootcfg.ParseCmdline(b.Cmdline)
	}
	if b.LineErr != nil {
		b.problem(fmt.Errorf(".cmdline: %w", b.LineErr))
	}
	if err := b.Line.CheckInit(); err != nil {
		b.refuse(fmt.Errorf(".cmdline: %w", err))
	}
	microcode, ok := from.Section(".ucode")
	if ok {
		if err := initrd.CheckMicrocode(microcode); err != nil {
			b.refuse(fmt.Errorf(".ucode, which the kernel unpacks before the initrd: %w", err))
			microcode = nil
		}
	}
	b.Images = b.Line.ImageArguments()
	image, ok := from.Section(".initrd")
	if !ok {
		return nil
	}
	root, err := open(microcode, image)
	if err != nil {
		b.problem(fmt.Errorf(".initrd: %w", err))
		return nil
	}
	return root
}

// openInitrd opens an initrd as the kernel unpacks it.
func openInitrd(microcode, image []byte) (*initrd.Archive, error) {
	return initrd.Open(initrd.WithMicrocode(microcode, image))
}

// readAddon reads an addon. The UKIs that it will be used with aren't known.
func readAddon(f *uki.File, from uki.Profile) *Boot {
	b := &Boot{}
	root := b.read(from, func(_, image []byte) (*initrd.Archive, error) { return initrd.OpenOver(image) })
	if b.Line.Asked() {
		b.problem(fmt.Errorf(".cmdline: an addon names an image, %s", b.Image()))
	}
	if f.Stub() == uki.StubLinux {
		b.Warnings = append(b.Warnings, "it is built on the stub for UKIs, not on the one for addons")
	}
	if b.LineErr == nil {
		r := &doctor.Report{}
		doctor.AddonArguments(r, b.Line)
		b.judge(".cmdline", r)
	}
	if root != nil {
		r := &doctor.Report{}
		doctor.Overlay(r, root)
		b.judge(".initrd", r)
		b.readTrust(root, true)
		if b.Policy != nil && !b.Policy.Written {
			b.Policy = nil // the UKI's holds
		}
	}
	return b
}

// readOther reads a program that boots nothing by itself.
func readOther(kind uki.Kind, from uki.Profile) *Boot {
	b := &Boot{}
	b.read(from, openInitrd)
	if kind == uki.KindProfile {
		b.Problems = []error{fmt.Errorf("%w: it is a profile, which boots nothing until it is joined to a UKI", ErrUnverified)}
	} else {
		b.problem(fmt.Errorf("%w: it is neither a UKI nor an addon, but a kernel by itself, a boot loader or another program", ErrUnverified))
	}
	return b
}

// readProfile reads a profile of a UKI, and checks whether the boot that it makes is verified.
func readProfile(f *uki.File, from uki.Profile) *Boot {
	b := &Boot{}
	root := b.read(from, openInitrd)
	if f.Stub() == uki.StubAddon {
		b.problem(errors.New("it is built on the stub for addons, which starts no kernel"))
	}
	if _, ok := from.Section(".linux"); !ok {
		b.problem(errors.New("it has no kernel (.linux)"))
	}
	if _, ok := from.Section(".initrd"); !ok {
		b.problem(fmt.Errorf("%w: it has no initrd (.initrd)", ErrUnverified))
	}
	if b.LineErr == nil && !b.Line.Asked() {
		b.problem(fmt.Errorf("%w: the command line names no image: %q", ErrUnverified, b.Cmdline))
	}
	if root != nil {
		b.readInitrd(root)
		b.examine(root, f.Machine)
	}
	return b
}

// condemned are the checks of doctor of which each finding means that the root might
// not be verified, whether it stops the boot or not.
var condemned = []string{
	"init", "initrd-release", "setup-root", "executable", "machine", "unit", "unit-command", "unit-wanted", "unit-masked", "unit-skipped", "unit-alias", "unit-text", "unit-status", "unit-elsewhere", "gate",
	"initrd-unit", "unverified-init", "unverified-mount", "unverified-variable", "unverified-run", "unverified-pull", "unverified-helper", "shell-unasked", "addon-program",
}

// examine looks with the doctor's eyes whether composefs-setup-root is started, and
// whether the command line leads away from what it verifies.
func (b *Boot) examine(root fs.ReadLinkFS, machine uint16) {
	i, r := &doctor.Initrd{Root: root}, &doctor.Report{}
	if a, ok := uki.ArchOfMachine(machine); ok {
		i.Machine = a.ELF
	}
	start, trust := i.Examine(r)
	found := false
	for _, f := range r.Findings {
		if !slices.Contains(condemned, f.Check) {
			continue
		}
		found = true
		if start == doctor.StartNone {
			b.problem(fmt.Errorf("%w: .initrd doesn't start composefs-setup-root: %s", ErrUnverified, f.Problem))
		} else {
			b.problem(fmt.Errorf(".initrd: %s", f.Problem))
		}
	}
	if start == doctor.StartNone && !found {
		b.problem(fmt.Errorf("%w: .initrd doesn't start composefs-setup-root", ErrUnverified))
	}
	if b.LineErr != nil {
		return
	}
	r = &doctor.Report{}
	i.Arguments(r, b.Line, start, trust)
	b.judge(".cmdline", r)
}

// judge takes over what doctor has found in a section.
func (b *Boot) judge(section string, r *doctor.Report) {
	for _, f := range r.Findings {
		switch {
		case f.Check == "rdinit": // which was said of the command line alone
		case f.Stops || slices.Contains(condemned, f.Check):
			b.problem(fmt.Errorf("%s: %s", section, f.Problem))
		default:
			b.Warnings = append(b.Warnings, section+": "+f.Problem)
		}
	}
}

// readInitrd reads the policy and the keys, and asks whether they permit the command line.
func (b *Boot) readInitrd(root *initrd.Archive) {
	if !b.readTrust(root, false) {
		return
	}
	if err := b.Policy.Verify.Permits(b.Line, b.Keys); err != nil {
		b.problem(fmt.Errorf("policy in .initrd: %w", err))
	}
}

// readTrust reads the policy and the keys, as composefs-setup-root would, and reports
// whether both are sound. In a part of an initrd the keys that the policy names may be missing.
func (b *Boot) readTrust(root *initrd.Archive, part bool) bool {
	config, written, err := readPolicy(root)
	if err != nil {
		b.problem(fmt.Errorf("policy in .initrd: %w", err))
		return false
	}
	if err := doctor.CheckPlainKeys(root, config.Verify.Keys); err != nil {
		b.problem(fmt.Errorf("keys in .initrd: %w", err))
		return false
	}
	keys, err := sign.LoadKeyring(root, strings.Trim(config.Verify.Keys, "/"))
	// Only the directory that is looked at without being told may be missing.
	if errors.Is(err, fs.ErrNotExist) && (part || config.Verify.Keys == bootcfg.KeysPath) {
		err = nil
	}
	if err != nil {
		b.problem(fmt.Errorf("keys in .initrd: %s: %w", config.Verify.Keys, err))
	}
	b.Keys = keys
	b.Policy = &Policy{config, written}
	return err == nil
}

// readPolicy returns the policy of an initrd, and whether it is written there.
func readPolicy(root *initrd.Archive) (bootcfg.Config, bool, error) {
	if err := doctor.CheckPlain(root, bootcfg.ConfigPath); err != nil {
		return bootcfg.Config{}, false, err
	}
	text, err := root.ReadFile(bootcfg.ConfigPath[1:])
	if errors.Is(err, fs.ErrNotExist) {
		return bootcfg.DefaultConfig(), false, nil
	}
	if err != nil {
		return bootcfg.Config{}, false, err
	}
	config, err := bootcfg.ParseConfig(text)
	return config, true, err
}

// prettyName returns the name of the system in os-release.
func prettyName(osRelease string) string {
	for line := range strings.Lines(osRelease) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME="); ok {
			return strings.Trim(value, `"'`)
		}
	}
	return ""
}
