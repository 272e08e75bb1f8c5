package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/bootcfg/uki"
	"github.com/composefs-go/composefs/internal/artifact/ukiparts"
	"github.com/composefs-go/composefs/sign/secureboot"
)

// pcrOptions are what build takes to sign the values of PCR 11.
type pcrOptions struct {
	keys, publics, phases []string
	banks                 string
}

func (o *pcrOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&o.keys, "pcr-key", nil, "sign PCR 11 with the RSA private key in `FILE` (PEM or DER; repeatable)")
	f.StringArrayVar(&o.publics, "pcr-public-key", nil, "its public key, `FILE` (PEM; once for each --pcr-key; default: made from that)")
	f.StringArrayVar(&o.phases, "phases", nil, "sign for these `PATHS` of boot phases, as in enter-initrd:leave-initrd,… (once for each --pcr-key; default: all until shutdown)")
	f.StringVar(&o.banks, "pcr-banks", "", "sign for the TPM's `BANKS`, as in sha256,sha384 (default: sha1, sha256, sha384 and sha512)")
}

// apply makes the UKI have .pcrsig and .pcrpkey.
func (o *pcrOptions) apply(cmd *cobra.Command, parts *uki.Options) error {
	if len(o.keys) == 0 {
		if len(o.publics)+len(o.phases) > 0 || o.banks != "" {
			return usagef(cmd, "--pcr-public-key, --phases and --pcr-banks want a --pcr-key")
		}
		return nil
	}
	for flag, list := range map[string][]string{"--pcr-public-key": o.publics, "--phases": o.phases} {
		if len(list) != 0 && len(list) != len(o.keys) {
			return usagef(cmd, "want %s as often as --pcr-key, which is there %d times, found it %d times", flag, len(o.keys), len(list))
		}
	}
	if len(parts.PCRSig) > 0 {
		return usagef(cmd, "want --pcr-key or --pcrsig, found both")
	}
	banks, err := ukiparts.ParseBanks(o.banks)
	if err != nil {
		return usagef(cmd, "--pcr-banks: %w", err)
	}
	keys, texts, err := o.readKeys(cmd)
	if err != nil {
		return err
	}
	if len(parts.PCRPKey) == 0 && len(texts) == 1 {
		parts.PCRPKey = texts[0]
	}
	parts.SignPCR = func(measured []uki.Section) ([]byte, error) { return uki.SignPCR(measured, banks, keys) }
	return nil
}

// readKeys returns the keys, and their public halves as PEM.
func (o *pcrOptions) readKeys(cmd *cobra.Command) (keys []uki.PCRKey, publics [][]byte, err error) {
	for i, name := range o.keys {
		text, err := readSmall(name, secureboot.MaxFile)
		if err != nil {
			return nil, nil, fmt.Errorf("--pcr-key: %w", err)
		}
		key, err := secureboot.ParseKey(text)
		if err != nil {
			return nil, nil, fmt.Errorf("--pcr-key: read %s: %w", name, err)
		}
		k := uki.PCRKey{Key: key}
		if len(o.phases) > 0 {
			if k.Phases, err = uki.ParsePhases(o.phases[i]); err != nil {
				return nil, nil, usagef(cmd, "--phases: %w", err)
			}
		}
		public, err := ukiparts.PublicKey(key)
		if err != nil {
			return nil, nil, fmt.Errorf("--pcr-key: %s: %w", name, err)
		}
		if len(o.publics) > 0 {
			if public, err = readSmall(o.publics[i], secureboot.MaxFile); err != nil {
				return nil, nil, fmt.Errorf("--pcr-public-key: %w", err)
			}
			err := ukiparts.CheckPublicKey(public, key)
			if errors.Is(err, ukiparts.ErrOtherKey) {
				err = errors.New("it is not the public half of the --pcr-key in the same place")
			}
			if err != nil {
				return nil, nil, fmt.Errorf("--pcr-public-key: %s: %w", o.publics[i], err)
			}
		}
		keys, publics = append(keys, k), append(publics, public)
	}
	return keys, publics, nil
}
