package repo_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/dumpfile"
	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/verity"
)

const soundDump = `/ 0 40755 2 0 0 0 0.0 - - -
/acl 5 100660 1 0 0 0 0.0 - hello - user.a=1 user.b=2
/o 200 100644 1 0 0 0 0.0 2d/711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881 - 2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881
`

func soundImage(t *testing.T, dump string, format erofs.Format) []byte {
	t.Helper()
	root, err := dumpfile.Parse(strings.NewReader(dump))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := erofs.Write(&b, root, format); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// checkImage checks an image by its own digest.
func checkImage(b []byte) error {
	m, err := erofs.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return err
	}
	_, err = repo.CheckImage(m, verity.Sum(verity.SHA256, b))
	return err
}

// A signature says nothing of what an image is. Whatever is changed in one, either it can't be read,
// or its tree makes another image, or the change is one of the tree.
func TestAnImageWithMoreThanItsTreeIsUnsound(t *testing.T) {
	for _, format := range []erofs.Format{erofs.V0, erofs.V1, erofs.V2} {
		good := soundImage(t, soundDump, format)
		if err := checkImage(good); err != nil {
			t.Fatal(err)
		}
		unsound := 0
		for at := range good {
			if good[at] == 0 && at%5 != 0 { // most zeros are alike
				continue
			}
			b := bytes.Clone(good)
			b[at] ^= 1
			err := checkImage(b)
			if errors.Is(err, repo.ErrUnsound) {
				unsound++
			}
			if err != nil {
				continue
			}
			m, err := erofs.Open(bytes.NewReader(b), int64(len(b)))
			if err != nil {
				t.Fatal(err)
			}
			root, err := m.Tree()
			if err != nil {
				t.Fatal(err)
			}
			var again bytes.Buffer
			if err := erofs.Write(&again, root, m.Header().Version); err != nil || !bytes.Equal(again.Bytes(), b) {
				t.Errorf("V%d: byte %d is changed and nothing says so: %v", format, at, err)
			}
		}
		if unsound < 20 {
			t.Errorf("V%d: only %d changes make an image unsound", format, unsound)
		}
	}
	// The kernel looks for an attribute only if the filter lets it; one that occurs twice counts
	// by its first value there.
	v1 := soundImage(t, soundDump, erofs.V1)
	twice := bytes.Replace(v1, []byte("b2"), []byte("a2"), 1)
	if bytes.Equal(twice, v1) {
		t.Fatal("the image has no second attribute")
	}
	if err := checkImage(twice); err == nil {
		t.Error("an attribute occurs twice")
	}
}

func TestContentsAreObjectsByTheirOwnNames(t *testing.T) {
	const path = "2d/711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
	for name, dump := range map[string]string{
		"another object":   strings.Replace(soundDump, path, "3d/711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881", 1),
		"somewhere else":   strings.Replace(soundDump, path, "some/where", 1),
		"nothing":          strings.Replace(soundDump, path, "-", 1),
		"without a digest": strings.Replace(soundDump, " 2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881", " -", 1),
	} {
		if err := checkImage(soundImage(t, dump, erofs.V1)); !errors.Is(err, repo.ErrUnsound) || !strings.Contains(err.Error(), "/o: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	hole := strings.Replace(strings.Replace(soundDump, path, "-", 1), " 2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881", " -", 1)
	if err := checkImage(soundImage(t, hole, erofs.V1)); err != nil {
		t.Errorf("a file that is only a hole: %v", err)
	}
}
