package uki

import (
	"bytes"
	"crypto"
	_ "crypto/sha1" // a bank that TPMs still have
	"crypto/sha256"
	_ "crypto/sha512" // two banks
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// PCR is the register of the TPM into which systemd-stub measures the sections
// that it uses, and systemd the phases of the boot.
const PCR = 11

// A Bank is a set of the TPM's registers with one hash algorithm.
type Bank struct {
	Name string // as in "sha256"
	Hash crypto.Hash
	tpm  uint16 // TPM_ALG_…
}

// Banks are the banks that systemd knows, in its order.
var Banks = []Bank{
	{"sha1", crypto.SHA1, 0x0004},
	{"sha256", crypto.SHA256, 0x000b},
	{"sha384", crypto.SHA384, 0x000c},
	{"sha512", crypto.SHA512, 0x000d},
}

// Phases are the words that systemd extends PCR 11 by, from the initrd to shutdown.
var phases = []string{"enter-initrd", "leave-initrd", "sysinit", "ready", "shutdown", "final"}

// DefaultPhases are the phase paths that are signed by default: every state of PCR 11
// while the machine boots and runs.
var DefaultPhases = []string{
	"enter-initrd", "enter-initrd:leave-initrd", "enter-initrd:leave-initrd:sysinit",
	"enter-initrd:leave-initrd:sysinit:ready",
}

// ParsePhases reads a list of phase paths, separated by commas or white space.
func ParsePhases(text string) ([]string, error) {
	paths := strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' })
	if len(paths) == 0 {
		return nil, fmt.Errorf("%w: want a phase path like enter-initrd:leave-initrd, found none", ErrOptions)
	}
	for _, path := range paths {
		for word := range strings.SplitSeq(path, ":") {
			if !slices.Contains(phases, word) {
				return nil, fmt.Errorf("%w: want phases of the boot out of %s, found %.80q", ErrOptions, strings.Join(phases, ", "), word)
			}
		}
	}
	return paths, nil
}

// measuredOrder returns the sections that the stub measures, in its order. Of
// several device trees for automatic selection all are there, and one is measured.
func measuredOrder(sections []Section) (out []Section) {
	for _, name := range unified {
		for _, s := range sections {
			if s.Name == name && name != ".pcrsig" && len(s.Data) > 0 {
				out = append(out, s)
				if name != sectionDTBAuto {
					break
				}
			}
		}
	}
	return out
}

// Measured returns the sections of the profile that the stub measures, in the order
// in which it does so.
func (p Profile) Measured() []Section { return measuredOrder(p.Sections) }

// alternatives returns what may be measured: for each device tree of several the
// sections with it alone.
func alternatives(measured []Section) (out [][]Section) {
	auto := func(s Section) bool { return s.Name == sectionDTBAuto }
	for i, s := range measured {
		if auto(s) {
			without := slices.DeleteFunc(slices.Clone(measured), auto)
			at := slices.IndexFunc(measured, auto)
			out = append(out, slices.Insert(without, at, measured[i]))
		}
	}
	if out == nil {
		return [][]Section{measured}
	}
	return out
}

// Extend returns a register's value after it is extended by the hash of data.
func (b Bank) Extend(register, data []byte) []byte {
	sum := b.Hash.New()
	sum.Write(data)
	next := b.Hash.New()
	next.Write(register)
	next.Write(sum.Sum(nil))
	return next.Sum(nil)
}

// MeasureSections returns the value of PCR 11 after the stub has measured the sections in
// this order; see Profile.Measured.
func MeasureSections(b Bank, measured []Section) []byte {
	register := make([]byte, b.Hash.Size())
	for _, s := range measured {
		register = b.Extend(register, []byte(s.Name+"\x00"))
		register = b.Extend(register, s.Data)
	}
	return register
}

// MeasurePhases returns the register's value after it is extended by each word of a phase
// path, as in "enter-initrd:leave-initrd".
func MeasurePhases(b Bank, register []byte, path string) []byte {
	for word := range strings.SplitSeq(path, ":") {
		if word != "" {
			register = b.Extend(register, []byte(word))
		}
	}
	return register
}

// PolicyDigest returns the digest of the TPM policy that requires this value in PCR 11 of the
// bank.
//
// Format: TPM 2.0 Library, part 3, TPM2_PolicyPCR.
func PolicyDigest(b Bank, register []byte) [sha256.Size]byte {
	value := sha256.Sum256(register)
	var command bytes.Buffer
	command.Write(make([]byte, sha256.Size)) // of a policy without a condition yet
	be := binary.BigEndian
	fields := be.AppendUint32(nil, 0x0000017f) // TPM_CC_PolicyPCR
	fields = be.AppendUint32(fields, 1)        // one bank
	fields = be.AppendUint16(fields, b.tpm)
	fields = append(fields, 3, 0, 1<<(PCR-8), 0) // a bit for each of 24 registers
	command.Write(fields)
	command.Write(value[:])
	return sha256.Sum256(command.Bytes())
}
