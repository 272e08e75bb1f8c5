package main

import (
	"encoding"
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/internal/check/doctor"
	"github.com/composefs-go/composefs/internal/imagemount"
)

func TestWithJSONAnErrorIsOneObjectOnStandardError(t *testing.T) {
	small(t)
	if status, _, errs := mkimageIn(t, "build", "--repo", "repo", "root"); status != 0 {
		t.Fatal(errs)
	}
	for name, c := range map[string]struct {
		args []string
		want failure
	}{
		"with a hint": {
			[]string{"--json", "verify", "--repo", "repo", "nothing"},
			failure{Status: exitNotFound, Hint: "list what there is with: find repo/images -type l; the images of tags with: mkimage oci list --repo repo"},
		},
		"with a path":      {[]string{"uki", "inspect", "--json", "nowhere.efi"}, failure{Status: exitFailure, Path: "nowhere.efi"}},
		"a directory":      {[]string{"build", "--json", "--output", "root", "root"}, failure{Status: exitFailure, Path: "root"}},
		"a flag":           {[]string{"build", "--json", "--sequense", "1", "root"}, failure{Status: exitUsage, Help: "mkimage build --help"}},
		"the flag after":   {[]string{"build", "--max-entries", "many", "root", "--json"}, failure{Status: exitUsage, Help: "mkimage build --help"}},
		"no such command":  {[]string{"--json", "frobnicate"}, failure{Status: exitUsage, Help: "mkimage --help"}},
		"diff has trouble": {[]string{"diff", "--json", "nowhere", "root"}, failure{Status: exitTrouble, Path: "nowhere"}},
	} {
		status, out, errs := mkimageIn(t, c.args...)
		var got failure
		d := json.NewDecoder(strings.NewReader(errs))
		d.DisallowUnknownFields()
		if err := d.Decode(&got); err != nil || strings.Count(errs, "\n") != 1 || out != "" {
			t.Errorf("%s: %v: %s%s", name, err, errs, out)
			continue
		}
		if got.Message == "" || strings.HasPrefix(got.Message, "mkimage:") {
			t.Errorf("%s: message %q", name, got.Message)
		}
		got.Message = ""
		if strings.HasSuffix(got.Path, "/"+c.want.Path) {
			got.Path = c.want.Path // it may be absolute
		}
		if got != c.want || status != c.want.Status {
			t.Errorf("%s: status %d, found %+v, want %+v", name, status, got, c.want)
		}
	}
}

// A remark is an object of its own, so that each line can be read by itself.
func TestWithJSONEachLineOfStandardErrorIsAnObject(t *testing.T) {
	small(t)
	os.WriteFile("cache", []byte("composefs-dc 0\n"), 0o600) // of another version
	status, _, errs := mkimageIn(t, "build", "--json", "--cache", "cache", "--output", "-", "root")
	lines := strings.Split(strings.TrimSpace(errs), "\n")
	var remark struct{ Remark string }
	var result buildReport
	if err := json.Unmarshal([]byte(lines[0]), &remark); err != nil || status != 0 || !strings.Contains(remark.Remark, "cache") {
		t.Errorf("status %d, %v: %s", status, err, errs)
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &result); err != nil || result.Hex == "" || len(lines) != 2 {
		t.Errorf("the result: %v: %s", err, errs)
	}
}

// reports are what the commands print with --json.
var reports = []any{
	buildReport{}, diffReport{}, diskReport{}, doctor.Report{}, initrdReport{}, keyPair{}, keyFile{}, imageListing{}, measurement{}, imagemount.Report{},
	sealReport{}, writtenStatement{}, ukiContents{}, ukiReport{}, verdictReport{}, failure{}, repoReport{},
}

func TestTheKeysOfJSONAreOfOneStyle(t *testing.T) {
	style := regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)
	seen := map[reflect.Type]bool{}
	var walk func(reflect.Type)
	walk = func(kind reflect.Type) {
		for kind.Kind() == reflect.Pointer || kind.Kind() == reflect.Slice || kind.Kind() == reflect.Array || kind.Kind() == reflect.Map {
			kind = kind.Elem()
		}
		if seen[kind] || kind.Kind() != reflect.Struct || kind.Implements(reflect.TypeFor[encoding.TextMarshaler]()) {
			return
		}
		seen[kind] = true
		for i := range kind.NumField() {
			f := kind.Field(i)
			key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if !f.IsExported() || key == "-" {
				continue
			}
			if !f.Anonymous && !style.MatchString(key) {
				t.Errorf("%s.%s has the key %q", kind, f.Name, key)
			}
			walk(f.Type)
		}
	}
	for _, r := range reports {
		walk(reflect.TypeOf(r))
	}
}
