package main

import (
	"fmt"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/bootcfg/uki"
	"github.com/composefs-go/composefs/internal/artifact/ukiparts"
)

type ukiAddonOptions struct {
	stub, cmdline, deviceTree, initrd, microcode, uname, sbat, output string
	uki                                                               []string
	secureBoot                                                        secureBoot
}

const ukiAddonLong = `Addon makes a small EFI program that adds kernel arguments, a device tree or an initrd to
a UKI without changing it. For linux.efi, systemd-stub (254 or newer) uses the addons
*.addon.efi in the directory linux.efi.extra.d beside it; the ones in loader/addons apply
to all UKIs.

Under Secure Boot an addon counts only if it is signed by a key that firmware trusts.
The signature covers what the addon does to every UKI, so sign as little as possible.
Pinning another image, and starting another program in the initrd (rdinit=), are refused
here; but arguments like init= or systemd.unit= can give a root shell, and an initrd
replaces files in the UKI's, such as keys and policy. mkimage uki verify warns of both.

The kernel truncates a command line that is too long. With --uki the addon is refused if
it makes that UKI's command line too long; mkimage doctor checks all addons on a disk.`

func newUKIAddon(u *ui) *cobra.Command {
	var o ukiAddonOptions
	cmd := &cobra.Command{
		Use:   "addon --cmdline TEXT --output FILE",
		Short: "make a signed addon: kernel arguments for a UKI that stays as it is",
		Long:  ukiAddonLong,
		Example: `  mkimage uki addon --cmdline "console=ttyS0" --sb-key db.key --sb-cert db.crt \
      --output serial.addon.efi`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.output == "" {
				return usagef(cmd, "uki addon needs --output")
			}
			return o.run(cmd, u)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.stub, "stub", ukiparts.StubPath(uki.StubAddon, runtime.GOARCH), "systemd's addon stub `FILE`")
	f.StringVar(&o.cmdline, "cmdline", "", "kernel arguments to add after the UKI's: `TEXT` or @FILE")
	f.StringArrayVar(&o.uki, "uki", nil, "check that the addon fits the UKI in `FILE` (repeatable)")
	f.StringVar(&o.deviceTree, "devicetree", "", "device tree `FILE`")
	f.StringVar(&o.initrd, "initrd", "", "initrd `FILE` to unpack after the UKI's")
	f.StringVar(&o.microcode, "microcode", "", "initrd `FILE` with processor microcode")
	f.StringVar(&o.uname, "uname", "", "only for the kernel of this `VERSION`")
	f.StringVar(&o.sbat, "sbat", "", "`FILE` with SBAT lines (default: the usual line for addons)")
	o.secureBoot.flags(cmd)
	f.StringVarP(&o.output, "output", "o", "", "write the addon to `FILE`, as in NAME.addon.efi")
	return cmd
}

func (o *ukiAddonOptions) run(cmd *cobra.Command, u *ui) error {
	if err := checkOutputs(o.output); err != nil {
		return err
	}
	signer, err := o.secureBoot.open(cmd)
	if err != nil {
		return err
	}
	line, err := textOrFile("--cmdline", o.cmdline)
	if err != nil {
		return err
	}
	line = strings.TrimSpace(line)
	if c, err := bootcfg.ParseCmdline(line); err != nil || c.Asked() {
		return usagef(cmd, "--cmdline: an addon can't say which image is booted; that stands in the UKI, where it was signed with the keys and the policy")
	}
	if bootcfg.OpenQuote(line) {
		return usagef(cmd, "--cmdline: a double quote isn't closed, so that what other addons append would be part of that argument: %s", line)
	}
	if c, err := bootcfg.ParseCmdline(line); err == nil && c.CheckInit() != nil {
		return usagef(cmd, "--cmdline: %w", c.CheckInit())
	}
	parts := uki.Options{Cmdline: line, Uname: o.uname}
	files := []part{
		{"--devicetree", o.deviceTree, &parts.DeviceTree}, {"--initrd", o.initrd, &parts.Initrd},
		{"--microcode", o.microcode, &parts.Microcode}, {"--sbat", o.sbat, &parts.SBAT},
	}
	if err := readParts(files); err != nil {
		return err
	}
	if err := checkParts(files); err != nil {
		return err
	}
	if parts.Stub, err = openStub(o.stub, uki.StubAddon); err != nil {
		return err
	}
	if err := checkStub(o.stub, parts.Stub, uki.StubAddon); err != nil {
		return err
	}
	program, err := uki.AssembleAddon(parts)
	if err != nil {
		return fmt.Errorf("assemble %s: %w", o.output, err)
	}
	for _, name := range o.uki {
		base, err := openUKI(name)
		if err == nil {
			err = base.CheckAddon(program, line)
		}
		if err != nil {
			return fmt.Errorf("assemble %s: --uki %s: %w", o.output, name, err)
		}
	}
	return signer.save(u, program, ukiReport{File: o.output, Cmdline: parts.Cmdline})
}
