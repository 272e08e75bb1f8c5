package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/bootcfg/uki"
	"github.com/composefs-go/composefs/internal/artifact/ukiparts"
	"github.com/composefs-go/composefs/internal/check/ukicheck"
)

type ukiBuildOptions struct {
	stub, linux, microcode, osRelease, splash string
	hwids, sbat, pcrpKey, pcrSig              string
	uname, profile, output                    string
	initrds, deviceTrees, autoTrees, joined   []string
	cmdline, image                            string
	pcr                                       pcrOptions
	secureBoot                                secureBoot
}

const ukiBuildLong = `Build combines systemd-stub, a kernel, an initrd and a kernel command line into one EFI
program, with the same sections as systemd's ukify, and signs it for Secure Boot if it is
given a key. The signature rules out changes to any of them: to the keys and the policy
in the initrd as well as to the digest on the command line.

--image DIGEST puts the argument that pins the image, composefs.digest=…, at the start of
the command line; for a V2 image, whose argument is composefs=DIGEST, use
--image composefs=DIGEST. --image composefs.ref=NAME pins no image: the machine boots the
image that the ref points to, if it is sealed by one of the keys in the initrd, so next
week's image needs no new UKI. --image none makes a UKI that names no image; it boots
nothing, unless the policy in its initrd has argument = "optional".

A UKI can have several profiles, each with a command line or other parts of its own.
--profile makes a file with the parts of a further profile, and --join puts such files
into a UKI; a profile takes whatever it lacks from the UKI:

  mkimage uki build --profile 'ID=rescue' --image $DIGEST \
      --cmdline "root=PARTLABEL=root systemd.unit=rescue.target" --output rescue.profile
  mkimage uki build … --image $DIGEST --join rescue.profile --output linux.efi

Every profile must name the same image, and have an ID of its own. None may have rdinit=,
with which the kernel starts a program other than composefs-setup-root.

--microcode is unpacked before the initrd, so it may contain only files below
kernel/x86/microcode, not compressed.

--pcr-key signs the expected values of the TPM's PCR 11 (.pcrsig). A secret that is bound
to this key is then released to every UKI that was built with it, and to no other.`

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
			needed := []string{"linux", "initrd", "output"}
			if o.onlyProfile() {
				needed = []string{"output"}
			}
			if err := require(cmd, needed...); err != nil {
				return err
			}
			return o.run(cmd, u)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.stub, "stub", "", "systemd-stub `FILE` (default: the one in the package systemd-boot-efi for the kernel's architecture)")
	f.StringVar(&o.linux, "linux", "", "kernel `FILE`")
	f.StringArrayVar(&o.initrds, "initrd", nil, "initrd `FILE` (repeatable: they are unpacked one after another)")
	f.StringVar(&o.microcode, "microcode", "", "initrd `FILE` with processor microcode")
	f.StringVar(&o.cmdline, "cmdline", "", "kernel command line: `TEXT` or @FILE, without the composefs argument; ro is added unless it says ro or rw")
	f.StringVar(&o.image, "image", "", "pin the image with this `DIGEST`, or none; not needed if --cmdline names an image")
	f.StringVar(&o.osRelease, "os-release", "", "os-release `FILE`; boot menus show its PRETTY_NAME")
	f.StringVar(&o.uname, "uname", "", "kernel `VERSION` (default: read from the kernel)")
	f.StringVar(&o.splash, "splash", "", "picture `FILE` (BMP) to show")
	f.StringArrayVar(&o.deviceTrees, "devicetree", nil, "device tree `FILE` for every machine")
	f.StringArrayVar(&o.autoTrees, "devicetree-auto", nil, "device tree `FILE` for the machines that it is compatible with (repeatable)")
	f.StringVar(&o.hwids, "hwids", "", "`DIR` of *.json files that say which machine needs which --devicetree-auto")
	f.StringVar(&o.sbat, "sbat", "", "`FILE` with SBAT lines to add to the ones of stub and kernel (default: the usual line for UKIs)")
	f.StringVar(&o.profile, "profile", "", "without --join, make a profile; `TEXT` or @FILE with ID= and TITLE=")
	f.StringArrayVar(&o.joined, "join", nil, "add the profile in `FILE` (repeatable)")
	o.pcr.flags(cmd)
	f.StringVar(&o.pcrpKey, "pcrpkey", "", "public key `FILE` (PEM) of signed PCR values, for systemd (default: the one of --pcr-key)")
	f.StringVar(&o.pcrSig, "pcrsig", "", "signed PCR values, a JSON `FILE` from systemd-measure")
	o.secureBoot.flags(cmd)
	f.StringVarP(&o.output, "output", "o", "", "write the UKI to `FILE`")
	return cmd
}

// onlyProfile reports whether the output is a profile that is to be joined to a UKI.
func (o *ukiBuildOptions) onlyProfile() bool { return o.profile != "" && len(o.joined) == 0 }

// noImage asks for a UKI that names no image.
const noImage = "none"

// imageArgument returns the kernel argument that names an image, and what to say for a
// name that isn't a digest.
func imageArgument(image string) (string, error) {
	if trimmed := strings.TrimSpace(image); trimmed != image && trimmed != "" {
		return "", fmt.Errorf("want no blanks around %s, found %q", trimmed, image)
	}
	argument, err := ukiparts.ImageArgument(image)
	var name *ukiparts.NoDigestError
	if errors.As(err, &name) {
		err = fmt.Errorf("%w: for the ref of that name say --image composefs.ref=%s, which needs a sealed image", err, name.Name)
	}
	return argument, err
}

func (o *ukiBuildOptions) run(cmd *cobra.Command, u *ui) error {
	if err := checkOutputs(o.output); err != nil {
		return err
	}
	signer, err := o.secureBoot.open(cmd)
	if err != nil {
		return err
	}
	parts, meant, err := o.parts(cmd)
	if err != nil {
		return err
	}
	assemble := uki.Assemble
	if o.onlyProfile() {
		assemble = uki.AssembleProfile
	}
	program, err := assemble(parts)
	if err != nil {
		return fmt.Errorf("assemble %s: %w", o.output, err)
	}
	if err := o.checkMeant(u, program, meant); err != nil {
		return fmt.Errorf("assemble %s: %w", o.output, err)
	}
	if o.onlyProfile() {
		if signer != nil {
			return usagef(cmd, "a profile isn't signed: sign the UKI that it is joined to")
		}
		u.remark("%s is a profile and boots nothing by itself; add it to a UKI with: mkimage uki build --join %s", o.output, o.output)
	}
	return signer.save(u, program, ukiReport{File: o.output, Cmdline: parts.Cmdline})
}

// checkMeant reads the program as the boot will, and refuses one that doesn't name,
// in each of its profiles, the image that was meant.
func (o *ukiBuildOptions) checkMeant(u *ui, program []byte, meant string) error {
	p, err := ukicheck.Read(program)
	if err == nil {
		err = p.CheckBuilt(meant, o.onlyProfile())
	}
	var miss *ukicheck.MissError
	if errors.As(err, &miss) && miss.Want == "" {
		err = fmt.Errorf("%w: give it to both with --image", err)
	}
	if err != nil {
		return err
	}
	if meant == "" && !o.onlyProfile() {
		u.remark("the command line names no image, and the initrd will refuse to boot without one, unless its policy has argument = \"optional\"")
	}
	return nil
}

// cmdlineAdvice says what to leave out of a command line.
func cmdlineAdvice(err error) error {
	switch {
	case errors.Is(err, bootcfg.ErrRepeated):
		return fmt.Errorf("%w: leave only one, or give several composefs.digest=", err)
	case errors.Is(err, bootcfg.ErrConflict):
		return fmt.Errorf("%w: leave one of them out", err)
	}
	return err
}

// line returns the command line, and the image that it shall name.
func (o *ukiBuildOptions) line(cmd *cobra.Command) (line, meant string, err error) {
	if line, err = textOrFile("--cmdline", o.cmdline); err != nil {
		return "", "", err
	}
	line = strings.TrimSpace(line)
	c, err := bootcfg.ParseCmdline(line)
	switch {
	case err != nil:
		return "", "", usagef(cmd, "--cmdline: %w", cmdlineAdvice(err))
	case bootcfg.OpenQuote(line):
		return "", "", usagef(cmd, "--cmdline: a double quote isn't closed, so that what addons append would be part of that argument: %s", line)
	case c.CheckInit() != nil:
		return "", "", usagef(cmd, "--cmdline: %w", c.CheckInit())
	case c.Asked() && o.image != "":
		return "", "", usagef(cmd, "--cmdline names an image already, %s; leave that out, or --image", strings.Join(c.ImageArguments(), " "))
	}
	if line != "" || o.image != "" || !o.onlyProfile() {
		line = ukiparts.WithMode(line)
	}
	switch {
	case o.image == noImage, o.image == "" && (c.Asked() || o.onlyProfile()):
		return line, strings.Join(c.ImageArguments(), " "), nil
	case o.image == "":
		return "", "", usagef(cmd, "uki build needs --image DIGEST; --image %s makes a UKI that names no image, which boots nothing unless its policy lets it", noImage)
	}
	if meant, err = imageArgument(o.image); err != nil {
		return "", "", usagef(cmd, "--image: %w", err)
	}
	// In front: nothing that follows can take it away, and a line that is too long
	// is cut at its end.
	return strings.TrimSpace(meant + " " + line), meant, nil
}
