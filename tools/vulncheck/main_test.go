package main

import (
	"slices"
	"strings"
	"testing"
)

// As govulncheck prints them: the same twice, one that is required only, one without
// an end, and one of the standard library.
const said = `{"config":{"protocol_version":"v1.0.0"}}
{"osv":{"id":"GO-1"}}
{"finding":{"osv":"GO-1","fixed_version":"v1.2.0","trace":[{"module":"m","version":"v1.1.0","package":"m/p","function":"F"},{"module":"ours","package":"ours","function":"main"}]}}
{"finding":{"osv":"GO-1","fixed_version":"v1.2.0","trace":[{"module":"m","version":"v1.1.0","package":"m/p","function":"G"},{"module":"ours","package":"ours","function":"main"}]}}
{"finding":{"osv":"GO-2","fixed_version":"v2.0.0","trace":[{"module":"n","version":"v1.0.0","package":"n/q"}]}}
{"finding":{"osv":"GO-3","trace":[{"module":"m","version":"v1.1.0","package":"m/p","function":"F"}]}}
{"finding":{"osv":"GO-4","fixed_version":"go1.26.9","trace":[{"module":"stdlib","version":"go1.26.8","package":"os","function":"Mkdir"}]}}
`

func TestDependenciesThatAreCalledAreErrorsAndTheStandardLibraryIsARemark(t *testing.T) {
	all, err := read(strings.NewReader(said))
	if err != nil {
		t.Fatal(err)
	}
	errors, remarks := judge(all)
	wantErrors := []string{
		"m/p v1.1.0 has a vulnerability that our code may reach: https://pkg.go.dev/vuln/GO-1, fixed in v1.2.0",
		"m/p v1.1.0 has a vulnerability that our code may reach: https://pkg.go.dev/vuln/GO-3, not fixed yet",
	}
	wantRemarks := []string{"remark: os go1.26.8 has a vulnerability that our code may reach: https://pkg.go.dev/vuln/GO-4, fixed in go1.26.9"}
	if !slices.Equal(errors, wantErrors) || !slices.Equal(remarks, wantRemarks) {
		t.Errorf("errors %q, remarks %q; want %q, %q", errors, remarks, wantErrors, wantRemarks)
	}
}

func TestWhatIsCutOffIsAnError(t *testing.T) {
	if _, err := read(strings.NewReader(said[:len(said)-20])); err == nil {
		t.Error("half an answer was taken for a whole one")
	}
}
