package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/bootcfg/uki"
	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/verity"
)

// stubs are where Debian and others put systemd-stub, by GOARCH.
var stubs = map[string]string{
	"amd64": "/usr/lib/systemd/boot/efi/linuxx64.efi.stub",
	"arm64": "/usr/lib/systemd/boot/efi/linuxaa64.efi.stub",
}

// maxPart bounds a kernel, an initrd or a UKI, in bytes.
const maxPart = 2 << 30

func newUKI(u *ui) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "uki COMMAND",
		Short: "assemble and inspect unified kernel images",
		Args:  usageArgs(cobra.NoArgs),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newUKIBuild(u), newUKIInspect(u))
	return cmd
}

type ukiOptions struct {
	stub, linux, initrd, osRelease, output string
	cmdline, image                         string
}

func newUKIBuild(u *ui) *cobra.Command {
	var o ukiOptions
	cmd := &cobra.Command{
		Use:   "build --linux FILE --initrd FILE --image DIGEST --output FILE",
		Short: "put kernel, initrd and command line into one EFI program",
		Long: `Build puts systemd-stub, a kernel, an initrd and a kernel command line into one EFI
program. Signed for Secure Boot, none of them can be changed any more: neither the
keys and the policy in the initrd, nor the digest on the command line.

--image DIGEST adds the argument that pins the image, composefs.digest=…; that of a
V2 image is composefs=DIGEST: say --image composefs=DIGEST.`,
		Example: `  mkimage uki build --linux ROOT/boot/vmlinuz-6.12 --initrd initrd.img \
      --os-release ROOT/usr/lib/os-release --cmdline "root=PARTLABEL=root ro quiet" \
      --image $DIGEST --output linux.efi`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.linux == "" || o.initrd == "" || o.output == "" {
				return usagef(cmd, "uki build needs --linux, --initrd and --output")
			}
			return o.run(cmd, u)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.stub, "stub", stubs[runtime.GOARCH], "systemd-stub `FILE`")
	f.StringVar(&o.linux, "linux", "", "kernel `FILE`")
	f.StringVar(&o.initrd, "initrd", "", "initrd `FILE`")
	f.StringVar(&o.cmdline, "cmdline", "", "kernel command line, without the composefs argument; ro is added unless it says ro or rw")
	f.StringVar(&o.image, "image", "", "pin the image with this `DIGEST`")
	f.StringVar(&o.osRelease, "os-release", "", "os-release `FILE`; boot menus show its PRETTY_NAME")
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
	if err != nil {
		return "", err
	}
	if len(c.Images) != 1 || len(c.Args) != 1 {
		return "", fmt.Errorf("want a digest, composefs.digest=… or composefs=…, found %q", image)
	}
	return c.Images[0].Argument, nil
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

// ukiReport is what uki build reports.
type ukiReport struct {
	File    string `json:"file"`
	Size    int    `json:"size"`
	Cmdline string `json:"cmdline"`
}

func (o *ukiOptions) run(cmd *cobra.Command, u *ui) error {
	line := withMode(strings.TrimSpace(o.cmdline))
	if o.image != "" {
		arg, err := pin(o.image)
		if err != nil {
			return usagef(cmd, "--image: %w", err)
		}
		line = strings.TrimSpace(line + " " + arg)
	}
	parts := uki.Options{Cmdline: line}
	for _, part := range []struct {
		flag, name string
		content    *[]byte
	}{
		{"--stub", o.stub, &parts.Stub}, {"--linux", o.linux, &parts.Linux},
		{"--initrd", o.initrd, &parts.Initrd}, {"--os-release", o.osRelease, &parts.OSRelease},
	} {
		if part.name == "" {
			continue
		}
		b, err := readSmall(part.name, maxPart)
		if errors.Is(err, fs.ErrNotExist) && part.flag == "--stub" {
			return fmt.Errorf("read systemd-stub: %w; install the package systemd-boot-efi, or name the file with --stub", err)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", part.flag, err)
		}
		*part.content = b
	}
	image, err := uki.Assemble(parts)
	if err != nil {
		return fmt.Errorf("assemble %s: %w", o.output, err)
	}
	if err := writeOutputBytes(o.output, image); err != nil {
		return err
	}
	return u.result(ukiReport{o.output, len(image), line}, fmt.Sprintf("%s: %s, command line: %s", o.output, size(int64(len(image))), line))
}

// sectionReport is one line of uki inspect.
type sectionReport struct {
	Name string `json:"name"`
	Size int    `json:"size"`
	Text string `json:"text,omitempty"`
}

// textSections are those whose content is worth printing.
var textSections = map[string]bool{".cmdline": true, ".osrel": true, ".uname": true, ".sbat": true}

func newUKIInspect(u *ui) *cobra.Command {
	return &cobra.Command{
		Use:   "inspect FILE",
		Short: "list the sections of a unified kernel image",
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			file, err := uki.Parse(f)
			if err != nil {
				return fmt.Errorf("%s: %w", filepath.Clean(args[0]), err)
			}
			var report []sectionReport
			var lines []string
			for _, s := range file.Sections {
				r := sectionReport{Name: s.Name, Size: len(s.Data)}
				line := fmt.Sprintf("%-10s %10d", s.Name, len(s.Data))
				if textSections[s.Name] {
					r.Text = strings.TrimRight(string(s.Data), "\x00\n")
					line += "  " + strings.ReplaceAll(r.Text, "\n", "\n"+strings.Repeat(" ", 23))
				}
				report, lines = append(report, r), append(lines, line)
			}
			return u.result(report, strings.Join(lines, "\n"))
		},
	}
}
