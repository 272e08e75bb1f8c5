package main

import (
	"go/ast"
	"go/constant"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/internal/check/doctor"
)

// kindsOfFindings reads the source of internal/check/doctor: each constant of type Kind is a
// kind of finding, and nothing else is.
func kindsOfFindings(t *testing.T) []doctor.Kind {
	t.Helper()
	const dir, path = "../../internal/check/doctor", "github.com/composefs-go/composefs/internal/check/doctor"
	fset := token.NewFileSet()
	var files []*ast.File
	names, err := filepath.Glob(dir + "/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}}
	config := types.Config{Importer: importer.ForCompiler(fset, "gc", exports(t, path))}
	pkg, err := config.Check(path, fset, files, info)
	if err != nil {
		t.Fatal(err)
	}
	kind := pkg.Scope().Lookup("Kind").Type()
	kinds := map[doctor.Kind]bool{}
	for e, v := range info.Types {
		call, ok := e.(*ast.CallExpr)
		switch {
		case !types.Identical(v.Type, kind):
		case v.Value != nil:
			kinds[doctor.Kind(constant.StringVal(v.Value))] = true
		case ok && info.Types[call.Fun].IsType():
			t.Errorf("%s: a kind of finding that isn't a constant, for which nobody can have advice", fset.Position(e.Pos()))
		}
	}
	return slices.Sorted(maps.Keys(kinds))
}

// exports finds what the compiler has written about the packages that one imports.
func exports(t *testing.T, path string) importer.Lookup {
	t.Helper()
	out, err := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for line := range strings.Lines(string(out)) {
		name, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		files[name] = file
	}
	return func(path string) (io.ReadCloser, error) { return os.Open(files[path]) }
}

func TestEachFindingOfDoctorHasARemedy(t *testing.T) {
	kinds := kindsOfFindings(t)
	for _, kind := range kinds {
		if advice[kind] == "" {
			t.Errorf("%s: there is no advice", kind)
		}
	}
	for kind := range advice {
		if !slices.Contains(kinds, kind) {
			t.Errorf("%s: advice for what nobody finds", kind)
		}
	}
}
