package main

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

// ukiProfile is one of the boots that a UKI makes; an addon has one.
type ukiProfile struct {
	Number   int          `json:"number"`
	ID       string       `json:"id,omitempty"`
	Title    string       `json:"title,omitempty"`
	Verdict  string       `json:"verdict,omitempty"` // of uki verify: "trusted" or "refused"
	Kernel   string       `json:"kernel,omitempty"`
	OS       string       `json:"os,omitempty"`
	Cmdline  string       `json:"cmdline,omitempty"` // as the kernel gets it
	Images   []string     `json:"images,omitempty"`
	Keys     []shownTrust `json:"keys,omitempty"`
	Policy   *shownPolicy `json:"policy,omitempty"`
	Problems []string     `json:"problems,omitempty"`
	Warnings []string     `json:"warnings,omitempty"` // what the signer should know

	line     bootcfg.Cmdline
	lineErr  error
	problems []error
	refused  []error // those with which no UKI is built
}

// errBoots is the cause when a profile boots something without verifying it.
var errBoots = errors.New("nothing would be verified")

func (p *ukiProfile) problem(err error) {
	p.problems = append(p.problems, err)
	p.Problems = append(p.Problems, oneLine(err))
}

// refuse takes a problem with which no UKI is built.
func (p *ukiProfile) refuse(err error) {
	p.refused = append(p.refused, err)
	p.problem(err)
}

// in says of an error which profile it is about.
func (p *ukiProfile) in(err error) error { return fmt.Errorf("profile @%d: %w", p.Number, err) }

// name is how people know the profile.
func (p *ukiProfile) name() string {
	return strings.TrimRight(fmt.Sprintf("@%d %s %s", p.Number, p.ID, p.Title), " ")
}

// image returns the arguments that name the image, as they are written.
func (p *ukiProfile) image() string { return strings.Join(p.Images, " ") }

// imageNames returns the arguments of a command line that name the image.
func imageNames(c bootcfg.Cmdline) string {
	if c.Ref != "" {
		return "composefs.ref=" + c.Ref
	}
	var names []string
	for _, i := range c.Images {
		names = append(names, i.Argument)
	}
	return strings.Join(names, " ")
}

// read reads what UKIs and addons have in common.
func (p *ukiProfile) read(from uki.Profile) {
	text := func(name string) string {
		data, _ := from.Section(name)
		text, _, _ := strings.Cut(string(data), "\x00")
		return strings.TrimRight(text, "\n")
	}
	p.Number, p.Kernel, p.OS = from.Number, text(".uname"), prettyName(text(".osrel"))
	p.ID, p.Title = from.Title()
	if p.Cmdline, p.lineErr = from.Cmdline(); p.lineErr == nil {
		p.line, p.lineErr = bootcfg.ParseCmdline(p.Cmdline)
	}
	if p.lineErr != nil {
		p.problem(fmt.Errorf(".cmdline: %w", p.lineErr))
	}
	if err := p.line.CheckInit(); err != nil {
		p.refuse(fmt.Errorf(".cmdline: %w", err))
	}
	if microcode, ok := from.Section(".ucode"); ok {
		if err := initrd.CheckMicrocode(microcode); err != nil {
			p.refuse(fmt.Errorf(".ucode, which the kernel unpacks before the initrd: %w", err))
		}
	}
	if p.line.Asked() {
		p.Images = strings.Split(imageNames(p.line), " ")
	}
	if image, ok := from.Section(".initrd"); ok {
		p.readInitrd(image)
	}
}

// readAddon reads what an addon adds.
func readAddon(from uki.Profile) *ukiProfile {
	p := &ukiProfile{}
	p.read(from)
	if p.line.Asked() {
		p.problem(fmt.Errorf(".cmdline: an addon names an image, %s", p.image()))
	}
	return p
}

// readProfile reads a profile of a UKI for a machine, and looks whether anything in it
// is verified.
func readProfile(from uki.Profile, machine uint16) *ukiProfile {
	p := &ukiProfile{}
	p.read(from)
	if _, ok := from.Section(".linux"); !ok {
		p.problem(errors.New("it has no kernel (.linux)"))
	}
	image, ok := from.Section(".initrd")
	if !ok {
		p.problem(fmt.Errorf("%w: it has no initrd (.initrd)", errBoots))
	}
	if p.lineErr == nil && !p.line.Asked() {
		p.problem(fmt.Errorf("%w: the command line names no image: %q", errBoots, p.Cmdline))
	}
	if root, err := initrd.Open(image); ok && err == nil {
		p.examine(root, machine)
	}
	return p
}

// condemned are the checks of doctor of which each finding means that the root might
// not be verified, whether it stops the boot or not.
var condemned = []string{
	"init", "setup-root", "executable", "machine", "unit", "unit-command", "unit-wanted", "unit-masked", "unit-skipped", "unit-status", "gate",
	"initrd-unit", "unverified-init", "unverified-mount",
}

// examine looks with the doctor's eyes whether composefs-setup-root is started, and
// whether the command line leads away from what it verifies.
func (p *ukiProfile) examine(root fs.ReadLinkFS, machine uint16) {
	i, r := &doctor.Initrd{Root: root}, &doctor.Report{}
	if a, ok := uki.ArchOfMachine(machine); ok {
		i.Machine = elfMachines[a.Go]
	}
	start, trust := i.Examine(r)
	found := false
	for _, f := range r.Findings {
		if !slices.Contains(condemned, f.Check) {
			continue
		}
		found = true
		if start == doctor.StartNone {
			p.problem(fmt.Errorf("%w: .initrd doesn't start composefs-setup-root: %s", errBoots, f.Problem))
		} else {
			p.problem(fmt.Errorf(".initrd: %s", f.Problem))
		}
	}
	if start == doctor.StartNone && !found {
		p.problem(fmt.Errorf("%w: .initrd doesn't start composefs-setup-root", errBoots))
	}
	if p.lineErr != nil {
		return
	}
	r = &doctor.Report{}
	i.Arguments(r, p.line, start, trust)
	for _, f := range r.Findings {
		switch {
		case f.Check == "rdinit": // which was said of the command line alone
		case f.Stops || slices.Contains(condemned, f.Check):
			p.problem(fmt.Errorf(".cmdline: %s", f.Problem))
		default:
			p.Warnings = append(p.Warnings, ".cmdline: "+f.Problem)
		}
	}
}

// readInitrd reads the policy and the keys, as composefs-setup-root would.
func (p *ukiProfile) readInitrd(image []byte) {
	root, err := initrd.Open(image)
	if err != nil {
		p.problem(fmt.Errorf(".initrd: %w", err))
		return
	}
	config, written, err := readPolicy(root)
	if err != nil {
		p.problem(fmt.Errorf("policy in .initrd: %w", err))
		return
	}
	keys, err := sign.LoadKeyring(root, strings.Trim(config.Verify.Keys, "/"))
	// Only the directory that is looked at without being told may be missing.
	if errors.Is(err, fs.ErrNotExist) && config.Verify.Keys == bootcfg.KeysPath {
		err = nil
	}
	if err != nil {
		p.problem(fmt.Errorf("keys in .initrd: %s: %w", config.Verify.Keys, err))
	} else if err := config.Verify.Permits(p.line, keys); err != nil {
		p.problem(fmt.Errorf("policy in .initrd: %w", err))
	}
	for _, k := range keys {
		p.Keys = append(p.Keys, shownTrust{ID: sign.FormatID(k.ID), Name: k.Name})
	}
	p.Policy = showPolicy(config, len(keys), written)
}

// readPolicy returns the policy of an initrd, and whether it is written there.
func readPolicy(root fs.ReadFileFS) (bootcfg.Config, bool, error) {
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

// rows writes what there is to say, a line a fact.
func (p *ukiProfile) rows(b *strings.Builder) {
	row(b, "os", p.OS)
	row(b, "kernel", p.Kernel)
	row(b, "cmdline", p.Cmdline)
	row(b, "image", p.image())
	for _, k := range p.Keys {
		row(b, "key", k.ID+" "+k.Name)
	}
	if p.Policy != nil {
		row(b, "policy", p.Policy.String())
	}
}
