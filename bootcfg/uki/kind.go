package uki

import (
	"slices"
	"strings"
)

// A Kind says what an EFI program is for, judging by its sections.
type Kind string

// The kinds.
const (
	KindUKI     Kind = "UKI"     // boots a kernel, or was meant to
	KindAddon   Kind = "addon"   // systemd-stub adds its sections to a UKI's
	KindProfile Kind = "profile" // made by AssembleProfile, to be joined to a UKI
	KindOther   Kind = "program" // a boot loader, a kernel, a bare stub
)

// Sections that only UKIs have, and the sections that the stub takes from addons.
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

// A Stub names one of systemd's programs that sections are added to, as its section
// .sdmagic does.
type Stub string

// The stubs.
const (
	StubLinux Stub = "systemd-stub"  // for UKIs: linuxx64.efi.stub
	StubAddon Stub = "systemd-addon" // for addons: addonx64.efi.stub; started by itself, it does nothing
)

// loaderInfo is what .sdmagic begins with; the name follows, and after a space the version.
const loaderInfo = "#### LoaderInfo: "

// Stub returns the stub that the program was made from, "" if it doesn't say. Other programs
// of systemd, such as its boot loader, have names of their own there.
func (f *File) Stub() Stub {
	text, _ := f.Section(sectionMagic)
	rest, ok := strings.CutPrefix(string(text), loaderInfo)
	name, _, spaced := strings.Cut(rest, " ")
	if !ok || !spaced {
		return ""
	}
	return Stub(name)
}
