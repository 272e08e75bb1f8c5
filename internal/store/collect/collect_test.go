package collect_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/oci"
	"github.com/composefs-go/composefs/internal/store/collect"
	"github.com/composefs-go/composefs/internal/store/ocistore"
	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

const layouts = "../../../cmd/mkimage/testdata/oci/layouts/"

// A store is a repository that a test fills.
type store struct {
	t   *testing.T
	dir string
	*repo.Repo
}

func newStore(t *testing.T) *store {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "repo")
	r, err := repo.Init(dir, repo.Meta{Algorithm: verity.SHA256, Format: erofs.V1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return &store{t, dir, r}
}

// image adds an image with a file of each content.
func (s *store) image(contents ...string) verity.Digest {
	s.t.Helper()
	stage, err := s.Begin()
	s.must(err)
	root := &tree.Node{Kind: tree.Directory, Perm: 0o755}
	for _, content := range contents {
		content = strings.Repeat(content, 100)
		d, err := stage.PutBytes([]byte(content))
		s.must(err)
		n := &tree.Node{Kind: tree.Regular, Perm: 0o644, Size: uint64(len(content)), Object: d, Payload: d.ObjectPath()}
		s.must(root.Add(content[:1], n))
	}
	tree.Relink(root)
	d, _, err := stage.Put(func(w io.Writer) error { return erofs.Write(w, root, erofs.V1) })
	s.must(err)
	s.must(stage.Commit())
	s.must(s.AddImage(d))
	return d
}

func (s *store) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *store) seal(d verity.Digest) {
	s.t.Helper()
	s.must(os.MkdirAll(filepath.Join(s.dir, sign.Directory), 0o755))
	s.must(os.WriteFile(filepath.Join(s.dir, sign.Directory, d.Hex()+".seal"), []byte("composefs-seal 1\n"), 0o644))
}

func (s *store) pull(layout, tag string, bootable bool) ocistore.Pulled {
	s.t.Helper()
	r, err := oci.ParseReference("oci:" + layouts + layout)
	s.must(err)
	i, err := oci.Open(context.Background(), r, oci.Options{})
	s.must(err)
	defer i.Close()
	done, err := ocistore.Pull(context.Background(), s.Repo, i, ocistore.Options{Tag: tag, Bootable: bootable})
	s.must(err)
	return done
}

// objects lists the objects.
func (s *store) objects() (all []string) {
	for f, err := range s.Objects(context.Background()) {
		s.must(err)
		all = append(all, filepath.Base(filepath.Dir(f.Path))+filepath.Base(f.Path))
	}
	return all
}

// collect removes the garbage.
func (s *store) collect(o collect.Options) (*collect.Plan, error) {
	s.t.Helper()
	s.must(s.Exclude())
	defer s.Share()
	p, err := collect.New(context.Background(), s.Repo, o)
	if err == nil {
		s.must(p.Apply(context.Background(), s.Repo))
	}
	return p, err
}

func (s *store) has(d verity.Digest) bool {
	_, err := s.LookupImage(d.Hex())
	return err == nil && s.HasObject(d)
}

func TestOnlyWhatNothingLeadsToIsRemoved(t *testing.T) {
	s := newStore(t)
	byRef, sealed, asked, unused := s.image("a", "shared"), s.image("b", "shared"), s.image("c"), s.image("d", "shared")
	s.must(s.SetRef("os/stable", byRef))
	s.seal(sealed)
	s.seal(verity.Sum(verity.SHA256, []byte("an image that has gone")))
	p, err := s.collect(collect.Options{Keep: map[verity.Digest]string{asked: "this machine has booted it", verity.Sum(verity.SHA256, nil): "gone"}})
	s.must(err)
	for d, want := range map[verity.Digest]bool{byRef: true, sealed: true, asked: true, unused: false} {
		if s.has(d) != want {
			t.Errorf("image %s: want it there %v", d.Hex(), want)
		}
	}
	want := []collect.Item{{Kind: collect.Image, Name: unused.Hex(), Reason: collect.Unused}}
	if !slices.Equal(p.Removed, want) || p.Objects != 2 || p.Left != 7 || len(s.objects()) != 7 {
		t.Errorf("found %+v, %d objects", p, len(s.objects()))
	}
	for _, i := range p.Kept {
		if want := map[string]string{byRef.Hex(): "ref os/stable leads to it", sealed.Hex(): "it is sealed", asked.Hex(): "this machine has booted it"}[i.Name]; i.Reason != want {
			t.Errorf("%s stays since %q, want %q", i, i.Reason, want)
		}
	}
	if again, err := s.collect(collect.Options{}); err != nil || again.Objects != 2 {
		t.Errorf("without what was asked for: %+v, %v", again, err)
	}
}

// All that a container image needs stays as long as one of its tags does.
func TestContainerImagesStayWithTheirTags(t *testing.T) {
	s := newStore(t)
	first := s.pull("bootable", "os", true)
	s.must(ocistore.Tag(s.Repo, "os", "os/second"))
	other := s.pull("whiteouts", "other", false)
	all := s.objects()
	for _, step := range []struct {
		untag       string
		first, rest bool
	}{{"", true, true}, {"os", true, true}, {"other", true, false}} {
		if step.untag != "" {
			s.must(ocistore.Untag(s.Repo, step.untag))
		}
		_, err := s.collect(collect.Options{})
		s.must(err)
		for _, i := range first.Images {
			if !s.has(i.Digest) {
				t.Errorf("after removing %q: image %s is gone", step.untag, i.Digest.Hex())
			}
		}
		if s.has(other.Images[0].Digest) != step.rest {
			t.Errorf("after removing %q: want the other image there %v", step.untag, step.rest)
		}
		if step.rest && !slices.Equal(s.objects(), all) {
			t.Errorf("after removing %q: objects are gone", step.untag)
		}
	}
	// What is left is whole: pulling again adds nothing.
	if again := s.pull("bootable", "os", true); again.Stats.Stored != 0 || again.Replaced != 0 {
		t.Errorf("found %+v", again)
	}
	s.must(ocistore.Untag(s.Repo, "os"))
	s.must(ocistore.Untag(s.Repo, "os/second"))
	if _, err := s.collect(collect.Options{}); !errors.Is(err, collect.ErrNoRoot) {
		t.Errorf("want %v, found %v", collect.ErrNoRoot, err)
	}
	p, err := s.collect(collect.Options{Everything: true})
	s.must(err)
	if len(s.objects()) > 0 || p.Left != 0 {
		t.Errorf("found %v", s.objects())
	}
}

// If it isn't known what is needed, nothing goes.
func TestInDoubtNothingIsRemoved(t *testing.T) {
	for name, damage := range map[string]func(*store, verity.Digest, ocistore.Pulled){
		"a ref leads nowhere": func(s *store, d verity.Digest, _ ocistore.Pulled) {
			s.must(os.Remove(filepath.Join(s.dir, "images", d.Hex())))
		},
		"the object of an image is gone": func(s *store, d verity.Digest, _ ocistore.Pulled) {
			s.must(os.Remove(filepath.Join(s.dir, "objects", d.ObjectPath())))
		},
		"an image is damaged": func(s *store, d verity.Digest, _ ocistore.Pulled) { s.flip(d) },
		"an image leads elsewhere": func(s *store, d verity.Digest, _ ocistore.Pulled) {
			name := filepath.Join(s.dir, "images", d.Hex())
			s.must(os.Remove(name))
			s.must(os.Symlink("../objects/"+verity.Sum(verity.SHA256, nil).ObjectPath(), name))
		},
		"a tag leads nowhere": func(s *store, _ verity.Digest, p ocistore.Pulled) {
			s.must(os.Remove(filepath.Join(s.dir, "streams/oci-manifest-"+p.Manifest)))
		},
		"a stream is damaged": func(s *store, _ verity.Digest, p ocistore.Pulled) {
			d, err := s.LookupStream("oci-config-" + p.Config)
			s.must(err)
			s.flip(d)
		},
		"a layer's stream is gone": func(s *store, _ verity.Digest, p ocistore.Pulled) {
			names, err := filepath.Glob(filepath.Join(s.dir, "streams/oci-layer-*"))
			s.must(err)
			target, err := filepath.EvalSymlinks(names[0])
			s.must(err)
			s.must(os.Remove(target))
		},
		"a ref is a file": func(s *store, _ verity.Digest, _ ocistore.Pulled) {
			s.must(os.WriteFile(filepath.Join(s.dir, "images/refs/file"), nil, 0o644))
		},
		"a stream is a file": func(s *store, _ verity.Digest, _ ocistore.Pulled) {
			s.must(os.WriteFile(filepath.Join(s.dir, "streams/file"), nil, 0o644))
		},
		"refs are behind a link": func(s *store, _ verity.Digest, _ ocistore.Pulled) {
			s.must(os.Rename(filepath.Join(s.dir, "streams/refs"), filepath.Join(s.dir, "streams/elsewhere")))
			s.must(os.Symlink("elsewhere", filepath.Join(s.dir, "streams/refs")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			d := s.image("a")
			s.image("garbage")
			s.must(s.SetRef("os", d))
			damage(s, d, s.pull("basic-gzip", "t", false))
			before := s.objects()
			if p, err := s.collect(collect.Options{}); err == nil {
				t.Errorf("found %+v", p)
			}
			if !slices.Equal(s.objects(), before) {
				t.Error("objects were removed")
			}
		})
	}
}

// flip damages an object.
func (s *store) flip(d verity.Digest) {
	name := filepath.Join(s.dir, "objects", d.ObjectPath())
	b, err := os.ReadFile(name)
	s.must(err)
	b[len(b)-1] ^= 1
	s.must(os.Remove(name))
	s.must(os.WriteFile(name, b, 0o444))
}

// Others' files among the objects stay, except what a stopped composefs-rs leaves.
func TestOnlyObjectsAndLeftoversAreRemoved(t *testing.T) {
	s := newStore(t)
	s.must(s.SetRef("os", s.image("a")))
	garbage := s.image("b")
	for _, name := range []string{"README", ".tmp-object-AbCdEfGhIjKl", "00/short"} {
		name = filepath.Join(s.dir, "objects", name)
		s.must(os.MkdirAll(filepath.Dir(name), 0o755))
		s.must(os.WriteFile(name, []byte("x"), 0o644))
	}
	p, err := s.collect(collect.Options{})
	s.must(err)
	for name, want := range map[string]bool{"README": true, "00/short": true, ".tmp-object-AbCdEfGhIjKl": false, garbage.ObjectPath(): false} {
		if _, err := os.Lstat(filepath.Join(s.dir, "objects", name)); (err == nil) != want {
			t.Errorf("%s: want it there %v", name, want)
		}
	}
	if p.Objects != 3 || len(p.Removed) != 2 {
		t.Errorf("found %+v", p)
	}
}

// A plan alone changes nothing, and another process may read meanwhile.
func TestAPlanChangesNothing(t *testing.T) {
	s := newStore(t)
	s.must(s.SetRef("os", s.image("a")))
	s.image("b")
	other, err := repo.Open(s.dir)
	s.must(err)
	defer other.Close()
	before := s.objects()
	p, err := collect.New(context.Background(), s.Repo, collect.Options{})
	s.must(err)
	if p.Objects != 2 || p.Bytes < 100 || !slices.Equal(s.objects(), before) {
		t.Errorf("found %+v", p)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := collect.New(ctx, s.Repo, collect.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("want it interrupted, found %v", err)
	}
}
