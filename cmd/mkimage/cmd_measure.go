package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

func newMeasure(u *ui) *cobra.Command {
	var o lookOptions
	var register registerOptions
	var algorithm string
	cmd := &cobra.Command{
		Use:   "measure FILE...",
		Short: "print the fs-verity digests of files",
		Long: `Measure prints the fs-verity digest of each FILE, one on each line. The digest comes from
the kernel if the file has fs-verity, and is computed otherwise. FILE may be any file;
for an image, it is the digest by which the image is known.

With --repo, FILE is the digest or a ref of an image in the repository.

With --pcr it predicts the TPM's register after a good boot of the image FILE, in each
bank. The policy must have [measure] tpm, the register must be zero before the boot, and
nothing else may extend it: no volume key before (tpm2-measure-pcr= in crypttab), no
systemd-pcrmachine afterwards. --root-uuid is the UUID of the file system on the root
partition, as lsblk -no UUID prints it, or "unknown" for a kernel before 6.9, on which the
boot can't find it out.`,
		Example: "  mkimage measure image.erofs\n" +
			"  mkimage measure --repo repo --pcr --root-uuid $(lsblk -no UUID /dev/vda2) debian/13",
		Args: usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			alg, err := verity.ParseAlgorithm(algorithm)
			if err != nil {
				return usagef(cmd, "--digest: %w", err)
			}
			if o.repo != "" && !cmd.Flags().Changed("digest") {
				if alg, err = o.algorithm(); err != nil {
					return err
				}
			}
			if register.pcr {
				return register.run(cmd, u, &o, alg, args)
			}
			if register.root != "" || register.policy != "" {
				return usagef(cmd, "--root-uuid and --policy are for --pcr")
			}
			return o.measure(u, alg, args)
		},
	}
	o.flags(u, cmd)
	register.flags(cmd)
	cmd.Flags().StringVar(&algorithm, "digest", "sha256", "hash: sha256 or sha512 (with --repo, the repository's)")
	return cmd
}

// algorithm returns the algorithm of the repository.
func (o *lookOptions) algorithm() (verity.Algorithm, error) {
	r, err := openRepo(o.u, o.repo)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	return r.Meta().Algorithm, nil
}

// A measurement is what measure --json prints of a file.
type measurement struct {
	File   string        `json:"file"`
	Digest verity.Digest `json:"digest"`
	Hex    string        `json:"hex"`
}

// measure prints each digest as soon as it is known, or with --json all of them at the end.
func (o *lookOptions) measure(u *ui, alg verity.Algorithm, names []string) error {
	var all []measurement
	for _, name := range names {
		d, err := o.measureOne(name, alg)
		if err != nil {
			return err
		}
		all = append(all, measurement{name, d, d.Hex()})
		if !u.json {
			fmt.Fprintln(u.out, d.Hex())
		}
	}
	if u.json {
		return u.result(all, "")
	}
	return nil
}

// measureOne returns the digest of a file, or of an image in a repository, where it must
// be the one by which the repository knows the image.
func (o *lookOptions) measureOne(name string, alg verity.Algorithm) (verity.Digest, error) {
	f, want, err := o.openNamed(name)
	if err != nil {
		return want, err
	}
	defer f.Close()
	d, err := measureFile(f, alg)
	if err == nil && want.Algorithm() == alg {
		err = sign.CheckDigest(want, d)
	}
	return d, err
}

// measureFile asks the kernel for a digest, and computes it if the kernel has none.
func measureFile(f *os.File, alg verity.Algorithm) (verity.Digest, error) {
	if d, err := verity.Measure(f, alg); err == nil {
		return d, nil
	}
	st, err := f.Stat()
	if err != nil {
		return verity.Digest{}, err
	}
	d, err := verity.SumFile(alg, f, st.Size())
	if err != nil {
		return d, fmt.Errorf("measure %s: %w", f.Name(), err)
	}
	return d, nil
}
