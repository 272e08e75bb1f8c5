package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/bootcfg/uki"
	"github.com/composefs-go/composefs/internal/initrd"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/sign/secureboot"
	"github.com/composefs-go/composefs/verity"
)

// ukiContents is what a UKI or an addon says about the boot that it makes.
type ukiContents struct {
	File         string          `json:"file"`
	Kernel       string          `json:"kernel,omitempty"`
	OS           string          `json:"os,omitempty"` // PRETTY_NAME
	Cmdline      string          `json:"cmdline,omitempty"`
	Images       []string        `json:"images,omitempty"` // the arguments that pin an image, or the one that names a ref
	Keys         []shownTrust    `json:"keys,omitempty"`   // that seals are held against
	Policy       *shownPolicy    `json:"policy,omitempty"` // as it holds; absent in what has no initrd
	Authenticode string          `json:"authenticode,omitempty"`
	Signature    *shownVerdict   `json:"signature,omitempty"` // of uki verify
	Signatures   []shownSigner   `json:"signatures,omitempty"`
	Sections     []sectionReport `json:"sections,omitempty"`
	Problems     []string        `json:"problems,omitempty"` // that would stop the boot, or that hide something

	problems []error
}

// shownTrust is a public key in the initrd.
type shownTrust struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// shownPolicy is the part of a policy that decides what is booted.
type shownPolicy struct {
	Written         bool            `json:"written"` // it is a file in the initrd, not what holds without one
	Signature       string          `json:"signature"`
	FSVerity        string          `json:"fs-verity"`
	MinimumSequence uint64          `json:"minimum-sequence"`
	Revoked         []verity.Digest `json:"revoked,omitempty"`
	AllowInsecure   bool            `json:"allow-insecure"`
}

func (p shownPolicy) String() string {
	s := fmt.Sprintf("signature = %s, fs-verity = %s, minimum-sequence = %d", p.Signature, p.FSVerity, p.MinimumSequence)
	if len(p.Revoked) > 0 {
		s += fmt.Sprintf(", %d revoked", len(p.Revoked))
	}
	if p.AllowInsecure {
		s += ", allow-insecure"
	}
	if !p.Written {
		s += " (what holds without a policy)"
	}
	return s
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
var textSections = map[string]bool{".cmdline": true, ".osrel": true, ".uname": true, ".sbat": true, ".pcrpkey": true}

// openedUKI is a UKI, read.
type openedUKI struct {
	*uki.File
	digest    secureboot.Digest
	digestErr error
}

func openUKI(name string) (openedUKI, error) {
	program, err := readSmall(name, maxPart)
	if err != nil {
		return openedUKI{}, err
	}
	var o openedUKI
	if o.File, err = uki.Parse(bytes.NewReader(program)); err != nil {
		return o, fmt.Errorf("%s: %w", name, err)
	}
	o.digest, o.digestErr = uki.Digest(program)
	return o, nil
}

// text returns a section's content as text, without the zeros that end it.
func (o openedUKI) text(section string) string {
	data, _ := o.Section(section)
	return strings.TrimRight(string(data), "\x00\n")
}

// contents tells what is in it. What can't be read is a problem, not an error.
func (o openedUKI) contents(name string) *ukiContents {
	c := &ukiContents{File: name, Kernel: o.text(".uname"), OS: prettyName(o.text(".osrel")), Cmdline: o.text(".cmdline")}
	if o.digestErr != nil {
		c.problem(o.digestErr)
	} else {
		c.Authenticode = hex.EncodeToString(o.digest[:])
	}
	line, err := bootcfg.ParseCmdline(c.Cmdline)
	if err != nil {
		c.problem(fmt.Errorf(".cmdline: %w", err))
	}
	for _, i := range line.Images {
		c.Images = append(c.Images, i.Argument)
	}
	if line.Ref != "" {
		c.Images = []string{"composefs.ref=" + line.Ref}
	}
	if image, ok := o.Section(".initrd"); ok {
		c.readInitrd(image)
	}
	return c
}

func (c *ukiContents) problem(err error) {
	c.problems = append(c.problems, err)
	c.Problems = append(c.Problems, oneLine(err))
}

// readInitrd reads the policy and the keys, as composefs-setup-root would.
func (c *ukiContents) readInitrd(image []byte) {
	root, err := initrd.Open(image)
	if err != nil {
		c.problem(fmt.Errorf(".initrd: %w", err))
		return
	}
	config, written, err := readPolicy(root)
	if err != nil {
		c.problem(fmt.Errorf("policy in .initrd: %w", err))
		return
	}
	keys, err := sign.LoadKeyring(root, strings.Trim(config.Verify.Keys, "/"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.problem(fmt.Errorf("keys in .initrd: %w", err))
	}
	for _, k := range keys {
		c.Keys = append(c.Keys, shownTrust{ID: sign.FormatID(k.ID), Name: k.Name})
	}
	v := config.Verify
	c.Policy = &shownPolicy{written, string(v.SignatureWith(len(keys))), string(v.FSVerity), v.MinimumSequence, v.Revoked, v.AllowInsecure}
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

// prettyName returns the name of the system in os-release.
func prettyName(osRelease string) string {
	for line := range strings.Lines(osRelease) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME="); ok {
			return strings.Trim(value, `"'`)
		}
	}
	return ""
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
			c.Signatures = append(c.Signatures, shownSigner{Problem: oneLine(err)})
			continue
		}
		shown := shownSigner{Matches: hex.EncodeToString(s.Program[:]) == c.Authenticode}
		if cert := s.Signer(); cert != nil {
			shown.Subject, shown.Issuer = cert.Subject.String(), cert.Issuer.String()
		}
		c.Signatures = append(c.Signatures, shown)
	}
}

// String is the summary for people: a line a fact, those that there are.
func (c *ukiContents) String() string {
	var b strings.Builder
	row := func(name, text string) {
		if text != "" {
			fmt.Fprintf(&b, "%-11s %s\n", name, printable(text))
		}
	}
	row("file", c.File)
	row("os", c.OS)
	row("kernel", c.Kernel)
	row("cmdline", c.Cmdline)
	row("image", strings.Join(c.Images, " "))
	for _, k := range c.Keys {
		row("key", k.ID+" "+k.Name)
	}
	if c.Policy != nil {
		row("policy", c.Policy.String())
	}
	row("digest", c.Authenticode)
	if c.Signature != nil {
		row("signed by", c.Signature.Signer)
		row("trusted", c.Signature.Trusted)
	}
	for _, s := range c.Signatures {
		row("signature", s.String())
	}
	for _, p := range c.Problems {
		row("problem", p)
	}
	for _, s := range c.Sections {
		fmt.Fprintf(&b, "%-11s %10d  sha256:%s\n", printable(s.Name), s.Size, s.SHA256)
		for line := range strings.Lines(s.Text) {
			fmt.Fprintf(&b, "            %s\n", printable(strings.TrimRight(line, "\n")))
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

// printable keeps hostile text from writing to the terminal what it likes.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}
