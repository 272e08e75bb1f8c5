package programs

import (
	"go/ast"
	"go/token"
	"strconv"
	"strings"
)

// askers maps functions to the argument that names a program. Functions of a package
// that pass a parameter on to an asker are askers too.
var askers = map[string]int{
	"exec.Command": 0, "exec.CommandContext": 1, "exec.LookPath": 0, "testutil.RequireTool": 1,
}

// A goPackage has what is known about the functions in one directory.
type goPackage struct {
	u      *uses
	file   string
	consts map[string]string
	tables map[string]*ast.CompositeLit
	fields map[string][]string // of struct types
	asks   map[string]int      // functions of the package
}

// goFiles adds the programs that the Go files in one directory use.
func (u *uses) goFiles(files map[string]*ast.File) {
	p := goPackage{
		u: u, consts: map[string]string{}, tables: map[string]*ast.CompositeLit{},
		fields: map[string][]string{}, asks: map[string]int{},
	}
	for _, f := range files {
		p.declarations(f)
	}
	// A function may be passed a program by a function that was seen earlier.
	for before := -1; before != len(p.asks); {
		before = len(p.asks)
		for _, f := range files {
			p.forwarders(f)
		}
	}
	for name, f := range files {
		p.file = name
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil {
				p.function(fn)
			}
		}
	}
}

// declarations records string constants, variables that are tables, and the fields of
// structs.
func (p *goPackage) declarations(f *ast.File) {
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, s := range g.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				if kind, ok := s.Type.(*ast.StructType); ok {
					p.fields[s.Name.Name] = fieldNames(kind)
				}
			case *ast.ValueSpec:
				for i, value := range s.Values {
					if table, ok := value.(*ast.CompositeLit); ok {
						p.tables[s.Names[i].Name] = table
					} else if g.Tok == token.CONST {
						p.consts[s.Names[i].Name] = text(value)
					}
				}
			}
		}
	}
}

// forwarders finds functions that pass a parameter on as the name of a program, or as
// the first of several words.
func (p *goPackage) forwarders(f *ast.File) {
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Body == nil {
			continue
		}
		parameters := map[string]int{}
		for _, field := range fn.Type.Params.List {
			for _, name := range field.Names {
				parameters[name.Name] = len(parameters)
			}
		}
		ast.Inspect(fn.Body, func(n ast.Node) bool {
			if name := root(p.program(n)); name != "" {
				if i, ok := parameters[name]; ok {
					p.asks[fn.Name.Name] = i
				}
			}
			return true
		})
	}
}

// program returns the argument of a call that names a program, or nil.
func (p *goPackage) program(n ast.Node) ast.Expr {
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return nil
	}
	i, ok := 0, false
	switch f := call.Fun.(type) {
	case *ast.Ident:
		i, ok = p.asks[f.Name]
	case *ast.SelectorExpr:
		if x, isName := f.X.(*ast.Ident); isName {
			i, ok = askers[x.Name+"."+f.Sel.Name]
		}
		if !ok {
			i, ok = p.asks[f.Sel.Name] // a method
		}
	}
	if !ok || i >= len(call.Args) {
		return nil
	}
	return call.Args[i]
}

// root returns the variable in x, x[0], x.f or x.f[0].
func root(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.IndexExpr:
		return root(e.X)
	case *ast.SelectorExpr:
		return root(e.X)
	}
	return ""
}

// function adds the programs that a function uses.
func (p *goPackage) function(fn *ast.FuncDecl) {
	values := p.rangedOver(fn.Body)
	ast.Inspect(fn.Body, func(n ast.Node) bool {
		argument := p.program(n)
		if argument == nil {
			return true
		}
		name := text(argument)
		if name == "" {
			if id, ok := argument.(*ast.Ident); ok {
				name = p.consts[id.Name]
			}
		}
		if name != "" {
			p.u.add(p.file, name)
			p.arguments(n.(*ast.CallExpr), argument)
			return true
		}
		for _, row := range values[root(argument)] {
			p.list(field(row, argument, p.fields))
		}
		return true
	})
}

// arguments looks for programs that a program runs in turn, such as sh -c.
func (p *goPackage) arguments(call *ast.CallExpr, program ast.Expr) {
	var words []string
	for _, a := range call.Args {
		if a == program || len(words) > 0 {
			word := text(a)
			if word == "" {
				word = unknown
			}
			words = append(words, word)
		}
	}
	p.u.command(p.file, words)
}

// list adds a command in a table, {"mount", "-o", …}, or a name in one.
func (p *goPackage) list(e ast.Expr) {
	list, ok := e.(*ast.CompositeLit)
	if !ok {
		p.u.add(p.file, text(e))
		return
	}
	var words []string
	for _, x := range list.Elts {
		words = append(words, text(x))
	}
	p.u.command(p.file, words)
}

// A row is an element of a list with the type of the list's elements.
type row struct {
	kind  ast.Expr
	value ast.Expr
}

// field returns the part of a row that the argument x, x[0] or x.f names.
func field(r row, argument ast.Expr, fields map[string][]string) ast.Expr {
	if i, ok := argument.(*ast.IndexExpr); ok {
		argument = i.X
	}
	selector, ok := argument.(*ast.SelectorExpr)
	list, isList := r.value.(*ast.CompositeLit)
	if !ok || !isList {
		return r.value
	}
	var names []string
	switch kind := r.kind.(type) {
	case *ast.StructType:
		names = fieldNames(kind)
	case *ast.Ident:
		names = fields[kind.Name]
	}
	for i, e := range list.Elts {
		if kv, ok := e.(*ast.KeyValueExpr); ok {
			if key, ok := kv.Key.(*ast.Ident); ok && key.Name == selector.Sel.Name {
				return kv.Value
			}
		} else if i < len(names) && names[i] == selector.Sel.Name {
			return e
		}
	}
	return nil
}

func fieldNames(s *ast.StructType) (names []string) {
	for _, f := range s.Fields.List {
		for _, name := range f.Names {
			names = append(names, name.Name)
		}
	}
	return names
}

// rangedOver maps a variable of a range statement to the rows that it goes through, if
// they are a literal there or in a variable of the package.
func (p *goPackage) rangedOver(body ast.Node) map[string][]row {
	values := map[string][]row{}
	ast.Inspect(body, func(n ast.Node) bool {
		r, ok := n.(*ast.RangeStmt)
		if !ok {
			return true
		}
		list, ok := r.X.(*ast.CompositeLit)
		if name, isName := r.X.(*ast.Ident); isName {
			list, ok = p.tables[name.Name], p.tables[name.Name] != nil
		}
		variable, named := r.Value.(*ast.Ident)
		if !ok || !named {
			return true
		}
		kind := list.Type
		if array, ok := kind.(*ast.ArrayType); ok {
			kind = array.Elt
		}
		for _, e := range list.Elts {
			values[variable.Name] = append(values[variable.Name], row{kind, e})
		}
		return true
	})
	return values
}

// text returns a string literal, or a concatenation of string literals.
func text(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			s, _ := strconv.Unquote(e.Value)
			return s
		}
	case *ast.BinaryExpr:
		if e.Op == token.ADD {
			if a, b := text(e.X), text(e.Y); a != "" && b != "" {
				return strings.Join([]string{a, b}, "")
			}
		}
	}
	return ""
}
