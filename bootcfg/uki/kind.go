package uki

import (
	"slices"
	"strings"
)

// A Kind is what an EFI program is for, as far as its sections tell.
type Kind string

// The kinds.
const (
	KindUKI     Kind = "UKI"     // it boots a kernel, or was meant to
	KindAddon   Kind = "addon"   // systemd-stub takes its sections in beside those of a UKI
	KindProfile Kind = "profile" // AssembleProfile made it, to be joined to a UKI
	KindOther   Kind = "program" // a boot loader, a kernel, a stub without anything
)

// Sections of UKIs of which addons have none, and those that the stub takes in from addons.
var (
	onlyUKI = []string{sectionLinux, ".osrel", ".splash", ".pcrpkey", ".pcrsig"}
	ofAddon = []string{sectionCmdline, ".dtb", sectionDTBAuto, sectionHWIDs, ".initrd", ".ucode"}
)

// Kind returns what the program is for.
func (f *File) Kind() Kind {
	first := slices.IndexFunc(f.Sections, func(s Section) bool { return slices.Contains(onlyUKI, s.Name) || slices.Contains(ofAddon, s.Name) })
	profile := slices.IndexFunc(f.Sections, func(s Section) bool { return s.Name == sectionProfile })
	has := func(names []string) bool {
		return slices.ContainsFunc(f.Sections, func(s Section) bool { return slices.Contains(names, s.Name) })
	}
	stub := f.Stub()
	switch {
	case profile >= 0 && (first < 0 || profile < first) && (stub == StubAddon || !has([]string{sectionLinux})):
		return KindProfile
	case has([]string{sectionLinux}):
		return KindUKI
	case !has(ofAddon):
		return KindOther
	case profile < 0 && !has(onlyUKI):
		return KindAddon
	}
	return KindUKI
}

// A Stub is one of systemd's programs that sections are added to, by the name that it has
// in its section .sdmagic.
type Stub string

// The stubs.
const (
	StubLinux Stub = "systemd-stub"  // of UKIs: linuxx64.efi.stub
	StubAddon Stub = "systemd-addon" // of addons: addonx64.efi.stub; started by itself, it does nothing
)

// loaderInfo is what .sdmagic begins with; the name follows, and after a space the version.
const loaderInfo = "#### LoaderInfo: "

// Stub returns the stub that the program was made of, "" if it doesn't say. Another program
// of systemd, such as its boot loader, says its own name.
func (f *File) Stub() Stub {
	text, _ := f.Section(sectionMagic)
	rest, ok := strings.CutPrefix(string(text), loaderInfo)
	name, _, spaced := strings.Cut(rest, " ")
	if !ok || !spaced {
		return ""
	}
	return Stub(name)
}
