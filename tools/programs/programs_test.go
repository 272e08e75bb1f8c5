package programs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const tree = "../.."

// elsewhere are directories whose programs run on other machines: the guests of the
// tests and the initramfs.
var elsewhere = []string{".git", "build", "test/guest", "test/mount/testdata", "scripts/rootfs", "dracut/90composefs", "tools/programs"}

// asked returns the programs that the tree uses: program → the files that use it.
func asked(t *testing.T) map[string][]string {
	t.Helper()
	u := uses{functions: map[string]bool{}}
	packages := map[string]map[string]*ast.File{}
	err := filepath.WalkDir(tree, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(tree, path)
		if e.IsDir() {
			if slices.Contains(elsewhere, name) {
				return filepath.SkipDir
			}
			return nil
		}
		if strings.HasSuffix(name, ".go") {
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if dir := filepath.Dir(name); packages[dir] == nil {
				packages[dir] = map[string]*ast.File{}
			}
			packages[filepath.Dir(name)][name] = f
			return err
		}
		return u.file(path, name)
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, files := range packages {
		u.goFiles(files)
	}
	programs := map[string][]string{}
	for _, a := range u.all {
		if !u.functions[a.program] && !slices.Contains(builtins, a.program) {
			programs[a.program] = append(programs[a.program], a.file)
		}
	}
	return programs
}

var script = regexp.MustCompile(`^#!/bin/(ba)?sh\n|^# shellcheck shell=bash`)

// file adds the programs that a file other than Go source uses.
func (u *uses) file(path, name string) error {
	if filepath.Ext(name) == ".txtar" {
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return u.testscript(name, string(content))
	}
	top := strings.Split(name, "/")[0]
	if !slices.Contains([]string{"Makefile", "dracut", "scripts", "examples", ".ci"}, top) {
		return nil
	}
	content, err := os.ReadFile(path)
	switch {
	case err != nil:
		return err
	case filepath.Base(name) == "Makefile":
		return u.makefile(name, string(content))
	case script.Match(content):
		return u.shell(name, strings.NewReader(string(content)))
	}
	return nil
}

// listed returns the packages that scripts/setup installs.
func listed(t *testing.T) []string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(tree, "scripts/setup"))
	if err != nil {
		t.Fatal(err)
	}
	_, list, ok := strings.Cut(string(content), "\npackages=(\n")
	list, _, end := strings.Cut(list, "\n)\n")
	if !ok || !end {
		t.Fatal("scripts/setup has no list packages=(…)")
	}
	var all []string
	for line := range strings.Lines(list) {
		line, _, _ = strings.Cut(line, "#")
		all = append(all, strings.Fields(line)...)
	}
	return append(all, "golang-go")
}

func TestEveryProgramComesFromAPackageThatSetupInstalls(t *testing.T) {
	programs, packages := asked(t), listed(t)
	if len(programs) < 50 {
		t.Fatalf("found %d programs only: who looks for them is broken", len(programs))
	}
	for _, program := range slices.Sorted(maps.Keys(programs)) {
		files := slices.Compact(slices.Sorted(slices.Values(programs[program])))
		switch pkg := table()[program]; {
		case others[program] != "":
		case pkg == "":
			t.Errorf("%s (%s) is in no row of table.go: name its package there, and in scripts/setup", program, strings.Join(files, ", "))
		case !slices.Contains(packages, pkg) && !slices.Contains(everywhere, pkg):
			t.Errorf("%s (%s) comes from the package %s, which scripts/setup doesn't install", program, strings.Join(files, ", "), pkg)
		}
	}
}

// Every Debian has the packages in everywhere.
func TestEverywhereIsEverywhere(t *testing.T) {
	query, err := exec.LookPath("dpkg-query")
	if err != nil {
		t.Skip("this is not Debian")
	}
	for _, pkg := range everywhere {
		out, err := exec.Command(query, "-W", "-f", "${Priority}", pkg).Output()
		installed := slices.Contains([]string{"apt", "git", "make", "sudo"}, pkg)
		if !installed && (err != nil || string(out) != "required") {
			t.Errorf("the package %s has the priority %q, %v; want required", pkg, out, err)
		}
	}
}

// On Debian, dpkg confirms the table.
func TestTheTableAgreesWithDpkg(t *testing.T) {
	paths, args := map[string][]string{}, []string{"--search"}
	for program := range table() {
		path, err := exec.LookPath(program)
		if err != nil || !slices.Contains([]string{"/usr/bin", "/usr/sbin", "/bin", "/sbin"}, filepath.Dir(path)) {
			continue
		}
		// A name may be a link made by alternatives, and may be in /bin or in /usr/bin.
		target, err := filepath.EvalSymlinks(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range []string{path, target} {
			p = strings.TrimPrefix(p, "/usr")
			paths[program] = append(paths[program], p, "/usr"+p)
		}
		args = append(args, paths[program]...)
	}
	out, _ := exec.Command("dpkg-query", args...).Output() // not all of these paths exist
	owners := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		packages, path, _ := strings.Cut(strings.TrimSpace(line), ": ")
		for pkg := range strings.SplitSeq(packages, ", ") {
			pkg, _, _ = strings.Cut(pkg, ":")
			owners[path] = append(owners[path], pkg)
		}
	}
	for program, pkg := range table() {
		var all []string
		for _, path := range paths[program] {
			all = append(all, owners[path]...)
		}
		if len(all) > 0 && !slices.Contains(all, pkg) {
			t.Errorf("%s: the table says %s, dpkg says %q", program, pkg, all)
		}
	}
}
