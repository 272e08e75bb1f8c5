package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/bootcfg/uki"
	"github.com/composefs-go/composefs/internal/check/ukicheck"
	"github.com/composefs-go/composefs/internal/filekind"
	"github.com/composefs-go/composefs/internal/printable"
	"github.com/composefs-go/composefs/sign/secureboot"
)

// ukiContents is what a UKI or an addon says about the boots that it makes. What
// all of its profiles share stands here, and what each has in Profiles.
type ukiContents struct {
	File         string          `json:"file"`
	Kernel       string          `json:"kernel,omitempty"`
	OS           string          `json:"os,omitempty"` // PRETTY_NAME
	Cmdline      string          `json:"cmdline,omitempty"`
	Images       []string        `json:"images,omitempty"` // the arguments that pin an image, or the one that names a ref
	Keys         []shownTrust    `json:"keys,omitempty"`   // that seals are held against
	Policy       *shownPolicy    `json:"policy,omitempty"` // as it holds; absent in what has no initrd
	Profiles     []*shownProfile `json:"profiles,omitempty"`
	Authenticode string          `json:"authenticode,omitempty"`
	Signature    *shownVerdict   `json:"signature,omitempty"` // of uki verify
	Signatures   []shownSigner   `json:"signatures,omitempty"`
	Sections     []sectionReport `json:"sections,omitempty"`
	Problems     []string        `json:"problems,omitempty"` // that would stop a boot, or that hide something
	Warnings     []string        `json:"warnings,omitempty"` // what the signer should know

	problems []error
}

// shownTrust is a public key in the initrd.
type shownTrust struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// shownSigner is a signature of which nothing is known but what it claims.
type shownSigner struct {
	Subject string `json:"subject,omitempty"`
	Issuer  string `json:"issuer,omitempty"`
	Matches bool   `json:"matches"` // it is for this program
	Problem string `json:"problem,omitempty"`
}

// shownVerdict is a signature that was checked.
type shownVerdict struct {
	Status  string `json:"status"` // "valid": all others are errors
	Signer  string `json:"signer"`
	Trusted string `json:"trusted"` // subject of the certificate that vouches for the signer
}

// sectionReport is a section of uki inspect.
type sectionReport struct {
	Name   string `json:"name"`
	Size   int    `json:"size"`
	SHA256 string `json:"sha256"`
	Text   string `json:"text,omitempty"`
}

// textSections are those whose content is worth printing.
var textSections = map[string]bool{".cmdline": true, ".osrel": true, ".uname": true, ".sbat": true, ".pcrpkey": true, ".profile": true}

func openUKI(name string) (*ukicheck.Program, error) {
	content, err := readSmall(name, maxPart)
	if err != nil {
		return nil, err
	}
	p, err := ukicheck.Read(content)
	if kind := filekind.Of(content[:min(len(content), filekind.HeadSize)]); err != nil && kind != filekind.EFI && kind != filekind.Unknown {
		return nil, &filekind.Error{Path: name, Found: kind, Want: "an EFI program"}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return p, nil
}

// showUKI tells what is in a UKI. What can't be read is a problem, not an error.
func showUKI(name string, p *ukicheck.Program) *ukiContents {
	c := &ukiContents{File: name}
	if p.DigestErr != nil {
		c.problem(p.DigestErr)
	} else {
		c.Authenticode = hex.EncodeToString(p.Digest[:])
	}
	if p.BootsErr != nil {
		c.problem(p.BootsErr)
	}
	var profiles []*shownProfile
	for _, b := range p.Boots {
		in := func(err error) error {
			if len(p.Boots) > 1 {
				return b.In(err)
			}
			return err
		}
		for _, err := range b.Problems {
			c.problem(in(imageAdvice(err)))
		}
		for _, w := range b.Warnings {
			c.Warnings = append(c.Warnings, printable.Error(in(errors.New(w))))
		}
		profiles = append(profiles, showProfile(b))
	}
	c.shared(profiles)
	if _, named := p.Section(".profile"); named || len(profiles) > 1 {
		c.Profiles = profiles
	}
	return c
}

// shared takes what all profiles have in common.
func (c *ukiContents) shared(profiles []*shownProfile) {
	first := profiles[0]
	same := func(equal func(p *shownProfile) bool) bool {
		return !slices.ContainsFunc(profiles, func(p *shownProfile) bool { return !equal(p) })
	}
	if same(func(p *shownProfile) bool { return p.Kernel == first.Kernel }) {
		c.Kernel = first.Kernel
	}
	if same(func(p *shownProfile) bool { return p.OS == first.OS }) {
		c.OS = first.OS
	}
	if same(func(p *shownProfile) bool { return p.Cmdline == first.Cmdline }) {
		c.Cmdline = first.Cmdline
	}
	if same(func(p *shownProfile) bool { return slices.Equal(p.Images, first.Images) }) {
		c.Images = first.Images
	}
	if same(func(p *shownProfile) bool { return slices.Equal(p.Keys, first.Keys) }) {
		c.Keys = first.Keys
	}
	if same(func(p *shownProfile) bool { return reflect.DeepEqual(p.Policy, first.Policy) }) {
		c.Policy = first.Policy
	}
}

// imageAdvice says what to do about profiles that name different images.
func imageAdvice(err error) error {
	var differ *ukicheck.DifferError
	if errors.As(err, &differ) {
		return fmt.Errorf("%w: if both are meant, say so with --image", err)
	}
	return err
}

func (c *ukiContents) problem(err error) {
	c.problems = append(c.problems, err)
	c.Problems = append(c.Problems, printable.Error(err))
}

// addSections adds the list of sections.
func (c *ukiContents) addSections(sections []uki.Section) {
	for _, s := range sections {
		sum := sha256.Sum256(s.Data)
		r := sectionReport{Name: s.Name, Size: len(s.Data), SHA256: hex.EncodeToString(sum[:])}
		if textSections[s.Name] {
			r.Text = strings.TrimRight(string(s.Data), "\x00\n")
		}
		c.Sections = append(c.Sections, r)
	}
}

// addSigners adds what the signatures claim.
func (c *ukiContents) addSigners(signatures [][]byte) {
	for _, der := range signatures {
		s, err := secureboot.Parse(der)
		if err != nil {
			c.Signatures = append(c.Signatures, shownSigner{Problem: printable.Error(err)})
			continue
		}
		shown := shownSigner{Matches: hex.EncodeToString(s.Program[:]) == c.Authenticode}
		if cert := s.Signer(); cert != nil {
			shown.Subject, shown.Issuer = cert.Subject.String(), cert.Issuer.String()
		}
		c.Signatures = append(c.Signatures, shown)
	}
}

// row is a line of the summary for people: a fact, if there is one.
func row(b *strings.Builder, name, text string) {
	if text != "" {
		fmt.Fprintf(b, "%-11s %s\n", name, printable.Line(text))
	}
}

// String is the summary for people.
func (c *ukiContents) String() string {
	var b strings.Builder
	row(&b, "file", c.File)
	if len(c.Profiles) == 0 {
		p := shownProfile{Kernel: c.Kernel, OS: c.OS, Cmdline: c.Cmdline, Images: c.Images, Keys: c.Keys, Policy: c.Policy}
		p.rows(&b)
	}
	row(&b, "digest", c.Authenticode)
	if c.Signature != nil {
		row(&b, "signed by", c.Signature.Signer)
		row(&b, "trusted", c.Signature.Trusted)
	}
	for _, s := range c.Signatures {
		row(&b, "signature", s.String())
	}
	for _, p := range c.Profiles {
		row(&b, "profile", p.name())
		p.rows(&b)
		row(&b, "verdict", p.Verdict)
	}
	for _, p := range c.Problems {
		row(&b, "problem", p)
	}
	for _, w := range c.Warnings {
		row(&b, "warning", w)
	}
	for _, s := range c.Sections {
		fmt.Fprintf(&b, "%-11s %10d  sha256:%s\n", printable.Line(s.Name), s.Size, s.SHA256)
		for line := range strings.Lines(s.Text) {
			fmt.Fprintf(&b, "            %s\n", printable.Line(strings.TrimRight(line, "\n")))
		}
	}
	return strings.TrimRight(b.String(), "\n")
}

func (s shownSigner) String() string {
	switch {
	case s.Problem != "":
		return s.Problem
	case !s.Matches:
		return fmt.Sprintf("claims to be by %q, and is for another program", s.Subject)
	case s.Subject == "":
		return "by a certificate that it doesn't carry"
	}
	return fmt.Sprintf("claims to be by %q (issuer %q); check with: mkimage uki verify", s.Subject, s.Issuer)
}
