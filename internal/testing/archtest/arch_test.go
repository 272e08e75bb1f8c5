// Package archtest checks that ARCHITECTURE.md and docs/threat-model.md describe
// the tree as it is.
package archtest

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const (
	module       = "github.com/composefs-go/composefs/"
	architecture = "../../../ARCHITECTURE.md"
)

// A row is a package's row in the table of packages.
type row struct {
	name      string   // below the module
	ours      []string // packages that it may import, below the module
	others    []string // parts of the paths of modules that it may import
	initramfs bool     // whether the initramfs program links it, if only in part
}

// table returns the rows of the table of packages, in its order.
func table(t *testing.T) []row {
	t.Helper()
	text, err := os.ReadFile(architecture)
	if err != nil {
		t.Fatal(err)
	}
	var rows []row
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 5 || !strings.HasPrefix(cells[0], " `") {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if !slices.Contains([]string{"yes", "no", "in part ¹"}, cells[4]) {
			t.Fatalf("%s: want yes, no or in part in the last column, found %q", cells[0], cells[4])
		}
		r := row{name: strings.Trim(cells[0], "`"), others: list(cells[3]), initramfs: cells[4] != "no"}
		r.ours = r.resolve(t, rows, cells[2])
		rows = append(rows, r)
	}
	if len(rows) < 20 {
		t.Fatalf("%s: found %d packages", architecture, len(rows))
	}
	return rows
}

// list splits a cell into names.
func list(cell string) []string {
	if cell == "–" {
		return nil
	}
	return strings.Split(cell, ", ")
}

// resolve finds the packages that a cell names by the last parts of their paths. Their rows
// must come before this one.
func (r row) resolve(t *testing.T, above []row, cell string) (ours []string) {
	t.Helper()
	names, allBut := strings.CutPrefix(cell, "all but ")
	for _, name := range list(names) {
		i := slices.IndexFunc(above, func(a row) bool { return path.Base(a.name) == name })
		if i < 0 {
			t.Fatalf("%s: its row names %s, for which no row comes before it", r.name, name)
		}
		ours = append(ours, above[i].name)
	}
	if !allBut {
		return ours
	}
	var rest []string
	for _, a := range above {
		if !slices.Contains(ours, a.name) && !strings.HasPrefix(a.name, "cmd/") {
			rest = append(rest, a.name)
		}
	}
	return rest
}

type listed struct {
	ImportPath string
	Imports    []string
}

func TestPackagesImportWhatTheirRowsSay(t *testing.T) {
	rows := table(t)
	for p := range goList(t, module+"...") {
		name := strings.TrimPrefix(p.ImportPath, module)
		i := slices.IndexFunc(rows, func(r row) bool { return r.name == name })
		if i < 0 {
			t.Errorf("package %s has no row in %s", name, architecture)
			continue
		}
		rows[i].compare(t, p.Imports)
		rows = slices.Delete(rows, i, i+1)
	}
	for _, r := range rows {
		t.Errorf("%s has a row for %s, but there is no such package", architecture, r.name)
	}
}

// compare checks a package's imports against its row.
func (r row) compare(t *testing.T, imports []string) {
	var unused []string
	unused = append(append(unused, r.ours...), r.others...)
	for _, imported := range imports {
		if first, _, _ := strings.Cut(imported, "/"); !strings.Contains(first, ".") {
			continue // the standard library
		}
		name, ours := strings.CutPrefix(imported, module)
		i := slices.IndexFunc(r.others, func(other string) bool { return !ours && strings.Contains(imported+"/", "/"+other+"/") })
		switch {
		case ours && slices.Contains(r.ours, name):
			unused = slices.DeleteFunc(unused, func(u string) bool { return u == name })
		case i >= 0:
			unused = slices.DeleteFunc(unused, func(u string) bool { return u == r.others[i] })
		default:
			t.Errorf("%s imports %s, which its row doesn't name", r.name, imported)
		}
	}
	if len(unused) > 0 {
		t.Errorf("%s doesn't import %s, which its row names", r.name, strings.Join(unused, ", "))
	}
}

func TestTheInitramfsLinksThePackagesWhoseRowsSaySo(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", module+"cmd/composefs-setup-root").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	linked := strings.Fields(string(out))
	for _, r := range table(t) {
		if is := slices.Contains(linked, module+r.name); is != r.initramfs {
			t.Errorf("%s: its row says that the initramfs program links it: %v; found %v", r.name, r.initramfs, is)
		}
	}
}

// goList yields the packages of the pattern.
func goList(t *testing.T, pattern string) func(func(listed) bool) {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", pattern).Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	return func(yield func(listed) bool) {
		for d := json.NewDecoder(strings.NewReader(string(out))); ; {
			var p listed
			if err := d.Decode(&p); errors.Is(err, io.EOF) {
				return
			} else if err != nil {
				t.Errorf("go list: %v", err)
				return
			}
			if !yield(p) {
				return
			}
		}
	}
}
