package disk

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// An Object is a file of the object store. Images are objects as well.
type Object struct {
	Digest verity.Digest
	Size   int64
	Open   func() (io.ReadCloser, error)
}

// A Deployment is the writable state of an image.
type Deployment struct {
	Image verity.Digest
	Var   []Entry // what /var begins with; paths relative to it
}

// A Layout is the content of a root partition as composefs-setup-root expects it:
//
//	composefs/meta.json
//	composefs/objects/0f/0e…          mode 0444, fs-verity on; objects/ itself 0700
//	composefs/images/<hex>         -> ../objects/0f/0e…
//	composefs/images/refs/<name>   -> ../<hex>
//	composefs/seals/<hex>.seal …
//	state/deploy/<hex>/etc/{upper,work}
//	state/deploy/<hex>/var
//
// More, for instance streams, can be appended to the result of Entries.
type Layout struct {
	Algorithm verity.Algorithm // fs-verity of meta.json
	Meta      []byte           // text of meta.json
	Objects   []Object
	Images    []verity.Digest          // get a link images/<hex>; must be among Objects
	Refs      map[string]verity.Digest // name, with slashes perhaps, to image
	Seals     map[sign.File][]byte     // their contents
	Deploy    []Deployment
}

// Entries returns the entries of the partition.
func (l Layout) Entries() ([]Entry, error) {
	out := []Entry{
		dir("composefs", 0o755), dir("composefs/objects", 0o700), dir("composefs/images", 0o755),
		dir("composefs/images/refs", 0o755), dir(path.Join("composefs", sign.Directory), 0o755),
		dir("composefs/streams", 0o755), dir("composefs/streams/refs", 0o755), dir("state/deploy", 0o755),
		{
			Path: "composefs/meta.json", Mode: 0o644, Size: int64(len(l.Meta)), Open: Bytes(l.Meta),
			Digest: verity.Sum(l.Algorithm, l.Meta), Verity: true,
		},
	}
	have := make(map[verity.Digest]bool, len(l.Objects))
	for _, o := range l.Objects {
		if have[o.Digest] {
			continue // images may have objects in common
		}
		have[o.Digest] = true
		out = append(out, Entry{Path: "composefs/objects/" + o.Digest.ObjectPath(), Mode: 0o444, Size: o.Size, Open: o.Open, Digest: o.Digest, Verity: true})
	}
	for _, d := range l.Images {
		if !have[d] {
			return nil, fmt.Errorf("%w: image %s is not among the objects", ErrEntry, d)
		}
		out = append(out, symlink("composefs/images/"+d.Hex(), "../objects/"+d.ObjectPath()))
	}
	for _, name := range slices.Sorted(maps.Keys(l.Refs)) {
		if !slices.Contains(l.Images, l.Refs[name]) {
			return nil, fmt.Errorf("%w: ref %q is to %s, which is not among the images", ErrEntry, name, l.Refs[name])
		}
		up := strings.Repeat("../", 1+strings.Count(name, "/"))
		out = append(out, symlink("composefs/images/refs/"+name, up+l.Refs[name].Hex()))
	}
	for _, f := range slices.SortedFunc(maps.Keys(l.Seals), sign.File.Compare) {
		out = append(out, Entry{Path: path.Join("composefs", sign.Directory, f.Name()), Mode: 0o644, Size: int64(len(l.Seals[f])), Open: Bytes(l.Seals[f])})
	}
	for _, d := range l.Deploy {
		out = append(out, d.entries()...)
	}
	return out, nil
}

func (d Deployment) entries() []Entry {
	base := "state/deploy/" + d.Image.Hex()
	out := []Entry{dir(base, 0o755), dir(base+"/etc", 0o755), dir(base+"/etc/upper", 0o755), dir(base+"/etc/work", 0o755)}
	top := dir(base+"/var", 0o755)
	for _, e := range d.Var {
		if e.Path == "." {
			top.Mode, top.UID, top.GID = e.Mode, e.UID, e.GID
			continue
		}
		e.Path = path.Join(base, "var", e.Path)
		out = append(out, e)
	}
	return append(out, top)
}

func dir(name string, perm fs.FileMode) Entry { return Entry{Path: name, Mode: fs.ModeDir | perm} }

func symlink(name, target string) Entry {
	return Entry{Path: name, Mode: fs.ModeSymlink | 0o777, Target: target}
}
