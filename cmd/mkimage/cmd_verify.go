package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/internal/repo"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

type verifyOptions struct {
	repo    string
	keys    []string
	minimum uint64
	objects bool
}

func newVerify(u *ui) *cobra.Command {
	var o verifyOptions
	cmd := &cobra.Command{
		Use:   "verify --repo DIR --keys FILE|DIR IMAGE",
		Short: "check an image, its seal and its objects",
		Long: `Verify reads IMAGE (a digest or a ref) and checks that its content has the digest
that its name says, and that its seal is by one of the keys. With --objects it
also reads every object that the image names, and checks those.

The exit status is that of composefs-setup-root: 4 not found, 5 digest mismatch,
6 seal refused. Without --keys the seal isn't looked at.`,
		Example: "  mkimage verify --repo repo --keys mykey.pub --objects debian/13",
		Args:    usageArgs(cobra.ExactArgs(1)),
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
	f.Uint64Var(&o.minimum, "minimum-sequence", 0, "refuse seals with a lower `NUMBER`")
	f.BoolVar(&o.objects, "objects", false, "check the content of every object too")
	return cmd
}

// verified is what verify reports.
type verified struct {
	Digest   verity.Digest `json:"digest"`
	Size     int64         `json:"size"`
	Key      string        `json:"key,omitempty"`
	KeyName  string        `json:"key-name,omitempty"`
	Sequence uint64        `json:"sequence,omitempty"`
	Objects  int           `json:"objects,omitempty"`
}

func (v verified) String() string {
	s := fmt.Sprintf("%s: image is intact", v.Digest.Hex())
	if v.Key != "" {
		s += fmt.Sprintf(", sealed by key %s (%s), sequence %d", v.Key, v.KeyName, v.Sequence)
	}
	if v.Objects > 0 {
		s += fmt.Sprintf(", %d objects are intact", v.Objects)
	}
	return s
}

func (o *verifyOptions) run(cmd *cobra.Command, u *ui, image string) (verified, error) {
	keys, err := loadKeyring(o.keys)
	if err != nil {
		return verified{}, err
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
	if v.Size, err = checkObject(f, digest); err != nil {
		return v, err
	}
	if len(o.keys) > 0 {
		if err := o.checkSeal(r, keys, &v); err != nil {
			return v, fmt.Errorf("%w: %w", errRefused, err)
		}
	}
	if o.objects {
		u.progress.start("checking objects")
		v.Objects, err = checkObjects(cmd, u, r, f, v.Size)
	}
	return v, err
}

func (o *verifyOptions) checkSeal(r *repo.Repo, keys sign.Keyring, v *verified) error {
	seal, err := r.ReadSeal(v.Digest)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	policy := sign.Policy{Keys: keys, MinimumSequence: o.minimum}
	verdict, err := policy.Verify(v.Digest, seal.Text, slices.Collect(maps.Values(seal.Signatures)))
	if err != nil {
		return err
	}
	v.Key, v.KeyName, v.Sequence = sign.FormatID(verdict.Key.ID), verdict.Key.Name, verdict.Seal.Sequence
	return nil
}

// checkObject compares the content of an object with its name.
func checkObject(f *os.File, want verity.Digest) (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	have, err := verity.SumFile(want.Algorithm(), f, st.Size())
	if err != nil {
		return 0, fmt.Errorf("read object %s: %w", want.Hex(), err)
	}
	if have != want {
		return 0, fmt.Errorf("object %s: %w: its content has %s; restore it, or build the image again",
			want.ObjectPath(), verity.ErrMismatch, have.Hex())
	}
	return st.Size(), nil
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
