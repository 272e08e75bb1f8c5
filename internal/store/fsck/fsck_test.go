package fsck_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/oci"
	"github.com/composefs-go/composefs/internal/store/fsck"
	"github.com/composefs-go/composefs/internal/store/ocistore"
	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

const layouts = "../../../cmd/mkimage/testdata/oci/layouts/"

// A store is a repository with an image and a container image, to damage.
type store struct {
	t     *testing.T
	dir   string
	image verity.Digest
	file  verity.Digest // content of /a and /b in it
	*repo.Repo
}

func newStore(t *testing.T) *store {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "repo")
	r, err := repo.Init(dir, repo.Meta{Algorithm: verity.SHA256, Format: erofs.V1})
	s := &store{t: t, dir: dir, Repo: r}
	s.must(err)
	t.Cleanup(func() { r.Close() })
	stage, err := r.Begin()
	s.must(err)
	content := strings.Repeat("content", 100)
	s.file, err = stage.PutBytes([]byte(content))
	s.must(err)
	root := &tree.Node{Kind: tree.Directory, Perm: 0o755}
	for _, name := range []string{"a", "b"} {
		s.must(root.Add(name, &tree.Node{Kind: tree.Regular, Perm: 0o644, Size: uint64(len(content)), Object: s.file, Payload: s.file.ObjectPath()}))
	}
	tree.Relink(root)
	s.image, _, err = stage.Put(func(w io.Writer) error { return erofs.Write(w, root, erofs.V1) })
	s.must(err)
	s.must(stage.Commit())
	s.must(r.AddImage(s.image))
	s.must(r.SetRef("os", s.image))
	i, err := oci.Open(context.Background(), oci.Reference{Transport: oci.Layout, Path: layouts + "whiteouts"}, oci.Options{})
	s.must(err)
	defer i.Close()
	_, err = ocistore.Pull(context.Background(), r, i, ocistore.Options{Tag: "t"})
	s.must(err)
	return s
}

func (s *store) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *store) object(d verity.Digest) string {
	return filepath.Join(s.dir, "objects", d.ObjectPath())
}

// rewrite replaces an object, whose place in a store may have fs-verity.
func (s *store) rewrite(d verity.Digest, change func([]byte) []byte) {
	b, err := os.ReadFile(s.object(d))
	s.must(err)
	s.must(os.Remove(s.object(d)))
	s.must(os.WriteFile(s.object(d), change(b), 0o444))
}

func flip(b []byte) []byte { b[len(b)/2] ^= 1; return b }

// stream returns the object of the first stream whose name has a prefix, and the name.
func (s *store) stream(prefix string) (verity.Digest, string) {
	names, err := s.StreamNames()
	s.must(err)
	for _, name := range names {
		if strings.HasPrefix(name, prefix) {
			d, err := s.LookupStream(name)
			s.must(err)
			return d, name
		}
	}
	s.t.Fatal("no stream", prefix)
	return verity.Digest{}, ""
}

func (s *store) seal(d verity.Digest, text []byte) {
	s.must(os.MkdirAll(filepath.Join(s.dir, sign.Directory), 0o755))
	s.must(os.WriteFile(filepath.Join(s.dir, sign.Directory, d.Hex()+".seal"), text, 0o644))
}

func TestAWholeRepositoryHasNoFindings(t *testing.T) {
	s := newStore(t)
	seal, err := sign.NewSeal(sign.Statement{Digest: s.image, Format: "erofs-v1", Size: 4096, Sequence: 1})
	s.must(err)
	s.seal(s.image, seal.Text())
	for _, metadata := range []bool{false, true} {
		r, err := fsck.Check(context.Background(), s.Repo, fsck.Options{Metadata: metadata})
		if err != nil || len(r.Findings) > 0 || r.Images != 2 || r.Streams != 5 || r.Refs != 2 || r.Seals != 1 || r.Objects < 10 {
			t.Errorf("found %+v, %v", r, err)
		}
	}
}

func TestWhateverIsWrongIsFound(t *testing.T) {
	for name, c := range map[string]struct {
		damage   func(*store)
		findings []string // KIND, problem, and what it hurts
		metadata bool     // is found without reading contents
	}{
		"a damaged object": {func(s *store) { s.rewrite(s.file, flip) },
			[]string{"object: its content has the digest; IMAGE /a; IMAGE /b"}, false},
		"a missing object": {func(s *store) { s.must(os.Remove(s.object(s.file))) },
			[]string{"object: it is missing; IMAGE /a; IMAGE /b"}, true},
		"an object that is cut": {func(s *store) { s.rewrite(s.file, func(b []byte) []byte { return b[:10] }) },
			[]string{"object: digest; IMAGE /a; IMAGE /b"}, false},
		"a link in an object's place": {func(s *store) {
			s.must(os.Rename(s.object(s.file), filepath.Join(s.dir, "moved")))
			s.must(os.Symlink(filepath.Join(s.dir, "moved"), s.object(s.file)))
		}, []string{"object: it isn't a regular file; IMAGE /a; IMAGE /b"}, true},
		"a foreign file": {func(s *store) { s.must(os.WriteFile(filepath.Join(s.dir, "objects/README"), nil, 0o644)) },
			[]string{"stray: its name isn't one of an object"}, true},
		"a foreign file among the images": {func(s *store) { s.must(os.WriteFile(filepath.Join(s.dir, "images/junk"), nil, 0o644)) },
			[]string{"stray: it isn't a symbolic link"}, true},
		"a directory in an object's place": {func(s *store) {
			s.must(os.Remove(s.object(s.file)))
			s.must(os.MkdirAll(s.object(s.file)+"/x", 0o755))
		}, []string{"object: it isn't a regular file; IMAGE /a; IMAGE /b"}, true},
		"a layer without its name": {func(s *store) {
			_, name := s.stream("oci-layer-")
			s.must(os.Remove(filepath.Join(s.dir, "streams", name)))
		}, []string{"stream: no such stream: ", "stream: no such stream: "}, true},
		"a container image's image without its name": {func(s *store) {
			names, err := s.ImageNames()
			s.must(err)
			for _, name := range names {
				if name != s.image.Hex() {
					s.must(os.Remove(filepath.Join(s.dir, "images", name)))
				}
			}
		}, []string{"stream: no such image: "}, true},
		"a damaged image": {func(s *store) { s.rewrite(s.image, flip) },
			[]string{"image: its content has the digest", "object: its content has the digest"}, false},
		"an image that is gone": {func(s *store) { s.must(os.Remove(s.object(s.image))) },
			[]string{"image: the object of image"}, true},
		"the name of an image is gone": {func(s *store) { s.must(os.Remove(filepath.Join(s.dir, "images", s.image.Hex()))) },
			[]string{"ref: no such image"}, true},
		"an image with another's name": {func(s *store) {
			name := filepath.Join(s.dir, "images", s.image.Hex())
			s.must(os.Remove(name))
			s.must(os.Symlink("../objects/"+s.file.ObjectPath(), name))
		}, []string{"image: points to", "ref: points to"}, true},
		"a name that is no digest": {func(s *store) { s.must(os.Symlink("x", filepath.Join(s.dir, "images/x"))) },
			[]string{"image: isn't the digest of an image"}, true},
		"a tag that leads nowhere": {func(s *store) {
			_, name := s.stream("oci-manifest-")
			s.must(os.Remove(filepath.Join(s.dir, "streams", name)))
		}, []string{"tag: no such stream"}, true},
		"a stream whose object is gone": {func(s *store) {
			d, _ := s.stream("oci-config-")
			s.must(os.Remove(s.object(d)))
		}, []string{"stream: no such object", `stream: what its ref "config:sha256:`}, true},
		"a damaged stream": {func(s *store) {
			d, _ := s.stream("oci-layer-")
			s.rewrite(d, flip)
		}, []string{"object: its content has the digest", "stream: want the digest"}, false},
		"a layer with another's name": {func(s *store) {
			d, _ := s.stream("oci-layer-")
			s.must(s.SetStream("oci-layer-sha256:"+strings.Repeat("0", 64), d))
		}, []string{"stream: its content has the digest sha256:"}, false},
		"a configuration with another's name": {func(s *store) {
			d, _ := s.stream("oci-config-")
			s.must(s.SetStream("oci-config-sha256:"+strings.Repeat("0", 64), d))
		}, []string{"stream: its content has the digest sha256:"}, true},
		"a manifest in the place of a layer": {func(s *store) {
			d, _ := s.stream("oci-manifest-")
			s.must(s.SetStream("oci-config-sha256:"+strings.Repeat("0", 64), d))
		}, []string{"stream: want a stream of the type ociconfg, found ocimanif"}, true},
		"a seal that can't be read": {func(s *store) { s.seal(s.image, []byte("x")) }, []string{"seal: "}, true},
		"another image's seal": {func(s *store) {
			seal, err := sign.NewSeal(sign.Statement{Digest: s.file, Format: "erofs-v1", Size: 4096, Sequence: 1})
			s.must(err)
			s.seal(s.image, seal.Text())
		}, []string{"seal: it is the seal of image"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			c.damage(s)
			s.compare(fsck.Options{}, c.findings)
			if c.metadata {
				s.compare(fsck.Options{Metadata: true}, c.findings)
			}
		})
	}
}

// compare checks for findings.
func (s *store) compare(o fsck.Options, want []string) {
	s.t.Helper()
	r, err := fsck.Check(context.Background(), s.Repo, o)
	s.must(err)
	if len(r.Findings) != len(want) {
		s.t.Fatalf("want %q, found %+v", want, r.Findings)
	}
	for i, f := range r.Findings {
		kind, rest, _ := strings.Cut(want[i], ": ")
		parts := strings.Split(rest, "; ")
		// Where there is fs-verity, what was rewritten has lost it.
		lost := s.Secure() && strings.Contains(f.Problem, "no fs-verity")
		if f.Kind != kind || !lost && !strings.Contains(f.Problem, parts[0]) {
			s.t.Errorf("want %q, found %+v", want[i], f)
		}
		hurts := strings.ReplaceAll(strings.Join(f.Hurts, "; "), s.image.Hex(), "IMAGE")
		if hurts != strings.Join(parts[1:], "; ") {
			s.t.Errorf("want %q, found %q", want[i], hurts)
		}
	}
}

func TestAnInterruptedCheckEnds(t *testing.T) {
	s := newStore(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := fsck.Check(ctx, s.Repo, fsck.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("want it interrupted, found %v", err)
	}
}
