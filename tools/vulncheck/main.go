// Command vulncheck runs govulncheck over modules and judges what it finds.
//
//	vulncheck DATABASE MODULE...
//
// DATABASE is a directory of OSV files, data/osv of golang.org/x/vulndb. A vulnerable
// function of a dependency that a program may call is an error: go.mod can be changed.
// One in the standard library is only a remark: it depends on the machine's Go, which
// this tree doesn't choose, and there may be no release yet that fixes it.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/vuln/scan"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: vulncheck DATABASE MODULE...")
		os.Exit(2)
	}
	database, err := filepath.Abs(os.Args[1])
	if err != nil {
		fail(err)
	}
	var all []finding
	for _, dir := range os.Args[2:] {
		found, err := check(database, dir)
		if err != nil {
			fail(fmt.Errorf("check the module in %s: %w", dir, err))
		}
		all = append(all, found...)
	}
	errors, remarks := judge(all)
	for _, r := range remarks {
		fmt.Fprintln(os.Stderr, r)
	}
	if len(errors) > 0 {
		fail(fmt.Errorf("%s", strings.Join(errors, "\n")))
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// check returns what govulncheck finds in one module.
func check(database, dir string) ([]finding, error) {
	var out bytes.Buffer
	cmd := scan.Command(context.Background(), "-C", dir, "-format", "json", "-db", "file://"+database, "./...")
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if err := cmd.Wait(); err != nil {
		return nil, err
	}
	return read(&out)
}

// A finding is one of govulncheck's, see its documentation of -format json. The first
// entry of the trace is in the module with the vulnerability; it has a function if the
// program may call it.
type finding struct {
	OSV   string `json:"osv"`
	Fixed string `json:"fixed_version"`
	Trace []struct{ Module, Version, Package, Function string }
}

// stdlib is the module of the standard library.
const stdlib = "stdlib"

func read(r io.Reader) (all []finding, err error) {
	for d := json.NewDecoder(r); ; {
		var message struct{ Finding *finding }
		switch err := d.Decode(&message); {
		case err == io.EOF:
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("read what govulncheck says: %w", err)
		}
		if message.Finding != nil && len(message.Finding.Trace) > 0 {
			all = append(all, *message.Finding)
		}
	}
}

// judge reports each vulnerability that a program may reach once.
func judge(all []finding) (errors, remarks []string) {
	for _, f := range all {
		at := f.Trace[0]
		if at.Function == "" {
			continue // it is in something that we require but never call
		}
		fixed := "not fixed yet"
		if f.Fixed != "" {
			fixed = "fixed in " + f.Fixed
		}
		text := fmt.Sprintf("%s %s has a vulnerability that our code may reach: https://pkg.go.dev/vuln/%s, %s", at.Package, at.Version, f.OSV, fixed)
		if at.Module == stdlib {
			remarks = append(remarks, "remark: "+text)
		} else {
			errors = append(errors, text)
		}
	}
	return unique(errors), unique(remarks)
}

func unique(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}
