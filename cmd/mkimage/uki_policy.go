package main

import (
	"fmt"
	"strings"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/verity"
)

// shownPolicy is the part of a policy that decides what is booted.
type shownPolicy struct {
	Written         bool            `json:"written"` // it is a file in the initrd, not what holds without one
	Signature       string          `json:"signature"`
	FSVerity        string          `json:"fs-verity"`
	MinimumSequence uint64          `json:"minimum-sequence"`
	Revoked         []verity.Digest `json:"revoked,omitempty"`
	OSIDs           []string        `json:"os-id,omitempty"`
	Root            string          `json:"root,omitempty"` // as in the policy
	Etc             string          `json:"etc"`
	Var             string          `json:"var"`
	Extensions      string          `json:"extensions"`
	AllowInsecure   bool            `json:"allow-insecure"`
	Argument        string          `json:"argument"`
	Shell           bool            `json:"shell"` // there may be one in the initramfs
}

func (p shownPolicy) String() string {
	s := fmt.Sprintf("signature = %s, fs-verity = %s, minimum-sequence = %d", p.Signature, p.FSVerity, p.MinimumSequence)
	if len(p.Revoked) > 0 {
		s += fmt.Sprintf(", %d revoked", len(p.Revoked))
	}
	if len(p.OSIDs) > 0 {
		s += ", os-id = " + strings.Join(p.OSIDs, " ")
	}
	if p.Root != "" {
		s += ", root = " + p.Root
	}
	s += fmt.Sprintf(", etc = %s, var = %s, extensions = %s", p.Etc, p.Var, p.Extensions)
	if p.AllowInsecure {
		s += ", allow-insecure"
	}
	if p.Argument == string(bootcfg.Optional) {
		s += ", argument = optional: without an image nothing is verified"
	}
	if p.Shell {
		s += ", a shell is allowed"
	}
	if !p.Written {
		s += " (what holds without a policy)"
	}
	return s
}

// showPolicy shows a policy as it holds with so many keys.
func showPolicy(c bootcfg.Config, keys int, written bool) *shownPolicy {
	v := c.Verify
	return &shownPolicy{
		Written: written, Signature: string(v.SignatureWith(keys)), FSVerity: string(v.FSVerity), MinimumSequence: v.MinimumSequence,
		Revoked: v.Revoked, OSIDs: v.OSIDs, Root: string(c.Root.Transient), Etc: string(c.Etc), Var: string(c.Var), Extensions: string(c.Extensions()),
		AllowInsecure: v.AllowInsecure, Argument: string(v.Argument), Shell: c.AllowsShell(keys),
	}
}
