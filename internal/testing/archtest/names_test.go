package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const top = "../../.."

var (
	quoted     = regexp.MustCompile("`([^`\n]+)`")
	drawing    = regexp.MustCompile("(?s)\n```.*?\n```")
	identifier = regexp.MustCompile(`^\*?([a-z][a-z0-9-]*)((?:\.[A-Za-z][A-Za-z0-9]*){1,2})$`)
	// placeholder is a part of a path that stands for any name, as in cmd_NAME.go.
	placeholder = regexp.MustCompile(`[A-Z]{2,}`)
	endings     = regexp.MustCompile(`\.(go|md|8|1)$`)
)

// Someone who has read the page once finds every place by its name, so each name on it must
// be a file, a declaration or a command. A file without a directory is in the directory of
// the file before it in the same row or paragraph.
func TestThePlacesThatTheArchitectureNamesExist(t *testing.T) {
	text, err := os.ReadFile(architecture)
	if err != nil {
		t.Fatal(err)
	}
	_, places, ok := strings.Cut(string(text), "\n## Words\n")
	if !ok {
		t.Fatalf("%s has no section ## Words", architecture)
	}
	d := declarations(t)
	names := 0
	for _, part := range regexp.MustCompile(`\n(?:\||\n|\d\. )`).Split(drawing.ReplaceAllString(places, ""), -1) {
		dir := ""
		for _, m := range quoted.FindAllStringSubmatch(part, -1) {
			names++
			if !d.exists(m[1], &dir) {
				t.Errorf("%s names `%s`, which isn't there: want the path of a file, PACKAGE.NAME, PACKAGE.TYPE.METHOD or a command", architecture, m[1])
			}
		}
	}
	if names < 50 {
		t.Errorf("found %d names in %s", names, architecture)
	}
}

// names are what the packages of this repository declare, as PACKAGE.NAME and
// PACKAGE.TYPE.MEMBER. A program's package has the name of its directory.
type names map[string]bool

func declarations(t *testing.T) names {
	t.Helper()
	all := names{}
	err := filepath.WalkDir(top, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		pkg := file.Name.Name
		if pkg == "main" {
			pkg = filepath.Base(filepath.Dir(name))
		}
		for _, decl := range file.Decls {
			all.add(pkg, decl)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func (n names) add(pkg string, decl ast.Decl) {
	switch decl := decl.(type) {
	case *ast.FuncDecl:
		name := pkg
		if decl.Recv != nil {
			name += "." + receiver(decl.Recv.List[0].Type)
		}
		n[name+"."+decl.Name.Name] = true
	case *ast.GenDecl:
		for _, spec := range decl.Specs {
			switch spec := spec.(type) {
			case *ast.ValueSpec:
				for _, name := range spec.Names {
					n[pkg+"."+name.Name] = true
				}
			case *ast.TypeSpec:
				name := pkg + "." + spec.Name.Name
				n[name] = true
				n.addMembers(name, spec.Type)
			}
		}
	}
}

// addMembers adds the fields of a struct or the methods of an interface.
func (n names) addMembers(name string, typ ast.Expr) {
	var members *ast.FieldList
	switch typ := typ.(type) {
	case *ast.StructType:
		members = typ.Fields
	case *ast.InterfaceType:
		members = typ.Methods
	default:
		return
	}
	for _, m := range members.List {
		for _, member := range m.Names {
			n[name+"."+member.Name] = true
		}
	}
}

func receiver(typ ast.Expr) string {
	switch typ := typ.(type) {
	case *ast.StarExpr:
		return receiver(typ.X)
	case *ast.IndexExpr:
		return receiver(typ.X)
	case *ast.Ident:
		return typ.Name
	}
	return ""
}

// exists reports whether what the name refers to is there. dir is the directory of the
// last file before it; if the name is a file's, dir becomes the file's directory.
func (n names) exists(name string, dir *string) bool {
	program, argument, isCommand := strings.Cut(name, " ")
	switch {
	case isCommand && program == "go":
		return n.isPath(strings.TrimPrefix(strings.Fields(argument)[1], "./"), dir)
	case isCommand && program == "make":
		return hasTarget(argument)
	case isCommand:
		return n.isPath(path.Join("cmd", program, "cmd_"+strings.Fields(argument)[0]+".go"), dir)
	case strings.HasPrefix(name, "--"):
		return true // the options of the programs have tests of their own
	case strings.Contains(name, "/") || endings.MatchString(name):
		return n.isPath(name, dir)
	}
	m := identifier.FindStringSubmatch(name)
	return m != nil && n[m[1]+m[2]]
}

// isPath reports whether there is a file of that name, at the top or in dir.
func (n names) isPath(name string, dir *string) bool {
	pattern := placeholder.ReplaceAllString(name, "*")
	for _, place := range []string{pattern, path.Join(*dir, pattern)} {
		found, err := filepath.Glob(filepath.Join(top, filepath.FromSlash(place)))
		if err == nil && len(found) > 0 {
			*dir = directoryOf(place)
			return true
		}
	}
	return false
}

// directoryOf is the place itself if it is a directory.
func directoryOf(place string) string {
	if st, err := os.Stat(filepath.Join(top, filepath.FromSlash(place))); err == nil && st.IsDir() {
		return place
	}
	return path.Dir(place)
}

// hasTarget reports whether the Makefile has the target.
func hasTarget(target string) bool {
	text, err := os.ReadFile(filepath.Join(top, "Makefile"))
	return err == nil && strings.Contains("\n"+string(text), "\n"+target+":")
}
