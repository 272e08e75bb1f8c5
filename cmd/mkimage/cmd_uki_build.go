package main

import (
	"fmt"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/bootcfg/uki"
	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/verity"
)

type ukiBuildOptions struct {
	stub, linux, microcode, osRelease, splash, deviceTree string
	sbat, pcrpKey, pcrSig, uname, output                  string
	initrds                                               []string
	cmdline, image                                        string
	secureBoot                                            secureBoot
}

const ukiBuildLong = `Build puts systemd-stub, a kernel, an initrd and a kernel command line into one EFI
program, with the sections that systemd's ukify would make of them, and signs it for
Secure Boot if it is given a key. Then none of them can be changed any more: neither
the keys and the policy in the initrd, nor the digest on the command line.

--image DIGEST adds the argument that pins the image, composefs.digest=…; that of a
V2 image is composefs=DIGEST: say --image composefs=DIGEST. --image composefs.ref=NAME
pins none: the machine boots what that ref names, if it is sealed by one of the keys
in the initrd, so that next week's image needs no new UKI.`

func newUKIBuild(u *ui) *cobra.Command {
	var o ukiBuildOptions
	cmd := &cobra.Command{
		Use:   "build --linux FILE --initrd FILE --image DIGEST --output FILE",
		Short: "put kernel, initrd and command line into one EFI program, and sign it",
		Long:  ukiBuildLong,
		Example: `  mkimage uki build --linux ROOT/boot/vmlinuz-6.12 --initrd initrd.img \
      --os-release ROOT/usr/lib/os-release --cmdline "root=PARTLABEL=root ro quiet" \
      --image $DIGEST --sb-key db.key --sb-cert db.crt --output linux.efi`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.linux == "" || len(o.initrds) == 0 || o.output == "" {
				return usagef(cmd, "uki build needs --linux, --initrd and --output")
			}
			return o.run(cmd, u)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.stub, "stub", stub("linux", runtime.GOARCH), "systemd-stub `FILE`")
	f.StringVar(&o.linux, "linux", "", "kernel `FILE`")
	f.StringArrayVar(&o.initrds, "initrd", nil, "initrd `FILE` (repeatable: they are unpacked one after another)")
	f.StringVar(&o.microcode, "microcode", "", "initrd `FILE` with microcode of processors")
	f.StringVar(&o.cmdline, "cmdline", "", "kernel command line, without the composefs argument; ro is added unless it says ro or rw")
	f.StringVar(&o.image, "image", "", "pin the image with this `DIGEST`")
	f.StringVar(&o.osRelease, "os-release", "", "os-release `FILE`; boot menus show its PRETTY_NAME")
	f.StringVar(&o.uname, "uname", "", "kernel `VERSION` (default: read from the kernel)")
	f.StringVar(&o.splash, "splash", "", "picture `FILE` (BMP) to show")
	f.StringVar(&o.deviceTree, "devicetree", "", "device tree `FILE`")
	f.StringVar(&o.sbat, "sbat", "", "`FILE` of SBAT lines to add to those of stub and kernel (default: that of all UKIs)")
	f.StringVar(&o.pcrpKey, "pcrpkey", "", "public key `FILE` (PEM) of signed PCR values, for systemd")
	f.StringVar(&o.pcrSig, "pcrsig", "", "signed PCR values, a JSON `FILE` from systemd-measure")
	o.secureBoot.flags(cmd)
	f.StringVarP(&o.output, "output", "o", "", "write the UKI to `FILE`")
	return cmd
}

// pin returns the kernel argument that pins an image, given as a digest or as that
// argument already.
func pin(image string) (string, error) {
	if !strings.Contains(image, "=") {
		d, err := verity.ParseAnyHex(image)
		return karg(d, erofs.V1), err
	}
	c, err := bootcfg.ParseCmdline(image)
	switch {
	case err != nil:
		return "", err
	case len(c.Args) == 1 && len(c.Images) == 1:
		return c.Images[0].Argument, nil
	case len(c.Args) == 1 && c.Ref != "":
		return "composefs.ref=" + c.Ref, nil
	}
	return "", fmt.Errorf("want a digest, composefs.digest=…, composefs=… or composefs.ref=…, found %q", image)
}

// withMode adds "ro" to a command line that has neither that nor "rw". Without
// it systemd takes it that / shall be writable, fails to make the image so, and
// counts that as a failed unit.
func withMode(line string) string {
	args, _ := bootcfg.SplitCmdline(line)
	for _, a := range args {
		if a.Key == "ro" || a.Key == "rw" {
			return line
		}
	}
	return strings.TrimSpace("ro " + line)
}

func (o *ukiBuildOptions) run(cmd *cobra.Command, u *ui) error {
	if err := checkOutputs(o.output); err != nil {
		return err
	}
	signer, err := o.secureBoot.open(cmd)
	if err != nil {
		return err
	}
	parts, err := o.parts(cmd)
	if err != nil {
		return err
	}
	program, err := uki.Assemble(parts)
	if err != nil {
		return fmt.Errorf("assemble %s: %w", o.output, err)
	}
	return signer.save(u, program, ukiReport{File: o.output, Cmdline: parts.Cmdline})
}

// parts reads all that goes into the UKI.
func (o *ukiBuildOptions) parts(cmd *cobra.Command) (uki.Options, error) {
	parts := uki.Options{Cmdline: withMode(strings.TrimSpace(o.cmdline)), Uname: o.uname}
	if o.image != "" {
		arg, err := pin(o.image)
		if err != nil {
			return parts, usagef(cmd, "--image: %w", err)
		}
		parts.Cmdline = strings.TrimSpace(parts.Cmdline + " " + arg)
	}
	initrds := make([][]byte, len(o.initrds))
	files := []part{
		{"--stub", o.stub, &parts.Stub}, {"--linux", o.linux, &parts.Linux}, {"--microcode", o.microcode, &parts.Microcode},
		{"--os-release", o.osRelease, &parts.OSRelease}, {"--splash", o.splash, &parts.Splash}, {"--devicetree", o.deviceTree, &parts.DeviceTree},
		{"--sbat", o.sbat, &parts.SBAT}, {"--pcrpkey", o.pcrpKey, &parts.PCRPKey}, {"--pcrsig", o.pcrSig, &parts.PCRSig},
	}
	for i, name := range o.initrds {
		files = append(files, part{"--initrd", name, &initrds[i]})
	}
	if err := readParts(files); err != nil {
		return parts, err
	}
	parts.Initrd = uki.JoinInitrds(initrds...)
	return parts, nil
}
