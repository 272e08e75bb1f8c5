package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/internal/check/listing"
	"github.com/composefs-go/composefs/internal/osfile"
	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

type verifyOptions struct {
	repo    string
	keys    []string
	policy  string
	minimum uint64
	objects bool
	ref     string
	inPlace bool
}

const verifyLong = `Verify reads IMAGE (a digest or a ref), compares its content with its digest, and checks
its seal against the keys and the policy. It gives the same verdict as composefs-setup-root
with the same keys and policy, in the same words and with the same exit status: 2 for a
policy or a key that can't be used, 4 image not found, 5 digest mismatch, 6 signature
refused.

--policy is the setup-root-conf.toml of the initramfs. Without it, a valid seal is
required if there is a key, and the seal is ignored if there is none. As at boot, neither
this file, nor a directory of --keys, nor a key in one may be a symbolic link.

If IMAGE is a ref, or with --ref NAME, the verdict is for a boot by composefs.ref=NAME: a
seal for other refs is refused, and so is a policy that doesn't allow booting by ref. If
IMAGE is a ref and there are neither --keys nor --policy, it is only checked for damage:
no boot by that ref goes without a seal, and the verdict says so.

If the policy requires fs-verity, the image must have it here, and with --objects so must
every object. An exception is a file system that doesn't support fs-verity, on which
images may be built but not booted; with --in-place that is refused too.

With --objects it also reads and checks every object of the image. Otherwise a missing or
damaged object goes unnoticed, and the result says so.`

func newVerify(u *ui) *cobra.Command {
	var o verifyOptions
	cmd := &cobra.Command{
		Use:   "verify --repo DIR [--keys FILE|DIR] [--policy FILE] {IMAGE | --ref NAME}",
		Short: "check an image as the boot would: its content, its seal and its objects",
		Long:  verifyLong,
		Example: "  mkimage verify --repo repo --keys mykey.pub --objects debian/13\n" +
			"  mkimage verify --repo repo --keys keys.d --policy setup-root-conf.toml debian/13",
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case o.repo == "":
				return usagef(cmd, "verify needs --repo")
			case len(args) == 0 && o.ref == "":
				return usagef(cmd, "verify needs an IMAGE, a digest or a ref, or --ref")
			}
			if err := sign.CheckRef(o.ref); cmd.Flags().Changed("ref") && err != nil {
				return usagef(cmd, "--ref: %w", err)
			}
			v, err := o.run(cmd, u, strings.Join(args, ""))
			if err != nil {
				return err
			}
			return u.result(v, v.String())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.repo, "repo", "", "repository `DIR`")
	f.StringArrayVar(&o.keys, "keys", nil, "trusted public keys: a .pub `FILE`, or a directory of them (repeatable)")
	f.StringVar(&o.policy, "policy", "", "`FILE` with the policy, in the format of setup-root-conf.toml")
	f.Uint64Var(&o.minimum, "minimum-sequence", 0, "refuse seals with a lower `NUMBER`, whatever the policy says")
	f.StringVar(&o.ref, "ref", "", "give the verdict of a boot by composefs.ref=`NAME` (default IMAGE: the one that NAME points to)")
	f.BoolVar(&o.inPlace, "in-place", false, "the machine boots from this repository: its file system must support fs-verity if the policy requires that")
	f.BoolVar(&o.objects, "objects", false, "read and check every object too")
	return cmd
}

// verdictReport is what verify reports.
type verdictReport struct {
	Digest   verity.Digest `json:"digest"`
	Ref      string        `json:"ref,omitempty"` // that a boot may ask for it by
	Size     int64         `json:"size"`
	FSVerity string        `json:"fs-verity"` // "require", "userspace" or "off"; "absent": required, and this file system has none
	Seal     sealVerdict   `json:"seal"`
	Objects  int           `json:"objects,omitempty"`
	Checked  bool          `json:"objects-checked"` // their content was read
	found    string        // the ref by which it was found, if nothing is said of a boot by it
}

// sealVerdict is that part of boot.json.
type sealVerdict struct {
	Status   sign.Status `json:"status"` // "valid", "none" or "not-required"
	Key      sign.KeyID  `json:"key,omitzero"`
	KeyName  string      `json:"key-name,omitempty"`
	Sequence *uint64     `json:"sequence,omitempty"` // nil unless a valid seal says it
	OSID     string      `json:"os-id,omitempty"`
	Refs     []string    `json:"refs,omitempty"` // that it is for
}

func newSealVerdict(v sign.Verdict) sealVerdict {
	said := v.Statement
	s := sealVerdict{v.Status, v.Key.ID, v.Key.Name, nil, said.OSID, said.Refs}
	if v.Status == sign.Sealed {
		s.Sequence = &said.Sequence
	}
	return s
}

func (v sealVerdict) String() string {
	switch v.Status {
	case sign.Sealed:
		return fmt.Sprintf("sealed by key %s (%s), sequence %d", v.Key, v.KeyName, *v.Sequence)
	case sign.Unsealed:
		return "without a seal, and the policy doesn't require one"
	}
	return "its seal was not checked"
}

func (v verdictReport) String() string {
	s := fmt.Sprintf("%s: the image is intact, %s", v.Digest.Hex(), v.Seal)
	switch {
	case !v.Checked:
		s += "; its objects were not checked (--objects)"
	case v.Objects == 0:
		s += "; it has no objects"
	case v.Objects == 1:
		s += "; its one object is intact"
	default:
		s += fmt.Sprintf("; its %d objects are intact", v.Objects)
	}
	if v.Seal.OSID != "" {
		s += "; os-id " + v.Seal.OSID
	}
	if len(v.Seal.Refs) > 0 {
		s += "; for ref " + strings.Join(v.Seal.Refs, ", ")
	}
	if v.found != "" {
		s += fmt.Sprintf("; a boot by composefs.ref=%s would want a seal: ask with --keys or --policy", v.found)
	}
	return s
}

func (o *verifyOptions) run(cmd *cobra.Command, u *ui, name string) (verdictReport, error) {
	config, policy, err := o.bootPolicy()
	if err != nil {
		return verdictReport{}, configError{err}
	}
	r, err := openRepo(u, o.repo)
	if err != nil {
		return verdictReport{}, err
	}
	defer r.Close()
	v, err := o.find(r, name)
	if err != nil {
		return v, err
	}
	if v.Ref != "" && o.ref == "" {
		if err := config.Verify.Permits(bootcfg.Cmdline{Ref: v.Ref}, policy.Keys); err != nil {
			return v, configError{fmt.Errorf("%w; a boot by the digest is asked about with that, %s", err, v.Digest.Hex())}
		}
	}
	policy.Ref = v.Ref
	image, err := r.Verify(v.Digest, policy, o.demand(config.Verify.FSVerity))
	if err != nil {
		return v, err
	}
	defer image.Close()
	v.Size, v.Seal = image.Size, newSealVerdict(image.Verdict)
	o.remarkRef(u, r, v)
	v.FSVerity = o.fsVerity(u, config.Verify.FSVerity, image.Measured)
	if o.objects {
		u.progress.start("checking objects")
		v.Checked = true
		v.Objects, err = checkObjects(cmd, u, r, image, v.FSVerity == string(bootcfg.Require))
	}
	return v, err
}

// remarkRef says that the verdict isn't yet about what a boot by the ref would find.
func (o *verifyOptions) remarkRef(u *ui, r *repo.Repo, v verdictReport) {
	if o.ref == "" {
		return
	}
	switch d, err := r.LookupRef(o.ref); {
	case err != nil:
		u.remark("there is no ref %s now: the verdict is for a boot by it once it points to this image", o.ref)
	case d != v.Digest:
		u.remark("the ref %s points to %s now: the verdict is for a boot by it once it points to this image", o.ref, d.Hex())
	}
}

// find returns which image is meant, and by which ref.
func (o *verifyOptions) find(r *repo.Repo, image string) (v verdictReport, err error) {
	v.Ref = o.ref
	if image == "" {
		v.Digest, err = r.LookupRef(o.ref)
		return v, err
	}
	var isRef bool
	switch v.Digest, isRef, err = r.Lookup(image); {
	case !isRef || o.ref != "":
	case len(o.keys) > 0 || o.policy != "":
		v.Ref = image
	default:
		v.found = image
	}
	return v, err
}

// demand returns how the image must have fs-verity.
func (o *verifyOptions) demand(level bootcfg.Requirement) repo.Demand {
	switch {
	case level != bootcfg.Require:
		return repo.AnyContent
	case o.inPlace:
		return repo.RequireVerity
	}
	return repo.AskKernel
}

// fsVerity returns what is reported of fs-verity.
func (o *verifyOptions) fsVerity(u *ui, level bootcfg.Requirement, measured bool) string {
	if level != bootcfg.Require || measured {
		return string(level)
	}
	if o.policy != "" {
		u.remark("the policy requires fs-verity, which this file system or kernel doesn't have: whether the image would boot from here was not checked")
	}
	return "absent"
}

// bootPolicy makes the policy as composefs-setup-root makes it.
func (o *verifyOptions) bootPolicy() (bootcfg.Config, sign.Policy, error) {
	config := bootcfg.DefaultConfig()
	if o.policy != "" {
		text, err := readTrusted(o.policy, bootcfg.MaxConfig)
		if err != nil {
			return config, sign.Policy{}, err
		}
		if config, err = bootcfg.ParseConfig(text); err != nil {
			return config, sign.Policy{}, fmt.Errorf("%s: %w", o.policy, err)
		}
	}
	keys, err := loadKeys(o.keys, loadTrustedKeys)
	if err != nil {
		return config, sign.Policy{}, err
	}
	if len(o.keys) > 0 {
		config.Verify.Keys = o.keys[0] // for messages
	}
	config.Verify.MinimumSequence = max(config.Verify.MinimumSequence, o.minimum)
	if o.minimum > 0 {
		config.Verify.Presumes = "minimum-sequence"
	}
	if o.ref != "" {
		if err := config.Verify.Permits(bootcfg.Cmdline{Ref: o.ref}, keys); err != nil {
			return config, sign.Policy{}, err
		}
	}
	policy, err := config.Verify.Policy(keys)
	if err == nil && len(o.keys) > 0 && len(keys) == 0 && config.Verify.Signature == "" {
		// The boot would ask for no seal, which isn't what someone who names keys means.
		err = fmt.Errorf("%w: %s has no file *.pub", sign.ErrNoKeys, o.keys[0])
	}
	if o.minimum > 0 && o.policy == "" && len(o.keys) == 0 {
		err = errors.New("--minimum-sequence is about seals, which no one checks without a key: name the key with --keys")
	}
	return config, policy, err
}

// readTrusted reads a file as the boot reads its policy.
func readTrusted(name string, limit int64) ([]byte, error) {
	f, err := osfile.OpenTrusted(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return osfile.ReadAll(f, limit)
}

// loadTrustedKeys reads a directory of keys as the boot does.
func loadTrustedKeys(name string) (sign.Keyring, error) {
	dir, err := osfile.OpenTrustedDir(name)
	if cause := (*fs.PathError)(nil); errors.Is(err, fs.ErrNotExist) && errors.As(err, &cause) {
		err = cause.Err // what follows names it
	}
	if err != nil {
		return nil, fmt.Errorf("%s: read the trusted keys: %w", name, err)
	}
	defer dir.Close()
	keys, err := sign.LoadKeyring(osfile.PlainFS{Dir: dir}, ".")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return keys, nil
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

// checkObjects checks all objects that an image names, and that they have fs-verity if
// the boot will insist on it.
func checkObjects(cmd *cobra.Command, u *ui, r *repo.Repo, image *repo.Verified, measure bool) (int, error) {
	img, err := erofs.Open(image, image.Size)
	if err != nil {
		return 0, err
	}
	root, err := repo.CheckImage(img, image.Image)
	if err != nil {
		return 0, err
	}
	objects := slices.SortedFunc(maps.Keys(listing.Objects(root)), verity.Digest.Compare)
	for _, d := range objects {
		if err := cmd.Context().Err(); err != nil {
			return 0, err
		}
		f, err := r.OpenObject(d)
		if kind := (*osfile.KindError)(nil); errors.As(err, &kind) {
			return 0, mismatchError{fmt.Errorf("%w; overlayfs reads only that: remove what is there, and build the image again", err)}
		}
		if err != nil {
			return 0, err
		}
		n, err := checkObject(f, d)
		if err == nil && measure {
			err = checkMeasured(f, d)
		}
		f.Close()
		if err != nil {
			return 0, err
		}
		u.progress.file(n)
	}
	return len(objects), checkSizes(r, root)
}

// checkMeasured wants an object to have fs-verity: the kernel returns nothing of one
// without it.
func checkMeasured(f *os.File, want verity.Digest) error {
	found, err := verity.Measure(f, want.Algorithm())
	if err != nil || found != want {
		return mismatchError{fmt.Errorf("object %s has not the fs-verity digest that the policy requires: install it again (a plain copy loses it)", want.ObjectPath())}
	}
	return nil
}
