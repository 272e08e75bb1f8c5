package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/internal/testing/testutil"
)

// vectorDir has dumps with what mkcomposefs and composefs-info 1.0.8 make of them.
const vectorDir = "../../erofs/testdata/vectors"

type vector struct {
	Dump    string `json:"dump"`
	Default *int   `json:"default"` // the version without options
	V0, V1  vectorImage
}

// vectorImage are the digests of an image, or the C program's message.
type vectorImage struct {
	SHA256 string `json:"sha256"`
	Verity string `json:"verity"`
	Fail   string `json:"fail"`
}

func vectors(t *testing.T) map[string]vector {
	t.Helper()
	var all map[string]vector
	if err := json.Unmarshal(testutil.ReadFile(t, vectorDir+"/manifest.json"), &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// call runs a program by its name.
func call(t *testing.T, in []byte, args ...string) (out string, status int) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	status = dispatch(context.Background(), args, newUI(bytes.NewReader(in), &stdout, &stderr))
	if status != 0 {
		t.Logf("%s: %s", strings.Join(args, " "), &stderr)
	}
	return stdout.String(), status
}

func TestMkcomposefsMakesTheImagesOfTheCProgram(t *testing.T) {
	for name, v := range vectors(t) {
		dump := testutil.ReadFile(t, vectorDir+"/"+v.Dump)
		for _, c := range []struct {
			options []string
			want    vectorImage
		}{
			{[]string{"--max-version=0"}, v.V0},
			{[]string{"--min-version=1"}, v.V1},
			{[]string{"--version=1", "--max-version=0"}, v.V1}, // 1 is the least
			{nil, v.byDefault()},
			{[]string{"--max-version", "1"}, v.byDefault()},
			{[]string{"--min-version=0", "--max-version=1"}, v.byDefault()},
		} {
			out, status := call(t, dump, slices.Concat([]string{"mkcomposefs"}, c.options, []string{"--from-file", "--print-digest", "-", "-"})...)
			switch image, digest := cutDigest(out); {
			case c.want.Fail != "":
				if status != exitFailure {
					t.Errorf("%s %q: status %d, but the C program says: %s", name, c.options, status, c.want.Fail)
				}
			case c.want.SHA256 == "": // the default of a SHA-512 dump
			case status != 0 || sha256Hex(image) != c.want.SHA256 || c.want.Verity != "" && digest != c.want.Verity:
				t.Errorf("%s %q: status %d, digest %s, want %s", name, c.options, status, digest, c.want.Verity)
			}
		}
	}
}

func (v vector) byDefault() vectorImage {
	switch {
	case v.Default == nil:
		return vectorImage{Fail: v.V0.Fail}
	case *v.Default == 0:
		return v.V0
	}
	return v.V1
}

// cutDigest takes the digest off that is printed behind an image.
func cutDigest(out string) (image, digest string) {
	const line = 65
	if len(out) < line {
		return out, ""
	}
	return out[:len(out)-line], strings.TrimSuffix(out[len(out)-line:], "\n")
}

func sha256Hex(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func TestComposefsInfoPrintsWhatTheCProgramDoes(t *testing.T) {
	// What that misreads isn't ours to repeat: a payload without padding behind
	// it, and an attribute of 4 bytes at the end.
	defects := strings.Fields(string(testutil.ReadFile(t, vectorDir+"/info-defect.txt")))
	defects = append(defects, "rand-000005", "rand-000006", "rand-000016")
	compared := 0
	for name, v := range vectors(t) {
		if v.Default == nil || slices.Contains(defects, name) {
			continue
		}
		image := filepath.Join(t.TempDir(), "image")
		if _, status := call(t, testutil.ReadFile(t, vectorDir+"/"+v.Dump), "mkcomposefs", "--from-file", "-", image); status != 0 {
			continue
		}
		want := string(testutil.ReadFile(t, vectorDir+"/"+strings.Replace(v.Dump, ".dump", ".info.dump", 1)))
		if got, _ := call(t, nil, "composefs-info", "dump", image); got != want {
			t.Errorf("dump of %s: found\n%.2000s\nwant\n%.2000s", name, got, want)
		}
		for _, command := range []string{"ls", "objects"} {
			want, err := os.ReadFile(filepath.Join("testdata", "info", name+"."+command))
			if err != nil {
				continue // recorded for some
			}
			compared++
			if got, _ := call(t, nil, "composefs-info", command, image); got != string(want) {
				t.Errorf("%s of %s: found\n%s\nwant\n%s", command, name, got, want)
			}
		}
	}
	if recorded, _ := filepath.Glob("testdata/info/*"); compared != len(recorded) || compared == 0 {
		t.Errorf("%d of %d records were compared", compared, len(recorded))
	}
}

func TestACommandLineIsReadAsGetoptDoes(t *testing.T) {
	for _, c := range []struct {
		args, want string
		refused    string
	}{
		{"a b", "[a b]", ""},
		{"a --flag b", "[a b] flag", ""},
		{"--value=x=y a", "[a] value(x=y)", ""},
		{"--value x a", "[a] value(x)", ""},
		{"--value --flag a", "[a] value(--flag)", ""},
		{"--value= a", "[a] value()", ""},
		{"--fl", "", "option --fl can mean --flag and --flag-too"},
		{"--flag --val x --val y", "[] flag value(x) value(y)", ""},
		{"--flag-too - a", "[- a] flag-too", ""},
		{"--flag-t", "[] flag-too", ""},
		{"-- --flag -x", "[--flag -x]", ""},
		{"a -- --flag", "[a --flag]", ""},
		{"--flag=1", "", "option --flag has no value"},
		{"--value", "", "option --value needs a value"},
		{"--v", "", "option --v can mean --value and --vast"},
		{"--nothing", "", "there is no option --nothing"},
		{"-flag", "", "there is no option -l"},
		{"-f\xff", "", "there is no option -\ufffd"},
		{"-é", "", "there is no option -é"},
		{"-f a", "[a] f", ""},
		{"-ff -o x a", "[a] f o(x)", ""},
		{"-fox=f a", "[a] f o(x=f)", ""},
		{"-o -f a", "[a] o(-f)", ""},
		{"-fo", "", "option -o needs a value"},
		{"-o", "", "option -o needs a value"},
		{"--f a", "", "option --f can mean --flag and --flag-too"},
		{"--o", "", "there is no option --o"},
		{"--=", "", "option -- can mean --flag and --flag-too"},
	} {
		var flag, flagToo, short bool
		var values string
		rest, err := getopt(strings.Fields(c.args), []option{
			{name: "flag", flag: &flag}, {name: "flag-too", flag: &flagToo},
			{name: "value", set: func(s string) error { values += " value(" + s + ")"; return nil }},
			{name: "vast", set: func(string) error { return nil }},
			{name: "f", flag: &short},
			{name: "o", set: func(s string) error { values += " o(" + s + ")"; return nil }},
		})
		got := "[" + strings.Join(rest, " ") + "]"
		for name, set := range map[string]bool{" flag": flag, " flag-too": flagToo, " f": short} {
			if set {
				got += name
			}
		}
		got += values
		if c.refused == "" && (err != nil || got != c.want) || c.refused != "" && (err == nil || err.Error() != c.refused) {
			t.Errorf("%q: found %s, %v", c.args, got, err)
		}
	}
}

func TestTheManualPageAndTheUsageNameEveryOption(t *testing.T) {
	page, err := os.ReadFile("../../man/mkcomposefs.1")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(page), `\-`, "-")
	for _, o := range new(mkcomposefs).options() {
		if !strings.Contains(text, "--"+o.name) || !strings.Contains(mkcomposefsUsage, "--"+o.name) {
			t.Errorf("--%s is missing", o.name)
		}
	}
}
