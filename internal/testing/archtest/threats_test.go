package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const threatModel = "../../../docs/threat-model.md"

// cited is the name of a test, perhaps with that of a case of it.
var cited = regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9]+)(?:/([^`]+))?`")

// What the threat model says is shown by a test, a test of that name shows. The name
// of a case has to be a string in the package of its test.
func TestThreatModelCitesTestsThatExist(t *testing.T) {
	text, err := os.ReadFile(threatModel)
	if err != nil {
		t.Fatal(err)
	}
	tests := declaredTests(t)
	names := cited.FindAllStringSubmatch(string(text), -1)
	if len(names) == 0 {
		t.Fatalf("%s cites no test", threatModel)
	}
	for _, n := range names {
		found := false
		for _, dir := range tests.dirs[n[1]] {
			found = found || n[2] == "" || tests.strings[dir][n[2]]
		}
		if !found {
			t.Errorf("%s cites %s, which is no test and no case of one", threatModel, strings.TrimRight(n[1]+"/"+n[2], "/"))
		}
	}
}

// declared are the tests of this repository.
type declared struct {
	dirs    map[string][]string        // of a test's name: where it is
	strings map[string]map[string]bool // of a directory: the strings in its tests
}

func declaredTests(t *testing.T) declared {
	t.Helper()
	d := declared{map[string][]string{}, map[string]map[string]bool{}}
	err := filepath.WalkDir("../../..", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		d.add(filepath.Dir(path), file)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (d declared) add(dir string, file *ast.File) {
	if d.strings[dir] == nil {
		d.strings[dir] = map[string]bool{}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if n.Recv == nil {
				d.dirs[n.Name.Name] = append(d.dirs[n.Name.Name], dir)
			}
		case *ast.BasicLit:
			if s, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING {
				d.strings[dir][s] = true
			}
		}
		return true
	})
}
