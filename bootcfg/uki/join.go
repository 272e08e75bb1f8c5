package uki

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// defaultProfile is what profile @0 says of itself when others are joined to it and
// nothing was given.
const defaultProfile = "ID=main"

// joined are the sections that are taken over from the program of a profile.
var joined = []string{
	sectionProfile, sectionLinux, ".osrel", sectionCmdline, ".initrd", ".ucode", ".splash", ".dtb", ".uname",
	sectionDTBAuto, sectionHWIDs,
}

// AssembleProfile makes a program that holds one profile, to be joined to a UKI by
// Options.Join: .profile, and then the parts that the profile has of its own. It is built on the
// stub for addons, and boots nothing by itself.
func AssembleProfile(o Options) ([]byte, error) {
	if err := CheckProfile(o.Profile); err != nil {
		return nil, err
	}
	if o.SBAT != nil || o.PCRPKey != nil || o.PCRSig != nil || o.SignPCR != nil || len(o.Join) > 0 {
		return nil, fmt.Errorf("%w: SBAT lines, keys and signatures of PCRs, and other profiles belong into the UKI that the profile is joined to", ErrOptions)
	}
	o.Cmdline = strings.TrimRight(o.Cmdline, " \n")
	if err := o.checkCmdline(o.Stub); err != nil {
		return nil, err
	}
	return Build(o.Stub, append([]Section{{Name: sectionProfile, Data: o.Profile}}, o.sections()...))
}

// CheckProfile refuses a text for .profile from which boot loaders and the stub can't make
// a menu entry.
func CheckProfile(text []byte) error {
	if idOf(text) == "" {
		return fmt.Errorf("%w: want lines like ID=rescue and TITLE=\"Rescue system\" in the profile, found %.80q", ErrOptions, text)
	}
	if bytes.IndexByte(text, 0) >= 0 {
		return fmt.Errorf("%w: the text of the profile has a NUL in it", ErrOptions)
	}
	return nil
}

// idOf returns the identifier in the text of a profile.
func idOf(text []byte) string {
	id, _ := Profile{Sections: []Section{{Name: sectionProfile, Data: text}}}.Title()
	return id
}

// profiles returns all sections of the UKI: the base, and with Profile or Join those
// of the profiles.
func (o Options) profiles() ([]Section, error) {
	if len(o.Join) == 0 && len(o.Profile) == 0 {
		out := o.sections()
		return o.sign(out, out)
	}
	profile := o.Profile
	if len(profile) == 0 {
		profile = []byte(defaultProfile)
	}
	if err := CheckProfile(profile); err != nil {
		return nil, err
	}
	base := o.sections()
	var own []Section // which only profile @0 has
	if i := slices.IndexFunc(base, func(s Section) bool { return s.Name == ".pcrsig" }); i >= 0 {
		own = append(own, base[i])
		base = slices.Delete(base, i, i+1)
	}
	first := append([]Section{{Name: sectionProfile, Data: profile}}, own...)
	out, err := o.sign(slices.Concat(base, first), override(base, first))
	if err != nil {
		return nil, err
	}
	number := map[string]int{idOf(profile): 0}
	for i, program := range o.Join {
		set, err := profileSections(program, o.Linux)
		if err != nil {
			return nil, fmt.Errorf("profile @%d: %w", i+1, err)
		}
		id := idOf(set[0].Data)
		if first, again := number[id]; again {
			return nil, fmt.Errorf("%w: profiles @%d and @%d have the same ID, %q", ErrOptions, first, i+1, id)
		}
		number[id] = i + 1
		signed, err := o.sign(set, override(base, set))
		if err != nil {
			return nil, fmt.Errorf("profile @%d: %w", i+1, err)
		}
		out = append(out, signed...)
	}
	return out, nil
}

// sign appends the PCR signature of the sections that count, if there shall be one.
func (o Options) sign(out, counting []Section) ([]Section, error) {
	if o.SignPCR == nil {
		return out, nil
	}
	text, err := o.SignPCR(measuredOrder(counting))
	if err != nil {
		return nil, fmt.Errorf("sign PCR 11: %w", err)
	}
	return append(slices.Clone(out), Section{Name: ".pcrsig", Data: text}), nil
}

// profileSections returns the sections that the program of a profile brings.
func profileSections(program, linux []byte) ([]Section, error) {
	f, err := Parse(bytes.NewReader(program))
	if err != nil {
		return nil, err
	}
	if kernel, err := readProgram(bytes.NewReader(linux)); err == nil && binary.LittleEndian.Uint16(kernel.file[4:]) != f.Machine {
		return nil, fmt.Errorf("%w: the kernel is for machine type %#x, the profile for %#x", ErrOptions, binary.LittleEndian.Uint16(kernel.file[4:]), f.Machine)
	}
	var out []Section
	for _, s := range f.Sections {
		switch {
		case len(s.Data) == 0 || !slices.Contains(joined, s.Name):
		case (len(out) == 0) != (s.Name == sectionProfile):
			return nil, fmt.Errorf("%w: want a program with one .profile before all other sections, found %s", ErrOptions, s.Name)
		default:
			out = append(out, s)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: want a program with a .profile, found none", ErrOptions)
	}
	return out, CheckProfile(out[0].Data)
}
