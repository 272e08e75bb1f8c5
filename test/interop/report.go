package main

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/erofs/tree"
)

// A check is one question with the answers of two programs.
type check struct {
	row          string // of the table
	what         string // the subject
	call, peer   call
	tree         *tree.Node // of the subject, if it has one
	ours, theirs result
}

// A row counts the checks of one kind.
type row struct{ agreed, known, different int }

// A report has the results of all checks.
type report struct {
	rows      map[string]*row
	order     []string
	known     map[string]int
	different []string
	verbose   bool
}

func newReport() *report { return &report{rows: map[string]*row{}, known: map[string]int{}} }

// add judges a check, and reports whether the programs agreed.
func (r *report) add(c check) bool {
	counts, ok := r.rows[c.row]
	if !ok {
		counts = new(row)
		r.rows[c.row] = counts
		r.order = append(r.order, c.row)
	}
	if c.ours.equal(c.theirs) {
		counts.agreed++
		return true
	}
	if i := slices.IndexFunc(known, func(d divergence) bool { return d.applies(c) }); i >= 0 {
		counts.known++
		r.known[known[i].name]++
		return false
	}
	counts.different++
	r.different = append(r.different, c.String())
	return false
}

// String describes a check that failed, in a few lines.
func (c check) String() string {
	return fmt.Sprintf("%s\n  %s: %s\n  %s: %s", c.what, c.call, c.ours, c.peer, c.theirs)
}

// String is the status and the start of what was printed.
func (r result) String() string {
	text := fmt.Sprintf("status %d, %d bytes", r.status, len(r.out))
	if len(r.out) <= 130 {
		text = fmt.Sprintf("status %d, %q", r.status, r.out)
	}
	if r.status != 0 {
		line, _, _ := bytes.Cut(r.stderr, []byte("\n"))
		text += fmt.Sprintf(", %.200s", line)
	}
	return text
}

// print prints the table, and reports whether every difference is a known one.
func (r *report) print(w io.Writer) (ok bool) {
	fmt.Fprintf(w, "%-66s %7s %7s %7s\n", "", "agreed", "known", "differ")
	for _, name := range r.order {
		c := r.rows[name]
		fmt.Fprintf(w, "%-66s %7d %7d %7d\n", name, c.agreed, c.known, c.different)
	}
	for _, d := range known {
		if n := r.known[d.name]; n > 0 {
			fmt.Fprintf(w, "\nknown, %d times: %s\n  %s\n", n, d.name, d.reason)
		}
	}
	const most = 20
	for i, d := range r.different {
		if i == most && !r.verbose {
			fmt.Fprintf(w, "\n… and %d more; -v prints all\n", len(r.different)-most)
			break
		}
		fmt.Fprintf(w, "\nDIFFERENT: %s\n", strings.TrimSpace(d))
	}
	return len(r.different) == 0
}
