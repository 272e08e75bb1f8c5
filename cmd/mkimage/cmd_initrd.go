package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/internal/artifact/initrd"
	"github.com/composefs-go/composefs/internal/filekind"
	"github.com/composefs-go/composefs/internal/osfile"
)

// maxProgram bounds composefs-setup-root, in bytes; it has less than 3 MiB.
const maxProgram = 64 << 20

type initrdOptions struct {
	setupRoot, modules, policy, output string
	keys, extra                        []string
	rootFS, compression                string
}

const initrdLong = `Initrd makes an initrd without any other tool: composefs-setup-root as /init, the kernel
modules that are needed to reach the root partition, the keys and the policy.

The modules come from --modules, the kernel's directory. Modules for the root file
system, EROFS and overlayfs must be there or built into the kernel; modules for common
disks are included if they are there. One of the public keys --keys must have sealed the
image; without a key the boot requires no seal.`

func newInitrd(u *ui) *cobra.Command {
	var o initrdOptions
	cmd := &cobra.Command{
		Use:   "initrd --modules DIR --keys FILE|DIR --output FILE",
		Short: "make a minimal initrd with composefs-setup-root as its init",
		Long:  initrdLong,
		Example: `  mkimage initrd --modules ROOT/usr/lib/modules/6.12.1-amd64 --keys mykey.pub \
      --policy setup-root-conf.toml --output initrd.img`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := require(cmd, "modules", "output"); err != nil {
				return err
			}
			if c := initrd.Compression(o.compression); c != initrd.Zstd && c != initrd.None {
				return usagef(cmd, "--compress: want zstd or none, found %q", o.compression)
			}
			return o.run(cmd, u)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.setupRoot, "setup-root", "", "composefs-setup-root `FILE` (default: the one beside mkimage, or in ../lib/composefs from there)")
	f.StringVar(&o.modules, "modules", "", "`DIR` with the kernel's modules, such as ROOT/usr/lib/modules/VERSION")
	f.StringVar(&o.rootFS, "root-fs", "ext4", "`TYPE` of the root partition's file system")
	f.StringArrayVar(&o.extra, "add-module", nil, "include the module `NAME` too; or several, NAME,NAME (repeatable)")
	f.StringArrayVar(&o.keys, "keys", nil, "trusted public keys: a .pub `FILE`, or a directory of them (repeatable)")
	f.StringVar(&o.policy, "policy", "", "`FILE` with the policy, which becomes setup-root-conf.toml")
	f.StringVar(&o.compression, "compress", "zstd", "zstd or none")
	f.StringVarP(&o.output, "output", "o", "", "write the initrd to `FILE`")
	return cmd
}

// initrdReport is what initrd reports.
type initrdReport struct {
	File    string   `json:"file"`
	Size    int64    `json:"size"`
	Kernel  string   `json:"kernel"`
	Modules []string `json:"modules"`
	Keys    int      `json:"keys"`
}

func (o *initrdOptions) run(cmd *cobra.Command, u *ui) error {
	if err := checkOutputs(o.output); err != nil {
		return err
	}
	parts, err := o.parts(cmd, u)
	if err != nil {
		return err
	}
	var written countingWriter
	if err := u.writeOutput(o.output, func(w io.Writer) error { return initrd.Write(io.MultiWriter(w, &written), parts) }); err != nil {
		return err
	}
	modules, err := parts.Kernel.Resolve(parts.Modules)
	if err != nil {
		return err
	}
	report := initrdReport{File: o.output, Size: int64(written), Kernel: parts.Kernel.Version(), Keys: len(parts.Keys)}
	for _, m := range modules {
		report.Modules = append(report.Modules, m.Name)
	}
	return u.result(report, fmt.Sprintf("%s: %s, kernel %s; modules: %d, keys: %d",
		o.output, size(report.Size), report.Kernel, len(modules), report.Keys))
}

// parts reads everything that goes into the initrd, and checks what would otherwise only
// show at the first boot.
func (o *initrdOptions) parts(cmd *cobra.Command, u *ui) (initrd.Options, error) {
	parts := initrd.Options{Keys: map[string][]byte{}, Compression: initrd.Compression(o.compression)}
	var err error
	if parts.Init, err = o.program(); err != nil {
		return parts, err
	}
	keys, err := loadKeyring(o.keys)
	if err != nil {
		return parts, err
	}
	if len(o.keys) > 0 && len(keys) == 0 {
		// Such an initrd would require no seal, which can't be meant.
		return parts, usagef(cmd, "--keys: %s has no file *.pub, and without a key the boot asks for no seal: put a public key there, or leave --keys out", strings.Join(o.keys, ", "))
	}
	names := keyNames{}
	for _, k := range keys {
		if err := names.add(k); err != nil {
			return parts, usagef(cmd, "--keys: %w", err)
		}
		parts.Keys[k.Name] = k.Text()
	}
	refused := false // every boot
	if o.policy != "" {
		if parts.Policy, err = readSmall(o.policy, bootcfg.MaxConfig); err != nil {
			return parts, err
		}
		config, err := bootcfg.ParseConfig(parts.Policy)
		if err != nil {
			return parts, fmt.Errorf("%s: %w", o.policy, err)
		}
		if _, err := config.Verify.Policy(keys); err != nil {
			u.remark("every boot by this initrd will be refused: %s: %v", o.policy, advisePolicy(err))
			refused = true
		}
		if config.Verify.Signature == bootcfg.Off && len(keys) > 0 {
			u.remark("the policy %s says signature = \"off\": the boot requires no seal, and the keys have no use", o.policy)
		}
		if config.Measure.TPM != bootcfg.Off {
			parts.Modules = initrd.TPMModules()
		}
	}
	if len(keys) == 0 && !refused {
		u.remark("without --keys this initrd requires no seal; only the digest on the command line protects the image")
	}
	if err := filekind.CheckDirectory(o.modules); err != nil {
		return parts, fmt.Errorf("--modules: %w", err)
	}
	dir, err := filepath.Abs(o.modules)
	if err != nil {
		return parts, err
	}
	if err := initrd.CheckModulesDir(dir); err != nil {
		return parts, usagef(cmd, "--modules %s: %w", o.modules, initrdAdvice(err))
	}
	if parts.Kernel, err = initrd.NewKernel(osfile.DirFS(dir), dir, filepath.Base(dir)); err != nil {
		return parts, err
	}
	parts.Modules = append(parts.Modules, initrd.RootModules(o.rootFS)...)
	for _, names := range o.extra {
		for name := range strings.FieldsFuncSeq(names, func(r rune) bool { return r == ',' || r == ' ' }) {
			parts.Modules = append(parts.Modules, initrd.Want{Name: name})
		}
	}
	return parts, initrdAdvice(parts.CheckMachine())
}

// program reads composefs-setup-root.
func (o *initrdOptions) program() ([]byte, error) {
	if o.setupRoot == "" {
		return findSetupRoot()
	}
	return readSetupRoot(o.setupRoot)
}
