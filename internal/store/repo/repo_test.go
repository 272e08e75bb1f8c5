package repo_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/verity"
)

var v1 = repo.Meta{Algorithm: verity.SHA256, Format: erofs.V1}

func TestMetaIsWhatComposefsRsWrites(t *testing.T) {
	for file, want := range map[string]repo.Meta{
		"r256v0.json":   {Algorithm: verity.SHA256, Format: erofs.V0},
		"r256v1.json":   {Algorithm: verity.SHA256, Format: erofs.V1},
		"r256dual.json": {Algorithm: verity.SHA256, Format: erofs.V1, Extra: []erofs.Format{erofs.V2}},
		"r512v2.json":   {Algorithm: verity.SHA512, Format: erofs.V2},
	} {
		text, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		if got := want.Text(); !bytes.Equal(got, text) {
			t.Errorf("%s: written %s", file, got)
		}
		m, err := repo.ParseMeta(text)
		if err != nil || m.Algorithm != want.Algorithm || m.Format != want.Format || !slices.Equal(m.Extra, want.Extra) {
			t.Errorf("%s: read %v, %v", file, m, err)
		}
	}
}

func TestAMetaThatWeCannotHonourIsRefused(t *testing.T) {
	for name, text := range map[string]string{
		"not JSON":             `{`,
		"newer version":        `{"version": 2, "algorithm": "fsverity-sha256-12"}`,
		"no version":           `{"algorithm": "fsverity-sha256-12"}`,
		"other block size":     `{"version": 1, "algorithm": "fsverity-sha256-16"}`,
		"incompatible feature": `{"version": 1, "algorithm": "fsverity-sha256-12", "features": {"incompatible": ["encrypted"]}}`,
		"unknown read-only":    `{"version": 1, "algorithm": "fsverity-sha256-12", "features": {"read-only-compatible": ["new"]}}`,
		"unknown format":       `{"version": 1, "algorithm": "fsverity-sha256-12", "erofs_formats": {"default": 3}}`,
	} {
		if _, err := repo.ParseMeta([]byte(text)); !errors.Is(err, repo.ErrMeta) {
			t.Errorf("%s: found %v", name, err)
		}
	}
}

func FuzzParseMeta(f *testing.F) {
	f.Add(v1.Text())
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := repo.ParseMeta(text)
		if err != nil {
			return
		}
		if again, err := repo.ParseMeta(m.Text()); err != nil || again.String() != m.String() {
			t.Errorf("%s became %s, %v", m, again, err)
		}
	})
}

func open(t *testing.T) (*repo.Repo, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "repo")
	r, err := repo.Init(dir, v1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r, dir
}

func begin(t *testing.T, r *repo.Repo) *repo.Stage {
	t.Helper()
	s, err := r.Begin()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Abort)
	return s
}

// files lists all names below dir but for the directory of unfinished business.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(dir, path)
		if rel == "tmp" {
			return filepath.SkipDir
		}
		if err == nil && rel != "." {
			names = append(names, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func source(t *testing.T, content []byte) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	f.Write(content)
	return f
}

func TestCommitPutsObjectsUnderTheirDigests(t *testing.T) {
	r, dir := open(t)
	s := begin(t, r)
	small, large := bytes.Repeat([]byte("s"), 100), bytes.Repeat([]byte("large"), 1<<20)
	scratch := make([]byte, 64<<10)
	var group sync.WaitGroup
	for range 4 { // the same object from several sides
		for _, content := range [][]byte{small, large} {
			f, own := source(t, content), slices.Clone(scratch)
			group.Go(func() {
				d, err := s.PutFile(f, int64(len(content)), own)
				if err != nil || d != verity.Sum(verity.SHA256, content) {
					t.Errorf("digest %s, %v", d, err)
				}
			})
		}
	}
	group.Wait()
	if got := files(t, dir); !slices.Equal(got, []string{"meta.json"}) {
		t.Errorf("before the commit there is %q", got)
	}
	if err := s.Commit(); err != nil {
		t.Fatal(err)
	}
	for _, content := range [][]byte{small, large} {
		f, err := r.OpenObject(verity.Sum(verity.SHA256, content))
		if err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(f)
		st, _ := f.Stat()
		f.Close()
		if !bytes.Equal(got, content) || st.Mode() != 0o444 {
			t.Errorf("object has %d bytes, mode %v", len(got), st.Mode())
		}
	}
	if st := s.Stats(); st.Stored != 2 || st.Bytes != int64(len(small)+len(large)) {
		t.Errorf("stats %+v", st)
	}
}

func TestAbortLeavesTheRepositoryAsItWas(t *testing.T) {
	r, dir := open(t)
	before := files(t, dir)
	s := begin(t, r)
	if _, err := s.PutBytes(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Put(func(w io.Writer) error { return io.ErrUnexpectedEOF }); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("found %v", err)
	}
	s.Abort()
	if after := files(t, dir); !slices.Equal(before, after) {
		t.Errorf("before %q, after %q", before, after)
	}
}

func TestWhatAKilledBuildLeftIsRemovedAndARunningOneIsNot(t *testing.T) {
	r, dir := open(t)
	running := begin(t, r)
	d, err := running.PutBytes(make([]byte, 1000))
	if err != nil {
		t.Fatal(err)
	}
	killed := filepath.Join(dir, "tmp", "build-killed")
	os.MkdirAll(killed, 0o700)
	os.WriteFile(filepath.Join(killed, d.Hex()), []byte("half"), 0o600)
	begin(t, r)
	if _, err := os.Stat(killed); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the killed build's directory: %v", err)
	}
	if err := running.Commit(); err != nil {
		t.Errorf("the running build: %v", err)
	}
}

func TestAnObjectThatACrashCutShortIsWrittenAnew(t *testing.T) {
	r, dir := open(t)
	content := bytes.Repeat([]byte("x"), 1000)
	d := verity.Sum(verity.SHA256, content)
	path := filepath.Join(dir, "objects", d.ObjectPath())
	os.MkdirAll(filepath.Dir(path), 0o755)
	os.WriteFile(path, nil, 0o444)
	s := begin(t, r)
	if _, err := s.PutBytes(content); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(path); !bytes.Equal(got, content) {
		t.Errorf("the object has %d bytes", len(got))
	}
}

func TestImagesAndRefsAreTheLinksOfComposefsRs(t *testing.T) {
	r, dir := open(t)
	s := begin(t, r)
	d, size, err := s.Put(func(w io.Writer) error { _, err := w.Write(make([]byte, 5000)); return err })
	if err != nil || size != 5000 {
		t.Fatalf("size %d, %v", size, err)
	}
	if err := s.Commit(); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{r.AddImage(d), r.AddImage(d), r.SetRef("debian/13", d), r.SetRef("latest", d)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"images/" + d.Hex():     "../objects/" + d.ObjectPath(),
		"images/refs/debian/13": "../../" + d.Hex(),
		"images/refs/latest":    "../" + d.Hex(),
	} {
		if got, err := os.Readlink(filepath.Join(dir, name)); got != want || err != nil {
			t.Errorf("%s points to %q, %v, want %q", name, got, err, want)
		}
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{d.Hex(), "debian/13", "latest"} {
		if got, err := r.Resolve(name); got != d || err != nil {
			t.Errorf("%s resolves to %s, %v", name, got, err)
		}
	}
	if refs, err := r.Refs(); len(refs) != 2 || refs["debian/13"] != d || err != nil {
		t.Errorf("refs %v, %v", refs, err)
	}
}

func TestNamesThatStandForNoImage(t *testing.T) {
	r, dir := open(t)
	other := verity.Sum(verity.SHA256, []byte("other"))
	os.MkdirAll(filepath.Join(dir, "images", "refs"), 0o755)
	os.Symlink("../objects/"+other.ObjectPath(), filepath.Join(dir, "images", strings.Repeat("0", 64)))
	os.Symlink("../../../etc/passwd", filepath.Join(dir, "images", "refs", "outside"))
	for _, name := range []string{other.Hex(), strings.Repeat("0", 64), "nothing", "outside", "../x", "", "/abs"} {
		if _, err := r.Resolve(name); !errors.Is(err, repo.ErrNoImage) {
			t.Errorf("%q: found %v", name, err)
		}
	}
	for _, name := range []string{"", ".", "..", "a/../b", "/a", "a//b", strings.Repeat("0f", 32), strings.Repeat("0f", 64)} {
		if err := r.SetRef(name, other); !errors.Is(err, repo.ErrRef) {
			t.Errorf("ref %q: found %v", name, err)
		}
	}
}

// composefs-setup-root follows no link on the way to a ref, so neither may we.
func TestARefBehindALinkToADirectoryIsNone(t *testing.T) {
	r, dir := open(t)
	d := verity.Sum(verity.SHA256, []byte("image"))
	if err := errors.Join(r.AddImage(d), r.SetRef("debian/13", d), os.Symlink("debian", filepath.Join(dir, "images", "refs", "kiosk"))); err != nil {
		t.Fatal(err)
	}
	if got, err := r.LookupRef("debian/13"); got != d || err != nil {
		t.Errorf("debian/13: found %s, %v", got, err)
	}
	for _, name := range []string{"kiosk/13", "kiosk"} {
		if got, err := r.LookupRef(name); !errors.Is(err, repo.ErrNoImage) {
			t.Errorf("%s: found %s, %v", name, got, err)
		}
	}
	if refs, err := r.Refs(); len(refs) != 1 || err != nil {
		t.Errorf("refs %v, %v", refs, err)
	}
}

func TestInitTakesTheSameSettingsAgainAndRefusesOthers(t *testing.T) {
	_, dir := open(t)
	again, err := repo.Init(dir, v1)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	before := files(t, dir)
	if _, err := repo.Init(dir, repo.Meta{Algorithm: verity.SHA512, Format: erofs.V1}); !errors.Is(err, repo.ErrOther) {
		t.Errorf("another algorithm: found %v", err)
	}
	if after := files(t, dir); !slices.Equal(before, after) {
		t.Errorf("before %q, after %q", before, after)
	}
	full := t.TempDir()
	os.WriteFile(filepath.Join(full, "letter"), nil, 0o644)
	if _, err := repo.Init(full, v1); err == nil || !strings.Contains(err.Error(), "letter") {
		t.Errorf("a directory with a file in it: found %v", err)
	}
	if _, err := repo.Open(t.TempDir()); !errors.Is(err, repo.ErrNotRepo) {
		t.Errorf("an empty directory: found %v", err)
	}
}

func TestASealReplacesTheOneBeforeWithItsSignatures(t *testing.T) {
	r, _ := open(t)
	d := verity.Sum(verity.SHA256, []byte("image"))
	if _, err := r.ReadSeal(d); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no seal: found %v", err)
	}
	for sequence, signers := range map[uint64]int{1: 2, 2: 1} {
		seal, signatures := sealOf(t, d, sequence, signers)
		if err := r.AddSignatures(seal, signatures, nil); err != nil {
			t.Fatal(err)
		}
		got, err := r.ReadSeal(d)
		if err != nil || !bytes.Equal(got.Text, seal.Text()) || len(got.Signatures) != signers {
			t.Errorf("found %q, %v", got, err)
		}
	}
}
