package main

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/bootcfg/uki"
	"github.com/composefs-go/composefs/verity"
)

// registerOptions are the flags about the TPM's register.
type registerOptions struct {
	pcr          bool
	policy, root string
}

func (o *registerOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&o.pcr, "pcr", false, "predict the TPM's register after a boot of the image")
	f.StringVar(&o.policy, "policy", "", "with --pcr: `FILE` with the policy, in the format of setup-root-conf.toml (default: PCR 15, fs-verity required)")
	f.StringVar(&o.root, "root-uuid", "", "with --pcr: the `UUID` of the root partition's file system")
}

// A register is what measure --pcr --json prints of a bank.
type register struct {
	PCR   uint32 `json:"pcr"`
	Bank  string `json:"bank"`
	Value string `json:"value"`
}

func (o *registerOptions) run(cmd *cobra.Command, u *ui, look *lookOptions, alg verity.Algorithm, args []string) error {
	if len(args) != 1 {
		return usagef(cmd, "--pcr is about one image, found %d", len(args))
	}
	root, err := parseRootUUID(o.root)
	if err != nil {
		return usagef(cmd, "--root-uuid: %w", err)
	}
	config := bootcfg.DefaultConfig()
	if o.policy != "" {
		text, err := readSmall(o.policy, bootcfg.MaxConfig)
		if err != nil {
			return err
		}
		if config, err = bootcfg.ParseConfig(text); err != nil {
			return fmt.Errorf("%s: %w", o.policy, err)
		}
		if config.Measure.TPM == bootcfg.Off {
			return fmt.Errorf("%s: nothing is measured at a boot with this policy: set tpm = \"require\" under [measure]", o.policy)
		}
	}
	image, err := look.measureOne(args[0], alg)
	if err != nil {
		return err
	}
	all := registers(config.Measure.PCR, bootcfg.Events(config.Verify.FSVerity, image, root))
	var lines []string
	for _, r := range all {
		lines = append(lines, fmt.Sprintf("%d:%s=%s", r.PCR, r.Bank, r.Value))
	}
	return u.result(all, strings.Join(lines, "\n"))
}

// registers returns what a register that was zero holds after the events, in each bank.
func registers(pcr uint32, events []string) []register {
	var all []register
	for _, bank := range uki.Banks {
		value := make([]byte, bank.Hash.Size())
		for _, event := range events {
			value = bank.Extend(value, []byte(event))
		}
		all = append(all, register{pcr, bank.Name, hex.EncodeToString(value)})
	}
	return all
}

// parseRootUUID turns what lsblk prints into what the boot measures: hex of 1 to 16 bytes.
func parseRootUUID(text string) (string, error) {
	if text == "unknown" {
		return text, nil
	}
	digits := strings.ToLower(strings.ReplaceAll(text, "-", ""))
	if b, err := hex.DecodeString(digits); err != nil || len(b) == 0 || len(b) > 16 {
		return "", fmt.Errorf("want what `lsblk -no UUID` prints of the root partition, or unknown, found %q", text)
	}
	return digits, nil
}
