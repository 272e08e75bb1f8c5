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

// cited matches the name of a test, or of a test and a case.
var cited = regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9]+)(?:/([^`]+))?`")

// The threat model names tests that show what it claims, so each of them must exist. The
// name of a case must be a string in the package of its test.
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
			t.Errorf("%s cites %s, but there is no such test or case", threatModel, strings.TrimRight(n[1]+"/"+n[2], "/"))
		}
	}
}

// declared has the tests of this repository.
type declared struct {
	dirs    map[string][]string        // from the name of a test to its directories
	strings map[string]map[string]bool // from a directory to the strings in its tests
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
