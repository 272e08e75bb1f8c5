package main

import (
	"fmt"
	"strings"

	"github.com/composefs-go/composefs/internal/check/ukicheck"
	"github.com/composefs-go/composefs/internal/printable"
)

// shownProfile is one of the boots that a UKI makes; an addon has one.
type shownProfile struct {
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
}

func showProfile(b *ukicheck.Boot) *shownProfile {
	p := &shownProfile{
		Number: b.Number, ID: b.ID, Title: b.Title, Kernel: b.Kernel, OS: b.OS, Cmdline: b.Cmdline,
		Images: b.Images, Warnings: b.Warnings,
	}
	for _, k := range b.Keys {
		p.Keys = append(p.Keys, shownTrust{ID: k.ID.String(), Name: k.Name})
	}
	if b.Policy != nil {
		p.Policy = showPolicy(b.Policy.Config, len(b.Keys), b.Policy.Written)
	}
	for _, err := range b.Problems {
		p.Problems = append(p.Problems, printable.Error(imageAdvice(err)))
	}
	return p
}

// name is how people know the profile.
func (p *shownProfile) name() string {
	return strings.TrimRight(fmt.Sprintf("@%d %s %s", p.Number, p.ID, p.Title), " ")
}

// rows writes what there is to say, a line a fact.
func (p *shownProfile) rows(b *strings.Builder) {
	row(b, "os", p.OS)
	row(b, "kernel", p.Kernel)
	row(b, "cmdline", p.Cmdline)
	row(b, "image", strings.Join(p.Images, " "))
	for _, k := range p.Keys {
		row(b, "key", k.ID+" "+k.Name)
	}
	if p.Policy != nil {
		row(b, "policy", p.Policy.String())
	}
}
