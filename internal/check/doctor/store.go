package doctor

import (
	"bytes"
	"errors"
	"io/fs"
	"strings"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// MaxImage is the size of the largest image that is looked at, in bytes.
const MaxImage = 1 << 30

// A Store is the repository that the root partition has, or will have.
type Store interface {
	// Ref returns the image that a ref points to.
	Ref(name string) (verity.Digest, error)
	// ReadImage returns the content of an image; fs.ErrNotExist if there is none.
	ReadImage(d verity.Digest) ([]byte, error)
	// ReadSeal is a sign.ReadSeal.
	ReadSeal(f sign.File) ([]byte, error)
	// Missing returns the objects that aren't there.
	Missing(objects []verity.Digest) ([]verity.Digest, error)
	// ReadObject returns the content of an object, which has size bytes;
	// fs.ErrNotExist if there is none. Nobody has verified it.
	ReadObject(d verity.Digest, size int64) ([]byte, error)
	// HasVerity reports whether fs-verity is on for an image; known is false if that
	// is for another file system to say.
	HasVerity(d verity.Digest) (on, known bool)
}

// CheckStore checks that the image that a command line names is in the store, that
// it is the one meant, sealed as the policy wants it, and whole.
func CheckStore(r *Report, s Store, line bootcfg.Cmdline, trust Trust, k Kernel) {
	d, content, ok := findImage(r, s, line)
	if !ok {
		return
	}
	r.Fact("image", "%s", d)
	if err := sign.CheckDigest(d, verity.Sum(d.Algorithm(), content)); err != nil {
		r.Stop("digest", "%v", err)
		return
	}
	if on, known := s.HasVerity(d); known && !on && trust.Sound && trust.Config.Verify.FSVerity == bootcfg.Require {
		r.Stop("fs-verity/image", "image %s has no fs-verity, which the policy requires", d.Hex())
	}
	checkSeal(r, s, d, line.Ref, trust)
	img, err := erofs.Open(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		r.Stop("image/stored", "%v", err)
		return
	}
	checkObjects(r, s, img, Image(r, img, s, line, trust.Config, k))
}

// findImage returns the first of the images that exists, as the boot does.
func findImage(r *Report, s Store, line bootcfg.Cmdline) (verity.Digest, []byte, bool) {
	var want []verity.Digest
	for _, i := range line.Images {
		want = append(want, i.Digest)
	}
	if line.Ref != "" {
		d, err := s.Ref(line.Ref)
		if err != nil {
			r.Stop("image/ref", "composefs.ref=%s: %v", line.Ref, err)
			return d, nil, false
		}
		want = []verity.Digest{d}
	}
	for _, d := range want {
		content, err := s.ReadImage(d)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			r.Stop("image/unreadable", "image %s: %v", d.Hex(), err)
		}
		return d, content, err == nil
	}
	if len(want) > 0 {
		r.Stop("image/none", "none of the images that the command line names is in the repository, the first is %s", want[0].Hex())
	}
	return verity.Digest{}, nil, false
}

// checkSeal gives the verdict of the boot.
func checkSeal(r *Report, s Store, d verity.Digest, ref string, trust Trust) {
	if !trust.Sound {
		return
	}
	policy, err := trust.Config.Verify.Policy(trust.Keys)
	if err != nil {
		return // Examine has said so
	}
	policy.Ref = ref
	v, err := policy.Check(d, s.ReadSeal)
	switch {
	case errors.Is(err, fs.ErrPermission): // it isn't the seal that is in the way
		r.Stop("seal/unreadable", "%v", errors.Unwrap(err))
	case err != nil:
		r.Stop("seal", "%v", err)
	case v.Status == sign.Sealed:
		sealFact(r, v.Key.ID, v.Key.Name, v.Statement.Sequence, v.Statement.OSID, v.Statement.Refs)
	}
}

// sealFact says what a seal says.
func sealFact(r *Report, key sign.KeyID, name string, sequence uint64, osID string, refs []string) {
	more := ""
	if osID != "" {
		more = ", os-id " + osID
	}
	if len(refs) > 0 {
		more += ", for ref " + strings.Join(refs, ", ")
	}
	r.Fact("seal", "by key %s %s, sequence %d%s", key, name, sequence, more)
}

// checkObjects looks whether all objects are there. Reading them is another matter: so many
// were read.
func checkObjects(r *Report, s Store, img *erofs.Image, read int) {
	seen := map[verity.Digest]bool{}
	var objects []verity.Digest
	for d, err := range img.Objects() {
		if err != nil {
			return // its tree can't be read, which Image has said
		}
		if !seen[d] {
			seen[d], objects = true, append(objects, d)
		}
	}
	missing, err := s.Missing(objects)
	switch {
	case err != nil:
		r.Stop("objects/unreadable", "look for the objects: %v", err)
	case len(missing) > 0:
		r.Stop("objects", "%d of the %d objects of the image are missing, the first is %s", len(missing), len(objects), missing[0].ObjectPath())
	default:
		r.Fact("objects", "%d, all there, their contents not read", len(objects))
		if n := len(objects) - read; n > 0 {
			r.Fact("unread", "%d of the objects: only the content of init, and of what it is linked with, was checked", n)
		}
	}
}
