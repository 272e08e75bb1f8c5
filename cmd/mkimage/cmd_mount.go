package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/internal/boot/kernel"
	"github.com/composefs-go/composefs/internal/filekind"
	"github.com/composefs-go/composefs/internal/imagemount"
	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/verity"
)

type mountOptions struct {
	imagemount.Options
	repo     string
	hex      string   // --digest
	level    string   // --verity
	keyNames []string // --keys
	// find finds an image in the repository by what the user called it.
	find func(r *repo.Repo, name string) (verity.Digest, error)
}

func newMount(u *ui) *cobra.Command {
	o := mountOptions{find: (*repo.Repo).Resolve}
	cmd := &cobra.Command{
		Use:   "mount {--repo DIR | --basedir DIR} IMAGE DIR",
		Short: "mount an image",
		Long: `Mount mounts IMAGE at DIR. With --repo, IMAGE is a digest or a ref in the repository,
which also has the contents of the files; otherwise IMAGE is a file, and the contents
are in --basedir.

If it is known which image it must be (by its name in a repository, by --digest or by
--signed), fs-verity is required: the digest of the image is measured before it is
mounted, and the content of each file is checked whenever it is read. If the kernel or
the file system has no fs-verity, mounting fails. With --verity off the image is hashed
once instead, and contents aren't checked. --verity try does that only if fs-verity
isn't available, and says so.

Mounting requires root. mkimage umount and umount(8) unmount the image.
Linked to /sbin/mount.composefs, this program also serves mount -t composefs.`,
		Example: `  mkimage mount --repo repo stable /mnt
  mkimage mount --repo repo --keys mykey.pub stable /mnt
  mkimage mount --basedir repo/objects --digest $DIGEST image.erofs /mnt`,
		Args: usageArgs(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.mount(cmd, u, args[0], args[1])
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.repo, "repo", "", "repository `DIR` with the image and the contents")
	f.StringArrayVar(&o.Basedirs, "basedir", nil, "`DIR` with the contents of files, such as REPO/objects (repeatable)")
	f.StringVar(&o.hex, "digest", "", "fs-verity digest that the image must have, in `HEX`")
	o.flags(cmd)
	return cmd
}

// flags adds the flags that say how an image is mounted.
func (o *mountOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.level, "verity", "", "have the kernel check every file: require, try or off (default: require if it is known which image it must be)")
	f.BoolVar(&o.Signed, "signed", false, "require a valid seal: IMAGE.seal, or the one in the repository")
	f.StringArrayVar(&o.keyNames, "keys", nil, "trusted public keys: a .pub `FILE`, or a directory of them (repeatable; implies --signed; default "+systemKeys+")")
	f.StringVar(&o.Upper, "upperdir", "", "`DIR` that takes changes, so that the mount can be written to")
	f.StringVar(&o.Work, "workdir", "", "empty `DIR` on the same file system, for the kernel's use")
	f.StringVar(&o.UserNS, "idmap", "", "map owners as the user namespace `FILE` does, such as /proc/PID/ns/user")
	f.BoolVar(&o.ReadOnly, "read-only", false, "mount read-only even with --upperdir")
}

// mount mounts an image and reports it.
func (o *mountOptions) mount(cmd *cobra.Command, u *ui, image, dir string) error {
	result, err := o.run(cmd, u, image, dir)
	if err != nil {
		return err
	}
	remarkLack(u, result)
	if u.json {
		return u.result(result, "")
	}
	return nil
}

// remarkLack says that the content of files isn't checked although that was to be tried.
func remarkLack(u *ui, m imagemount.Report) {
	if m.Lack != nil {
		u.remark("mounted without fs-verity, so that nothing checks the content of files when they are read: %v", m.Lack)
	}
}

// verityLevels are the values of --verity.
var verityLevels = map[string]imagemount.VerityLevel{"": imagemount.Implied, "off": imagemount.Off, "try": imagemount.Try, "require": imagemount.Require}

func (o *mountOptions) run(cmd *cobra.Command, u *ui, image, dir string) (imagemount.Report, error) {
	if err := o.check(cmd); err != nil {
		return imagemount.Report{}, err
	}
	if err := filekind.CheckDirectory(dir); err != nil {
		return imagemount.Report{}, err
	}
	if o.Signed {
		var err error
		if o.Keys, err = trustedKeys(o.keyNames); err != nil {
			return imagemount.Report{}, err
		}
	}
	var f *os.File
	if o.repo == "" {
		var err error
		if f, err = filekind.Open(image, "an image"); err != nil {
			return imagemount.Report{}, err
		}
		o.ReadSeal = sealBeside(image)
	} else {
		r, err := openRepo(u, o.repo)
		if err != nil {
			return imagemount.Report{}, err
		}
		defer r.Close()
		if f, err = o.openIn(r, image); err != nil {
			return imagemount.Report{}, err
		}
		defer o.Objects.Close()
	}
	defer f.Close()
	result, err := o.Mount(kernel.New(), f, dir)
	if err != nil {
		return result, fmt.Errorf("mount %s: %w", image, err)
	}
	return result, nil
}

// check refuses flags that contradict each other, and parses those that are texts.
func (o *mountOptions) check(cmd *cobra.Command) (err error) {
	if o.repo == "" && len(o.Basedirs) == 0 {
		return usagef(cmd, "mount needs --repo or --basedir")
	}
	var ok bool
	if o.Verity, ok = verityLevels[o.level]; !ok {
		return usagef(cmd, "--verity: want require, try or off, found %q", o.level)
	}
	if cmd.Flags().Changed("digest") {
		if o.Digest, err = verity.ParseAnyHex(o.hex); err != nil {
			return usagef(cmd, "--digest: %w", err)
		}
	}
	if o.repo != "" && len(o.Basedirs) > 0 {
		return usagef(cmd, "--repo and --basedir exclude each other: an image of a repository has its objects there")
	}
	for _, dir := range o.Basedirs {
		if repo.IsRepo(dir) {
			return usagef(cmd, "--basedir %s: want a directory of objects, found a repository: say --basedir %s for an image in a file, or --repo %s for one of its own", dir, shellWord(filepath.Join(dir, "objects")), shellWord(dir))
		}
	}
	if (o.Upper == "") != (o.Work == "") {
		return usagef(cmd, "--upperdir and --workdir go together")
	}
	o.Signed = o.Signed || len(o.keyNames) > 0
	o.Named = true
	return nil
}

// openIn opens an image of a repository and the directory of its objects. The repository
// stays open until the image is mounted, so that image, contents and seal all come from
// the same one.
func (o *mountOptions) openIn(r *repo.Repo, image string) (*os.File, error) {
	d, err := o.find(r, image)
	if err != nil {
		return nil, err
	}
	if want := o.Digest; !want.IsZero() && want != d {
		return nil, fmt.Errorf("mount %s: %w: want %s, it is %s", image, verity.ErrMismatch, want, d.Hex())
	}
	f, err := r.OpenImage(d)
	if err != nil {
		return nil, err
	}
	if o.Objects, err = r.OpenObjects(); err != nil {
		f.Close()
		return nil, fmt.Errorf("mount %s: %w", image, err)
	}
	o.Digest, o.ReadSeal = d, r.ReadSealFile
	return f, nil
}
