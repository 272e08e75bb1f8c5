package uki

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Sections that Profiles knows by name.
const (
	sectionProfile = ".profile"
	sectionCmdline = ".cmdline"
	sectionLinux   = ".linux"
	sectionDTBAuto = ".dtbauto"
	sectionHWIDs   = ".hwids"
	sectionMagic   = ".sdmagic" // the stub's name and version
)

// unified are the sections that systemd-stub uses, in the order in which it
// measures them into PCR 11. Their names are part of what is measured.
var unified = []string{
	sectionLinux, ".osrel", sectionCmdline, ".initrd", ".ucode", ".splash", ".dtb", ".uname",
	".sbat", ".pcrsig", ".pcrpkey", sectionProfile, sectionDTBAuto, sectionHWIDs,
}

// profilesSince is the version of systemd whose stub is the first to know profiles.
const profilesSince = 257

// A Profile is one of the ways to boot a UKI: the sections before the first
// .profile, which are the base, and in the place of those with the same name the
// ones that follow its own .profile up to the next.
//
//	.linux .initrd .cmdline  | .profile         | .profile .cmdline
//	the base                 | @0: as the base  | @1: has its own command line
//
// A boot loader, or the first word of the load options, selects one by its number.
// Secure Boot doesn't change that: the signature covers all of them.
type Profile struct {
	Number   int // as in @1
	Sections []Section
}

// String returns how the profile is selected, as in "@1".
func (p Profile) String() string { return "@" + strconv.Itoa(p.Number) }

// Section returns the content of the section that counts in this profile, and
// whether there is one. The stub takes an empty one for none.
func (p Profile) Section(name string) ([]byte, bool) {
	for _, s := range p.Sections {
		if s.Name == name {
			return s.Data, len(s.Data) > 0
		}
	}
	return nil, false
}

// Cmdline returns the command line that the stub hands to the kernel, if the boot
// loader adds none: up to the first NUL, with spaces for control characters. It is
// empty if there is none. Text that the stub would change in other ways, because it
// isn't UTF-8 or has characters beyond U+FFFF, is an error.
func (p Profile) Cmdline() (string, error) {
	data, _ := p.Section(sectionCmdline)
	return cmdlineOf(data)
}

// checkLength refuses a command line that the kernel would cut off.
func (p Profile) checkLength(machine uint16) error {
	line, err := p.Cmdline()
	if err == nil {
		err = CheckCmdlineLength(line, machine)
	}
	if err != nil {
		return fmt.Errorf("profile %s: %w", p, err)
	}
	return nil
}

func cmdlineOf(data []byte) (string, error) {
	data, _, _ = bytes.Cut(data, []byte{0})
	if err := checkUTF8(data); err != nil {
		return "", err
	}
	line := strings.Map(func(r rune) rune {
		if isControl(r) {
			return ' '
		}
		return r
	}, string(data))
	return strings.Trim(line, " "), nil
}

// checkUTF8 refuses what the stub leaves out on the way through UTF-16, and
// characters after it as well.
func checkUTF8(text []byte) error {
	for at := 0; at < len(text); {
		r, n := utf8.DecodeRune(text[at:])
		if r == utf8.RuneError && n == 1 || r > 0xffff {
			return formatError("the command line has the bytes %q at position %d, want UTF-8 of characters up to U+FFFF; systemd-stub would drop what is there", text[at:at+n], at)
		}
		at += n
	}
	return nil
}

// Title returns the identifier of the profile and its title in boot menus, as its .profile
// section has them; each is empty if it is missing.
func (p Profile) Title() (id, title string) {
	text, _ := p.Section(sectionProfile)
	for line := range strings.SplitSeq(strings.ReplaceAll(string(text), "\r", "\n"), "\n") {
		line, _, _ = strings.Cut(line, "\x00")
		key, value, ok := strings.Cut(strings.Trim(line, " \t"), "=")
		if !ok || strings.HasPrefix(key, "#") {
			continue
		}
		for _, quote := range []string{`"`, `'`} {
			if len(value) > 1 && strings.HasPrefix(value, quote) && strings.HasSuffix(value, quote) {
				value = value[1 : len(value)-1]
				break
			}
		}
		switch key {
		case "ID":
			id = value
		case "TITLE":
			title = value
		}
	}
	return id, title
}

// Profiles returns all the ways to boot the UKI; there is always @0. If the sections make
// it uncertain what is booted, it returns an error along with the profiles that systemd 257 would find.
func (f *File) Profiles() ([]Profile, error) {
	var sets [][]Section // the base, and one for each .profile
	start := 0
	for i, s := range f.Sections {
		if s.Name == sectionProfile {
			sets = append(sets, f.Sections[start:i])
			start = i
		}
	}
	sets = append(sets, f.Sections[start:])
	profiles := []Profile{{Number: 0, Sections: slices.Clone(sets[0])}}
	for i, set := range sets[1:] {
		p := Profile{Number: i, Sections: override(sets[0], set)}
		if i == 0 {
			profiles[0] = p
			continue
		}
		profiles = append(profiles, p)
	}
	return profiles, f.checkProfiles(sets)
}

// override returns the base with the sections of the profile in the place of those
// with the same name. The first of a name counts, but of .dtbauto any may.
func override(base, set []Section) (out []Section) {
	for _, s := range base {
		same := func(o Section) bool { return o.Name == s.Name && s.Name != sectionDTBAuto }
		if !slices.ContainsFunc(set, same) {
			out = append(out, s)
		}
	}
	return append(out, set...)
}

// checkProfiles refuses what stubs of different versions would understand in
// different ways.
func (f *File) checkProfiles(sets [][]Section) error {
	for i, set := range sets {
		seen := map[string]bool{}
		for _, s := range set {
			if seen[s.Name] && slices.Contains(unified, s.Name) && s.Name != sectionDTBAuto && s.Name != sectionHWIDs {
				where := "the base"
				if i > 0 {
					where = fmt.Sprintf("profile @%d", i-1)
				}
				return formatError("%s has two sections %s: which of them counts depends on the version of systemd-stub", where, s.Name)
			}
			seen[s.Name] = true
		}
	}
	version, known := f.StubVersion()
	if !known || version >= profilesSince {
		return nil
	}
	if len(sets) > 1 {
		return formatError("it has profiles, and its stub is from systemd %d, which doesn't know them: want %d or newer", version, profilesSince)
	}
	// Those stubs compare the beginning of a name only, and the last one counts.
	for _, s := range f.Sections {
		for _, name := range unified {
			if s.Name != name && strings.HasPrefix(s.Name, name) {
				return formatError("it has a section %s, and its stub, of systemd %d, takes that for %s", s.Name, version, name)
			}
		}
	}
	return nil
}

// StubVersion returns the version of systemd that the stub of a UKI is from, and whether it
// says one.
func (f *File) StubVersion() (version int, known bool) {
	text, _ := f.Section(sectionMagic)
	rest, ok := strings.CutPrefix(string(text), loaderInfo+string(StubLinux)+" ")
	if !ok {
		return 0, false
	}
	end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	version, err := strconv.Atoi(rest[:max(end, 0)])
	return version, err == nil
}
