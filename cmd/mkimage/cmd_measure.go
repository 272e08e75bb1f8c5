package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/internal/store/repo"
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
		Long: `Measure prints the fs-verity digest of each FILE, one a line. It comes from the kernel
if the file has fs-verity, and is computed otherwise. FILE may be any file; for the
file of an image it is the image's digest.

With --repo FILE is the digest or ref of an image.

With --pcr it prints what the TPM's register is after a good boot of the image FILE, in
each bank, where the policy has [measure] tpm and nobody else has extended it: no volume
key before (tpm2-measure-pcr= in crypttab), no systemd-pcrmachine after. Before the boot
it is zero. --root-uuid is the UUID of the file system on the root partition, as
lsblk -no UUID prints it; a kernel before 6.9 doesn't tell it to the boot: "unknown".`,
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
	o.flags(cmd)
	register.flags(cmd)
	cmd.Flags().StringVar(&algorithm, "digest", "sha256", "hash: sha256 or sha512 (with --repo, the repository's)")
	return cmd
}

// algorithm returns that of the repository.
func (o *lookOptions) algorithm() (verity.Algorithm, error) {
	r, err := repo.Open(o.repo)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	return r.Meta().Algorithm, nil
}

// measured is what measure --json prints of a file.
type measured struct {
	File   string        `json:"file"`
	Digest verity.Digest `json:"digest"`
	Hex    string        `json:"hex"`
}

// measure prints each digest as soon as it is known; as JSON all at the end.
func (o *lookOptions) measure(u *ui, alg verity.Algorithm, names []string) error {
	var all []measured
	for _, name := range names {
		d, err := o.measureOne(name, alg)
		if err != nil {
			return err
		}
		all = append(all, measured{name, d, d.Hex()})
		if !u.json {
			fmt.Fprintln(u.out, d.Hex())
		}
	}
	if u.json {
		return u.result(all, "")
	}
	return nil
}

// measureOne returns the digest of a file, or of an image in a repository, which has to
// be the one that it goes by there.
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

// measureFile asks the kernel, and computes what it doesn't know.
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
