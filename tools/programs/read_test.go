package programs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"
)

func found(u *uses) string {
	var all []string
	for _, a := range u.all {
		if !u.functions[a.program] && !slices.Contains(builtins, a.program) {
			all = append(all, a.program)
		}
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), " ")
}

func newUses() *uses { return &uses{functions: map[string]bool{}} }

func TestProgramsAreFoundInShell(t *testing.T) {
	for text, want := range map[string]string{
		"a; b | c && ! d || e":                               "a b c d e",
		"f() { g; }; f":                                      "g",
		"x=$(a) y=`b` c <(d)":                                "a b c d",
		"X=1 env -i Y=2 a; timeout 5 b; xargs -n 1 c":        "a b c env timeout xargs",
		"as_root a; step name \"a title\" b; sudo -u c d":    "a as_root b d step sudo",
		"sh -ec 'a \"$1\"' sh; bash -c \"b; c\"":             "a b bash c sh",
		"find . -exec a {} +":                                "a find",
		"need a b; command -v c; command -p d; command -- e": "a b c d e",
		"trap 'a -r' EXIT; trap - EXIT":                      "a",
		"$a; ./b; build/c; /usr/bin/d; \"$e/f\"":             "",
		"case $x in a) b ;; esac; for c in d; do e; done":    "b e",
		"unshare -m sh -c 'a'":                               "a sh unshare",
	} {
		u := newUses()
		if err := u.shell("file", strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		if got := found(u); got != want {
			t.Errorf("%s: found %q, want %q", text, got, want)
		}
	}
}

func TestProgramsAreFoundInTestscripts(t *testing.T) {
	u := newUses()
	err := u.testscript("file", `# exec comment
[!have:a] skip
[have:root] exec b
! exec c 'x y'
exec sh -c 'd; echo ''e f'''
stdout exec
-- x.sh --
exec g
h
-- x --
i
`)
	if got := found(u); err != nil || got != "a b c d g h sh" {
		t.Errorf("found %q, %v", got, err)
	}
}

func TestProgramsAreFoundInMakefiles(t *testing.T) {
	u := newUses()
	err := u.makefile("file", "A := $(shell no)\nall: b\n\t@a $(B) && $(GO) build\n\tc $$(d) \\\n\t  e\n")
	if got := found(u); err != nil || got != "a c d go" {
		t.Errorf("found %q, %v", got, err)
	}
}

func TestProgramsAreFoundInGo(t *testing.T) {
	u := newUses()
	f, err := parser.ParseFile(token.NewFileSet(), "x.go", `package x
const c = "const"
var table = []row{{"n", []string{"table", "x"}}, {name: "m", command: []string{"keyed"}}}
type row struct { name string; command []string }
func run(t T, name string, args ...string) { testutil.RequireTool(t, name); exec.Command(name, args...) }
func all(args ...string) { exec.Command(args[0], args[1:]...) }
func hand(name string) { run(nil, name) }
func (l lab) method(t T) { run(t, "run", "arg") }
func f(t T) {
	exec.Command("direct", "x")
	exec.CommandContext(ctx, c)
	exec.LookPath(os.Args[0])
	all("variadic", "x")
	hand("handed")
	exec.Command("sh", "-c", "shell | pipe")
	for _, name := range []string{"range1", "range2"} { testutil.RequireTool(t, name) }
	for _, args := range [][]string{{"list1", "-x"}, {tool, "y"}} { exec.Command(args[0], args[1:]...) }
	for _, c := range []struct{ name, tool string }{{"no", "struct"}} { run(t, c.tool) }
	for _, r := range table { exec.Command(r.command[0]) }
}`, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	u.goFiles(map[string]*ast.File{"x.go": f})
	want := "const direct handed keyed list1 pipe range1 range2 run sh shell struct table variadic"
	if got := found(u); got != want {
		t.Errorf("found %q,\n want %q", got, want)
	}
}
