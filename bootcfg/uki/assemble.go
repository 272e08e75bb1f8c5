package uki

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// Options are the parts of a UKI. Stub and Linux are required; of the others,
// those that are empty are left out.
type Options struct {
	Stub       []byte // systemd-stub: /usr/lib/systemd/boot/efi/linuxx64.efi.stub
	Linux      []byte // the kernel, an EFI program itself
	Initrd     []byte // one or more cpio archives, compressed or not; see JoinInitrds
	Microcode  []byte // a cpio archive of processor microcode; the stub puts it first
	Cmdline    string // a final newline is dropped
	OSRelease  []byte // content of os-release; boot menus show its PRETTY_NAME
	Uname      string // kernel version; empty: read from Linux, if that can be done
	DeviceTree []byte
	Splash     []byte // a BMP picture
	PCRPKey    []byte // public key of the PCR signature, PEM
	PCRSig     []byte // PCR signature, JSON
	SBAT       []byte // SBAT lines to add to those of the stub and the kernel; nil: that of every UKI
}

// ErrOptions is the cause when the parts given can't make a UKI.
var ErrOptions = errors.New("can't make a UKI")

// parts are the sections and their order. .linux is last: some stubs run the
// kernel where it lies, and it unpacks itself over what is behind it.
var parts = []struct {
	name string
	data func(Options) []byte
}{
	{".osrel", func(o Options) []byte { return o.OSRelease }},
	{".cmdline", func(o Options) []byte { return []byte(o.Cmdline) }},
	{".dtb", func(o Options) []byte { return o.DeviceTree }},
	{".uname", func(o Options) []byte { return []byte(o.Uname) }},
	{".splash", func(o Options) []byte { return o.Splash }},
	{".pcrpkey", func(o Options) []byte { return o.PCRPKey }},
	{".pcrsig", func(o Options) []byte { return o.PCRSig }},
	{".sbat", func(o Options) []byte { return o.SBAT }},
	{".ucode", func(o Options) []byte { return o.Microcode }},
	{".initrd", func(o Options) []byte { return o.Initrd }},
	{".linux", func(o Options) []byte { return o.Linux }},
}

// Assemble makes a UKI.
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
	return Build(o.Stub, o.sections())
}

// sections returns those that have content, in order.
func (o Options) sections() (out []Section) {
	for _, p := range parts {
		if data := p.data(o); len(data) > 0 {
			out = append(out, Section{Name: p.name, Data: data})
		}
	}
	return out
}

// AssembleAddon makes an addon: a program without a kernel whose sections
// systemd-stub adds to those of the UKI that it lies beside, if it is signed by a
// key that firmware trusts. Of the options it takes Stub, which is systemd's
// addonx64.efi.stub, Cmdline, DeviceTree, Initrd, Microcode, Uname (the addon is
// then for that kernel only) and SBAT.
func AssembleAddon(o Options) ([]byte, error) {
	o = Options{
		Stub: o.Stub, Cmdline: strings.TrimRight(o.Cmdline, " \n"), DeviceTree: o.DeviceTree,
		Initrd: o.Initrd, Microcode: o.Microcode, Uname: o.Uname, SBAT: o.SBAT,
	}
	if err := checkCmdline(o.Cmdline); err != nil {
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
	return checkCmdline(strings.TrimRight(o.Cmdline, " \n"))
}

func checkCmdline(cmdline string) error {
	if i := strings.IndexFunc(cmdline, isControl); i >= 0 {
		return fmt.Errorf("%w: the command line has the control character %q at position %d; it must be one line of text", ErrOptions, cmdline[i], i)
	}
	return nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

func le16(b []byte) uint16 { return uint16(b[0]) | uint16(b[1])<<8 }
