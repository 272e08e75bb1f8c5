package uki

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// Options are the parts of a UKI. Stub and Linux are required; other parts that are
// empty are left out.
type Options struct {
	Stub           []byte   // systemd-stub: /usr/lib/systemd/boot/efi/linuxx64.efi.stub
	Linux          []byte   // the kernel, an EFI program itself
	Initrd         []byte   // one or more cpio archives, compressed or not; see JoinInitrds
	Microcode      []byte   // a cpio archive of processor microcode; the stub puts it first
	Cmdline        string   // a final newline is dropped
	OSRelease      []byte   // content of os-release; boot menus show its PRETTY_NAME
	Uname          string   // kernel version; empty: read from Linux, if that can be done
	DeviceTree     []byte   // for every machine
	DeviceTreeAuto [][]byte // the stub takes the first that is for the machine
	HWIDs          []byte   // hardware IDs by which it tells the machine; see PackHWIDs
	Splash         []byte   // a BMP picture
	PCRPKey        []byte   // public key of the PCR signature, PEM
	PCRSig         []byte   // PCR signature, JSON; see SignPCR
	SBAT           []byte   // SBAT lines, added to the stub's and the kernel's; nil: the line that every UKI has

	Profile []byte   // lines like ID=rescue and TITLE="Rescue system" of profile @0
	Join    [][]byte // what AssembleProfile made: profiles @1, @2 and so on

	// SignPCR makes the PCR signature of each profile from the sections that count
	// in it, in the order in which the stub measures them. It takes the place of PCRSig.
	SignPCR func([]Section) ([]byte, error)
}

// ErrOptions is the cause when the parts given can't make a UKI.
var ErrOptions = errors.New("can't make a UKI")

// parts are the sections and their order. .linux is last: some stubs run the
// kernel where it lies, and it unpacks itself over what is behind it.
var parts = []struct {
	name string
	data func(Options) [][]byte
}{
	{".osrel", func(o Options) [][]byte { return [][]byte{o.OSRelease} }},
	{sectionCmdline, func(o Options) [][]byte { return [][]byte{[]byte(o.Cmdline)} }},
	{".dtb", func(o Options) [][]byte { return [][]byte{o.DeviceTree} }},
	{sectionDTBAuto, func(o Options) [][]byte { return o.DeviceTreeAuto }},
	{sectionHWIDs, func(o Options) [][]byte { return [][]byte{o.HWIDs} }},
	{".uname", func(o Options) [][]byte { return [][]byte{[]byte(o.Uname)} }},
	{".splash", func(o Options) [][]byte { return [][]byte{o.Splash} }},
	{".pcrpkey", func(o Options) [][]byte { return [][]byte{o.PCRPKey} }},
	{".pcrsig", func(o Options) [][]byte { return [][]byte{o.PCRSig} }},
	{".sbat", func(o Options) [][]byte { return [][]byte{o.SBAT} }},
	{".ucode", func(o Options) [][]byte { return [][]byte{o.Microcode} }},
	{".initrd", func(o Options) [][]byte { return [][]byte{o.Initrd} }},
	{sectionLinux, func(o Options) [][]byte { return [][]byte{o.Linux} }},
}

// Assemble makes a UKI. Parts that would make one that can't boot are refused with
// ErrOptions, ErrFormat, or one of the errors of Build. The same parts give the same bytes.
func Assemble(o Options) ([]byte, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	o.Cmdline = strings.TrimRight(o.Cmdline, " \n")
	if o.Uname == "" {
		// Best effort, as ukify does it: a UKI without .uname boots.
		o.Uname, _ = KernelVersion(o.Linux)
	}
	var err error
	if o.SBAT, err = mergeSBAT(o); err != nil {
		return nil, err
	}
	sections, err := o.profiles()
	if err != nil {
		return nil, err
	}
	program, err := Build(o.Stub, sections)
	if err != nil {
		return nil, err
	}
	return program, checkBuilt(program)
}

// checkBuilt reads what was built as the boot will: what systemd-stub would
// understand in another way than it was meant is refused here, not there.
func checkBuilt(program []byte) error {
	f, err := Parse(bytes.NewReader(program))
	if err != nil {
		return err
	}
	profiles, err := f.Profiles()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrOptions, err)
	}
	for _, p := range profiles {
		if err := p.checkLength(f.Machine); err != nil {
			return fmt.Errorf("%w: %w", ErrOptions, err)
		}
	}
	return nil
}

// sections returns the sections that have content, in order.
func (o Options) sections() (out []Section) {
	for _, p := range parts {
		for _, data := range p.data(o) {
			if len(data) > 0 {
				out = append(out, Section{Name: p.name, Data: data})
			}
		}
	}
	return out
}

// AssembleAddon makes an addon: a program without a kernel whose sections systemd-stub
// adds to the UKI beside it. Under Secure Boot the addon must be signed, too. Of the options
// it uses Stub, which is systemd's addonx64.efi.stub, Cmdline, DeviceTree, Initrd, Microcode,
// Uname (the addon is then only for that kernel) and SBAT; it ignores the others.
func AssembleAddon(o Options) ([]byte, error) {
	o = Options{
		Stub: o.Stub, Cmdline: strings.TrimRight(o.Cmdline, " \n"), DeviceTree: o.DeviceTree,
		Initrd: o.Initrd, Microcode: o.Microcode, Uname: o.Uname, SBAT: o.SBAT,
	}
	if err := o.checkCmdline(o.Stub); err != nil {
		return nil, err
	}
	if len(o.Cmdline)+len(o.DeviceTree)+len(o.Initrd)+len(o.Microcode) == 0 {
		return nil, fmt.Errorf("%w: an addon without a command line, device tree or initrd adds nothing", ErrOptions)
	}
	if o.SBAT == nil {
		o.SBAT = []byte(sbatHeader + "\n" + sbatAddon + "\n")
	}
	lines, err := splitSBAT(o.SBAT)
	if err != nil {
		return nil, err
	}
	o.SBAT = joinSBAT(lines)
	return Build(o.Stub, o.sections())
}

// JoinInitrds returns one initrd that unpacks as the given ones do, one after
// another. The kernel looks for the next archive at a multiple of 4.
func JoinInitrds(initrds ...[]byte) []byte {
	if len(initrds) == 1 {
		return initrds[0]
	}
	var out []byte
	for _, b := range initrds {
		out = append(out, b...)
		out = append(out, make([]byte, -len(out)&3)...)
	}
	return out
}

// check refuses what would build and then not boot.
func (o Options) check() error {
	if len(o.Linux) == 0 {
		return fmt.Errorf("%w: no kernel is given", ErrOptions)
	}
	kernel, err := readProgram(bytes.NewReader(o.Linux))
	if err != nil {
		return fmt.Errorf("%w: want a kernel with an EFI stub (CONFIG_EFI_STUB), not compressed from outside: %w", ErrOptions, err)
	}
	stub, err := readProgram(bytes.NewReader(o.Stub))
	if err != nil {
		return fmt.Errorf("%w: read the stub: %w", ErrOptions, err)
	}
	if k, s := kernel.file[4:6], stub.file[4:6]; !bytes.Equal(k, s) {
		return fmt.Errorf("%w: the kernel is for machine type %#x, the stub for %#x", ErrOptions, le16(k), le16(s))
	}
	return o.checkCmdline(o.Linux)
}

// checkCmdline refuses a command line that the kernel wouldn't get as it is
// written. The program is for its machine.
func (o Options) checkCmdline(program []byte) error {
	line := strings.TrimRight(o.Cmdline, " \n")
	if i := strings.IndexFunc(line, isControl); i >= 0 {
		return fmt.Errorf("%w: the command line has the control character %q at position %d; it must be one line of text", ErrOptions, line[i], i)
	}
	if err := checkUTF8([]byte(line)); err != nil {
		return fmt.Errorf("%w: %w", ErrOptions, err)
	}
	p, err := readProgram(bytes.NewReader(program))
	if err != nil {
		return fmt.Errorf("%w: read the stub: %w", ErrOptions, err)
	}
	if err := CheckCmdlineLength(line, le16(p.file[4:6])); err != nil {
		return fmt.Errorf("%w: %w", ErrOptions, err)
	}
	return nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

func le16(b []byte) uint16 { return uint16(b[0]) | uint16(b[1])<<8 }
