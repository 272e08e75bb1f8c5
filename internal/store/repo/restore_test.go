package repo_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/verity"
)

// withImages makes a repository that has an image of each format and an object.
func withImages(t *testing.T, meta repo.Meta, formats ...erofs.Format) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "repo")
	r, err := repo.Init(dir, meta)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	put(t, r, bytes.Repeat([]byte("x"), 5000))
	for _, f := range formats {
		s := begin(t, r)
		d, _, err := s.Put(func(w io.Writer) error { return erofs.Write(w, &tree.Node{Kind: tree.Directory, Perm: 0o755}, f) })
		if err = errors.Join(err, s.Commit(), r.AddImage(d)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// What is left of meta.json may be nothing, or what a power cut or a bad disk left.
var lostMetas = map[string]func(file string) error{
	"gone":  os.Remove,
	"empty": func(file string) error { return rewrite(file, "") },
	"zeros": func(file string) error { return rewrite(file, strings.Repeat("\x00", 250)) },
	"half": func(file string) error {
		text, err := os.ReadFile(file)
		return errors.Join(err, rewrite(file, string(text[:len(text)/2])))
	},
}

// rewrite makes another file of the name: with fs-verity the old one can't be written to.
func rewrite(file, text string) error {
	return errors.Join(os.Remove(file), os.WriteFile(file, []byte(text), 0o644))
}

func TestALostMetaIsRestoredWithTheSettingsOfWhatIsThere(t *testing.T) {
	for _, want := range []repo.Meta{
		{Algorithm: verity.SHA256, Format: 0}, {Algorithm: verity.SHA256, Format: 1}, {Algorithm: verity.SHA256, Format: 2},
		{Algorithm: verity.SHA512, Format: 1}, {Algorithm: verity.SHA512, Format: 2},
	} {
		for name, lose := range lostMetas {
			dir := withImages(t, want, want.Format)
			if err := lose(filepath.Join(dir, "meta.json")); err != nil {
				t.Fatal(err)
			}
			var lost *repo.LostMetaError
			if _, err := repo.Open(dir); !errors.As(err, &lost) {
				t.Errorf("%s %s: open: found %v", want, name, err)
			}
			if _, err := repo.Init(dir, v1); !errors.As(err, &lost) {
				t.Errorf("%s %s: init: found %v", want, name, err)
			}
			if meta, err := repo.Restore(dir, repo.Wanted{}); err != nil || meta.String() != want.String() {
				t.Errorf("%s %s: restored %s, %v", want, name, meta, err)
			}
			text, err := os.ReadFile(filepath.Join(dir, "meta.json"))
			if err != nil || !bytes.Equal(text, want.Text()) {
				t.Errorf("%s %s: written %s, %v", want, name, text, err)
			}
		}
	}
}

func TestRestoreNeverChangesTheAlgorithmNorGuesses(t *testing.T) {
	sha512, sha256, two := verity.SHA512, verity.SHA256, erofs.V2
	gone := func(dir string) error { return os.Remove(filepath.Join(dir, "meta.json")) }
	for _, c := range []struct {
		name    string
		formats []erofs.Format
		change  func(dir string) error
		want    repo.Wanted
		cause   error // nil: it is restored
	}{
		{"the other algorithm", []erofs.Format{erofs.V1}, gone, repo.Wanted{Algorithm: &sha256}, repo.ErrOther},
		{"the same algorithm", []erofs.Format{erofs.V1}, gone, repo.Wanted{Algorithm: &sha512}, nil},
		{"another default than its images'", []erofs.Format{erofs.V1}, gone, repo.Wanted{Format: &two}, repo.ErrOther},
		{"the default that there is", []erofs.Format{erofs.V2}, gone, repo.Wanted{Format: &two}, nil},
		{"a default without images", nil, gone, repo.Wanted{Format: &two}, nil},
		{"only the name of an image is left", []erofs.Format{erofs.V1}, func(dir string) error {
			return errors.Join(gone(dir), os.RemoveAll(filepath.Join(dir, "objects")), os.Mkdir(filepath.Join(dir, "objects"), 0o755))
		}, repo.Wanted{Algorithm: &sha256}, repo.ErrOther},
		{"only a seal is left", nil, func(dir string) error {
			seals := filepath.Join(dir, "seals")
			return errors.Join(gone(dir), os.RemoveAll(filepath.Join(dir, "objects")), os.Mkdir(filepath.Join(dir, "objects"), 0o755),
				os.MkdirAll(seals, 0o755), os.WriteFile(filepath.Join(seals, strings.Repeat("0d", 64)+".seal.minisig"), nil, 0o644))
		}, repo.Wanted{Algorithm: &sha256}, repo.ErrOther},
		{"images of two formats", []erofs.Format{erofs.V1, erofs.V2}, gone, repo.Wanted{}, repo.ErrUndecided},
		{"images of two formats, and a choice", []erofs.Format{erofs.V1, erofs.V2}, gone, repo.Wanted{Format: &two}, nil},
		{"objects of two algorithms", nil, func(dir string) error {
			other := filepath.Join(dir, "objects/0d")
			return errors.Join(gone(dir), os.MkdirAll(other, 0o755), os.WriteFile(filepath.Join(other, strings.Repeat("0d", 31)), nil, 0o644))
		}, repo.Wanted{}, repo.ErrUndecided},
	} {
		dir := withImages(t, repo.Meta{Algorithm: sha512, Format: 1}, c.formats...)
		if err := c.change(dir); err != nil {
			t.Fatal(err)
		}
		meta, err := repo.Restore(dir, c.want)
		if c.cause == nil && (err != nil || meta.Algorithm != sha512 || c.want.Format != nil && meta.Format != *c.want.Format) {
			t.Errorf("%s: restored %s, %v", c.name, meta, err)
		}
		_, there := os.Stat(filepath.Join(dir, "meta.json"))
		if c.cause != nil && (!errors.Is(err, c.cause) || there == nil) {
			t.Errorf("%s: found %v, meta.json %v", c.name, err, there)
		}
	}
}

// A meta.json that a newer program wrote isn't damaged, and other directories aren't
// repositories.
func TestRestoreTouchesNothingThatIsSound(t *testing.T) {
	for name, text := range map[string]string{
		"newer version": `{"version": 2, "algorithm": "fsverity-sha256-12"}`,
		"new algorithm": `{"version": 1, "algorithm": "fsverity-blake3-12"}`,
		"new feature":   `{"version": 1, "algorithm": "fsverity-sha256-12", "features": {"incompatible": ["encrypted"]}}`,
		"other types":   `{"version": "two"}`,
		"ours":          string(v1.Text()),
	} {
		dir := withImages(t, v1, erofs.V1)
		file := filepath.Join(dir, "meta.json")
		if err := rewrite(file, text); err != nil {
			t.Fatal(err)
		}
		_, err := repo.Restore(dir, repo.Wanted{})
		if have, _ := os.ReadFile(file); err == nil || string(have) != text {
			t.Errorf("%s: found %v, and %s", name, err, have)
		}
	}
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "letter"), nil, 0o644)
	if _, err := repo.Restore(dir, repo.Wanted{}); !errors.Is(err, repo.ErrNotRepo) {
		t.Errorf("a directory with something else: found %v", err)
	}
	if _, err := repo.Init(dir, v1); !errors.Is(err, repo.ErrOccupied) {
		t.Errorf("a directory with something else: init: found %v", err)
	}
}
