package uki

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// A PCRKey signs policies: the TPM releases what is bound to its public key if PCR
// 11 has a value that it signed.
type PCRKey struct {
	Key    crypto.Signer // RSA
	Phases []string      // paths; none: DefaultPhases
}

// pcrSignature is a policy that was signed.
type pcrSignature struct {
	key    string // SHA-256 of the public key, hex
	policy string // hex
	sig    string // base64
}

// SignPCR returns the content of .pcrsig for what is measured: in each of the banks,
// by each of the keys, for each phase path. It is the text that ukify makes with
// systemd-measure. The same input makes the same bytes.
func SignPCR(measured []Section, banks []Bank, keys []PCRKey) ([]byte, error) {
	if len(banks) == 0 {
		banks = Banks
	}
	signed := make([][]pcrSignature, len(banks))
	for _, sections := range alternatives(measured) {
		for _, k := range keys {
			fingerprint, err := k.fingerprint()
			if err != nil {
				return nil, err
			}
			for i, bank := range banks {
				register := MeasureSections(bank, sections)
				for _, path := range k.phases() {
					policy := PolicyDigest(bank, MeasurePhases(bank, register, path))
					sig, err := k.sign(bank, policy)
					if err != nil {
						return nil, err
					}
					s := pcrSignature{fingerprint, hex.EncodeToString(policy[:]), sig}
					if !slices.Contains(signed[i], s) {
						signed[i] = append(signed[i], s)
					}
				}
			}
		}
	}
	return formatPCR(banks, signed), nil
}

// phases returns the paths as systemd-measure takes them: sorted, none twice.
func (k PCRKey) phases() []string {
	if len(k.Phases) == 0 {
		return DefaultPhases
	}
	return slices.Compact(slices.Sorted(slices.Values(k.Phases)))
}

func (k PCRKey) fingerprint() (string, error) {
	public, ok := k.Key.Public().(*rsa.PublicKey)
	if !ok {
		return "", fmt.Errorf("%w: want an RSA key to sign PCR policies, found %T", ErrOptions, k.Key.Public())
	}
	sum := sha256.Sum256(x509.MarshalPKCS1PublicKey(public))
	return hex.EncodeToString(sum[:]), nil
}

// sign signs the policy with the hash of its bank, as systemd does.
func (k PCRKey) sign(b Bank, policy [sha256.Size]byte) (string, error) {
	h := b.Hash.New()
	h.Write(policy[:])
	raw, err := k.Key.Sign(rand.Reader, h.Sum(nil), b.Hash)
	return base64.StdEncoding.EncodeToString(raw), err
}

// formatPCR writes JSON with the spaces that ukify's has.
func formatPCR(banks []Bank, signed [][]pcrSignature) []byte {
	var rows []string
	for i, bank := range banks {
		var list []string
		for _, s := range signed[i] {
			list = append(list, fmt.Sprintf(`{"pcrs": [%d], "pkfp": "%s", "pol": "%s", "sig": "%s"}`, PCR, s.key, s.policy, s.sig))
		}
		rows = append(rows, fmt.Sprintf(`"%s": [%s]`, bank.Name, strings.Join(list, ", ")))
	}
	return []byte("{" + strings.Join(rows, ", ") + "}")
}
