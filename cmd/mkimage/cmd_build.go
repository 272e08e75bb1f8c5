package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/internal/osfile"
	"github.com/composefs-go/composefs/internal/source"
	"github.com/composefs-go/composefs/internal/source/transform"
	"github.com/composefs-go/composefs/internal/store/repo"
)

type buildOptions struct {
	source    string
	read      sourceFlags
	cache     string // file with digests of directories read before; or ""
	repo      string
	output    string
	ref       string
	format    string
	algorithm string
	boot      string // the release of composefs-rs whose way it is done in; or ""
	seal      sealOptions
}

const buildLong = `Build makes an image from SOURCE and prints its digest. SOURCE is one of

%s

Without --repo and --output nothing is written: build only prints the tree's digest.

With --repo, the image and the contents of all files of more than 64 bytes go into the
repository, which is made if it doesn't exist. If anything fails, the repository stays as
it was. Several builds into one repository may run at once.

Objects that are already in the repository are checked, and replaced if they are damaged.
Objects with fs-verity are checked by the kernel; all others are read.

--boot prepares the tree for booting: / takes /usr's attributes; /boot, /run and /sysroot
become empty; extended attributes other than security.capability are dropped; and if the
tree has an SELinux policy, all files are labelled by it. Missing mount points (/boot,
/dev, /etc, /proc, /run, /sys, /sysroot, /var) are made, and remarks say what a machine
with this root will lack.

If the tree has all mount points, the digest is the one that cfsctl 0.9.4 gives.
--boot=RELEASE makes no mount points and always gives the digest of that release:
composefs-rs-0.9.4, or composefs-rs-0.9.0, in which /boot and /sysroot take only the
seconds of /usr's time.

--format v0 and v1 are the formats of the C tools, v2 is the format of composefs-rs. A
dump is read as by the tools of the chosen format.

Whiteouts in a layer (.wh.NAME, .wh..wh..opq) hide files of lower layers, wherever they
are in their layer, as the OCI image format requires. composefs-rs applies them in the
order of the entries. If that makes a different image, build says so;
--whiteouts=in-order makes the image of composefs-rs.

--one-use-key seals the image with a new key that signs nothing else and is never
written to a file. Put its public key into the initrd that boots this image, and nobody,
not even you, can make that initrd boot another image.

--cache makes the next build of a directory faster. A file with the same inode, size,
modification time and change time as before isn't read again, neither in the directory
nor in the repository. Only ext4, XFS, Btrfs and F2FS have reliable change times; on other
file systems all files are read. Anyone who can set the clock back or write to the
underlying disk, such as root, can hide a change from the cache. Without --cache every
file is read and hashed.

The same tree gives the same digest on every machine and file system.`

func newBuild(u *ui) *cobra.Command {
	var o buildOptions
	cmd := &cobra.Command{
		Use:     "build SOURCE",
		Short:   "make an image, and fill its repository",
		Long:    fmt.Sprintf(buildLong, sourceHelp()),
		Example: "  mkimage build ROOT\n  mkimage build --repo repo --boot --ref debian/13 --seal mykey.key --sequence 42 ROOT",
		Args:    usageArgs(cobra.ExactArgs(1)),

		Annotations: map[string]string{ownCheck: "true"},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.source = args[0]
			return o.run(cmd, u)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.repo, "repo", "", "put the image and its objects into the repository `DIR`")
	f.StringVarP(&o.output, "output", "o", "", "write the image to `FILE` (- is standard output; the digest then goes to standard error)")
	f.StringVar(&o.ref, "ref", "", "let the ref `NAME` in the repository point to the image")
	f.StringVar(&o.format, "format", "", "image format: v0, v1 or v2 (default: the repository's, else v1)")
	f.StringVar(&o.algorithm, "digest", "", "hash: sha256 or sha512 (default: the repository's, else sha256)")
	f.StringVar(&o.boot, "boot", "", "prepare the tree for booting; with =`RELEASE`, exactly as that release does")
	f.Lookup("boot").NoOptDefVal = ownWay
	f.BoolVar(&o.read.UseEpoch, "use-epoch", false, "set all times to 0")
	f.BoolVar(&o.read.SkipXattrs, "skip-xattrs", false, "leave out all extended attributes")
	f.BoolVar(&o.read.UserXattrs, "user-xattrs", false, "keep only the extended attributes user.*")
	f.BoolVar(&o.read.SkipDevices, "skip-devices", false, "leave out device nodes and whiteouts")
	f.StringVar(&o.cache, "cache", "", "remember the digests of unchanged files in `FILE`, see above")
	o.read.add(cmd)
	o.seal.flags(cmd, "seal")
	return cmd
}

// checkPlaces refuses outputs inside the source. They would become part of the next image
// made from it, and change its digest; leaving them out silently would give a digest that
// nobody else with the same directory gets.
func (o *buildOptions) checkPlaces() error {
	for _, out := range []struct {
		flag, name string
		dir        bool
	}{
		{"--repo", o.repo, true}, {"--output", o.output, false}, {"--cache", o.cache, false}, {"--one-use-key", o.seal.oneUse, false},
	} {
		if out.name == "" || standardOutputs[out.name] {
			continue
		}
		path, err := osfile.FollowLinks(out.name)
		if err != nil || !out.dir && osfile.IsStream(path) {
			continue // writing there will say what is wrong
		}
		isDirectory := source.IsDirectory(o.source)
		if st, err := os.Stat(path); isDirectory && !out.dir && err == nil && st.IsDir() {
			continue
		}
		switch overlap := o.read.Overlap(o.source, path); {
		case overlap == source.Same && isDirectory:
			return fmt.Errorf("%s: %s is SOURCE itself: name another directory", out.flag, out.name)
		case overlap == source.Same:
			return fmt.Errorf("%s: %s is SOURCE too: name another file", out.flag, out.name)
		case overlap == source.Inside:
			return fmt.Errorf("%s: %s is inside %s, and would be in the next image made of it: name a place outside", out.flag, out.name, o.source)
		}
	}
	return nil
}

// check finds mistakes in the command line before anything is read.
func (o *buildOptions) check(cmd *cobra.Command) error {
	switch {
	case o.repo == "" && o.ref != "":
		return usagef(cmd, "--ref needs --repo")
	case o.repo == "" && o.seal.asked():
		return usagef(cmd, "sealing needs --repo: the seal is stored beside the image")
	case o.cache != "" && !source.IsDirectory(o.source):
		return usagef(cmd, "--cache is for directories, found %s", o.source)
	case o.read.SkipXattrs && o.read.UserXattrs:
		return usagef(cmd, "--skip-xattrs and --user-xattrs exclude each other")
	}
	if o.boot != "" {
		o.read.Empty = transform.Emptied
	}
	if err := errors.Join(checkSource(o.source), o.read.check(), o.checkPlaces()); err != nil {
		return usagef(cmd, "%w", err)
	}
	if o.boot != "" {
		if _, _, err := parseBoot(o.boot); err != nil {
			return usagef(cmd, "--boot: %w", err)
		}
	}
	return o.checkSeal(cmd)
}

// checkSeal finds mistakes in the flags for the seal and the ref.
func (o *buildOptions) checkSeal(cmd *cobra.Command) error {
	if cmd.Flags().Changed("ref") {
		if err := repo.CheckRef(o.ref); err != nil {
			return usagef(cmd, "--ref: %w", err)
		}
		if len(o.seal.forRefs) > 0 && !slices.Contains(o.seal.forRefs, o.ref) {
			return usagef(cmd, "--ref %s would point to an image whose seal is for %s: add --for-ref %s", o.ref, strings.Join(o.seal.forRefs, ", "), o.ref)
		}
	}
	if !o.seal.asked() {
		return o.seal.checkUnused(cmd, "seal")
	}
	return o.seal.check(cmd)
}

func (o *buildOptions) run(cmd *cobra.Command, u *ui) error {
	if err := o.check(cmd); err != nil {
		return err
	}
	if err := errors.Join(checkOutputs(o.output, o.seal.oneUse), checkReplaceable(o.cache)); err != nil {
		return err
	}
	meta, err := o.settings(cmd, u)
	if err != nil {
		return err
	}
	signers, err := o.seal.open(u)
	if err != nil {
		return err
	}
	var b buildReport
	if o.repo == "" {
		b, err = o.measure(cmd.Context(), u, meta)
	} else {
		b, err = o.store(cmd.Context(), u, meta, signers)
	}
	if err != nil {
		return err
	}
	if err := u.result(b, b.Hex); err != nil && o.repo != "" {
		return refusedAt(inOutput, fmt.Errorf("print the digest: %w; the image %s is in %s nevertheless", err, b.Hex, o.repo))
	} else if err != nil {
		return refusedAt(inOutput, fmt.Errorf("print the digest: %w", err))
	}
	return nil
}
