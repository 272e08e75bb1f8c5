package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/internal/repo"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

type verifyOptions struct {
	repo    string
	keys    []string
	policy  string
	minimum uint64
	objects bool
}

const verifyLong = `Verify reads IMAGE (a digest or a ref) and checks that its content has the digest
that its name says, and holds its seal against keys and policy. The verdict is that
of composefs-setup-root with the same keys and policy, in the same words and with
the same exit status: 2 for a policy or a key that can't be used, 4 image not found,
5 digest mismatch, 6 signature refused.

--policy is the setup-root-conf.toml of the initramfs. Without one, a valid seal is
required if there is a key, and the seal isn't looked at if there is none.

With --objects it also reads every object that the image names, and checks those.
Whether the files in the repository have fs-verity on isn't asked: that is for the
file system that they are booted from.`

func newVerify(u *ui) *cobra.Command {
	var o verifyOptions
	cmd := &cobra.Command{
		Use:   "verify --repo DIR [--keys FILE|DIR] [--policy FILE] IMAGE",
		Short: "say what the boot would say about an image: its content, seal and objects",
		Long:  verifyLong,
		Example: "  mkimage verify --repo repo --keys mykey.pub --objects debian/13\n" +
			"  mkimage verify --repo repo --keys keys.d --policy setup-root-conf.toml debian/13",
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.repo == "" {
				return usagef(cmd, "verify needs --repo")
			}
			v, err := o.run(cmd, u, args[0])
			if err != nil {
				return err
			}
			return u.result(v, v.String())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.repo, "repo", "", "repository `DIR`")
	f.StringArrayVar(&o.keys, "keys", nil, "trusted public keys: a .pub `FILE`, or a directory of them (repeatable)")
	f.StringVar(&o.policy, "policy", "", "the policy, a `FILE` as setup-root-conf.toml is")
	f.Uint64Var(&o.minimum, "minimum-sequence", 0, "refuse seals with a lower `NUMBER`, whatever the policy says")
	f.BoolVar(&o.objects, "objects", false, "check the content of every object too")
	return cmd
}

// verified is what verify reports.
type verified struct {
	Digest  verity.Digest `json:"digest"`
	Size    int64         `json:"size"`
	Seal    sealVerdict   `json:"seal"`
	Objects int           `json:"objects,omitempty"`
}

// sealVerdict is that part of boot.json.
type sealVerdict struct {
	Status   string `json:"status"` // "valid", "none" or "not-required"
	Key      string `json:"key,omitempty"`
	KeyName  string `json:"key-name,omitempty"`
	Sequence uint64 `json:"sequence,omitempty"`
}

func (v sealVerdict) String() string {
	switch v.Status {
	case "valid":
		return fmt.Sprintf("sealed by key %s (%s), sequence %d", v.Key, v.KeyName, v.Sequence)
	case "none":
		return "no seal, and the policy asks for none"
	}
	return "whether it is sealed was not asked"
}

func (v verified) String() string {
	s := fmt.Sprintf("%s: image is intact, %s", v.Digest.Hex(), v.Seal)
	if v.Objects > 0 {
		s += fmt.Sprintf(", %d objects are intact", v.Objects)
	}
	return s
}

func (o *verifyOptions) run(cmd *cobra.Command, u *ui, image string) (verified, error) {
	policy, err := o.sealPolicy()
	if err != nil {
		return verified{}, configError{err}
	}
	r, err := repo.Open(o.repo)
	if err != nil {
		return verified{}, err
	}
	defer r.Close()
	digest, err := r.Resolve(image)
	if err != nil {
		return verified{}, err
	}
	f, err := r.OpenImage(digest)
	if err != nil {
		return verified{}, err
	}
	defer f.Close()
	v := verified{Digest: digest}
	found, size, err := sumObject(f, digest)
	if err != nil {
		return v, err
	}
	v.Size = size
	if err := sign.CheckDigest(digest, found); err != nil {
		return v, err
	}
	if v.Seal, err = checkSeal(policy, digest, r.ReadSealFile); err != nil {
		return v, err
	}
	if o.objects {
		u.progress.start("checking objects")
		v.Objects, err = checkObjects(cmd, u, r, f, v.Size)
	}
	return v, err
}

// sealPolicy makes the policy as composefs-setup-root makes it.
func (o *verifyOptions) sealPolicy() (sign.Policy, error) {
	config := bootcfg.DefaultConfig()
	if o.policy != "" {
		text, err := readSmall(o.policy, bootcfg.MaxConfig)
		if err != nil {
			return sign.Policy{}, err
		}
		if config, err = bootcfg.ParseConfig(text); err != nil {
			return sign.Policy{}, fmt.Errorf("%s: %w", o.policy, err)
		}
	}
	keys, err := loadKeyring(o.keys)
	if err != nil {
		return sign.Policy{}, err
	}
	if len(o.keys) > 0 {
		config.Verify.Keys = o.keys[0] // for messages
	}
	if len(o.keys) > 0 && len(keys) == 0 && config.Verify.Signature == "" {
		// The boot would ask for no seal. Who names keys wants to know otherwise.
		return sign.Policy{}, fmt.Errorf("%w: %s has no file *.pub", sign.ErrNoKeys, o.keys[0])
	}
	config.Verify.MinimumSequence = max(config.Verify.MinimumSequence, o.minimum)
	if o.minimum > 0 {
		config.Verify.Presumes = "minimum-sequence"
	}
	return config.Verify.Policy(keys)
}

func checkSeal(policy sign.Policy, image verity.Digest, read sign.ReadSeal) (sealVerdict, error) {
	verdict, err := policy.Check(image, read)
	switch {
	case err != nil:
		return sealVerdict{}, err
	case policy.Need == sign.Off:
		return sealVerdict{Status: "not-required"}, nil
	case verdict.Seal.Digest.IsZero():
		return sealVerdict{Status: "none"}, nil
	}
	return sealVerdict{"valid", sign.FormatID(verdict.Key.ID), verdict.Key.Name, verdict.Seal.Sequence}, nil
}

// sumObject returns the digest of an object's content, and its size.
func sumObject(f *os.File, name verity.Digest) (verity.Digest, int64, error) {
	st, err := f.Stat()
	if err != nil {
		return verity.Digest{}, 0, err
	}
	have, err := verity.SumFile(name.Algorithm(), f, st.Size())
	if err != nil {
		return verity.Digest{}, 0, fmt.Errorf("read object %s: %w", name.Hex(), err)
	}
	return have, st.Size(), nil
}

// checkObject compares the content of an object with its name.
func checkObject(f *os.File, want verity.Digest) (int64, error) {
	have, size, err := sumObject(f, want)
	if err != nil {
		return 0, err
	}
	if have != want {
		return 0, fmt.Errorf("object %s: %w: its content has %s; restore it, or build the image again",
			want.ObjectPath(), verity.ErrMismatch, have.Hex())
	}
	return size, nil
}

// checkObjects checks all objects that an image names.
func checkObjects(cmd *cobra.Command, u *ui, r *repo.Repo, image *os.File, size int64) (int, error) {
	img, err := erofs.Open(image, size)
	if err != nil {
		return 0, err
	}
	objects, err := imageObjects(img)
	if err != nil {
		return 0, err
	}
	for _, d := range objects {
		if err := cmd.Context().Err(); err != nil {
			return 0, err
		}
		f, err := r.OpenObject(d)
		if err != nil {
			return 0, err
		}
		n, err := checkObject(f, d)
		f.Close()
		if err != nil {
			return 0, err
		}
		u.progress.file(n)
	}
	return len(objects), nil
}
