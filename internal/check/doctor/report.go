package doctor

import (
	"fmt"
	"strings"

	"github.com/composefs-go/composefs/internal/printable"
)

// A Kind is what is wrong: the name of a check, and after a slash what of all that it
// checks.
type Kind string

// Check returns the name of the check.
func (k Kind) Check() string {
	check, _, _ := strings.Cut(string(k), "/")
	return check
}

// A Finding is something that is wrong, and its remedy.
type Finding struct {
	Kind    Kind   `json:"-"`
	Stops   bool   `json:"stops"` // the boot; otherwise it is a warning
	Check   string `json:"check"` // a name that doesn't change
	Problem string `json:"problem"`
	Remedy  string `json:"remedy"` // cmd/mkimage fills it in
}

// String returns the finding as a line.
func (f Finding) String() string {
	level := "warning"
	if f.Stops {
		level = "stops the boot"
	}
	line := level + ": " + f.Check + ": " + f.Problem
	if f.Remedy != "" {
		line += ": " + f.Remedy
	}
	return line
}

// A Fact is something that was found out and is as it should be, or neither.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// A Report is the outcome of an examination.
type Report struct {
	Subject  string    `json:"subject"`
	Kind     string    `json:"kind"` // "initrd", "uki", "image", "disk" or "system"
	Facts    []Fact    `json:"facts,omitempty"`
	Findings []Finding `json:"findings"`
}

// Stops reports whether there is a finding that stops the boot.
func (r *Report) Stops() bool {
	for _, f := range r.Findings {
		if f.Stops {
			return true
		}
	}
	return false
}

// Fact adds a fact.
func (r *Report) Fact(name, format string, args ...any) {
	r.Facts = append(r.Facts, Fact{name, printable.Sprintf(format, args...)})
}

// Stop adds a finding that stops the boot.
func (r *Report) Stop(kind Kind, format string, args ...any) { r.find(true, kind, format, args) }

// Warn adds a finding that doesn't.
func (r *Report) Warn(kind Kind, format string, args ...any) { r.find(false, kind, format, args) }

func (r *Report) find(stops bool, kind Kind, format string, args []any) {
	r.Findings = append(r.Findings, Finding{Kind: kind, Stops: stops, Check: kind.Check(), Problem: printable.Sprintf(format, args...)})
}

// String returns facts and findings, a line each.
func (r *Report) String() string {
	var b strings.Builder
	for _, f := range r.Facts {
		fmt.Fprintf(&b, "%-11s %s\n", f.Name, f.Value)
	}
	for _, f := range r.Findings {
		fmt.Fprintln(&b, f)
	}
	if len(r.Findings) == 0 {
		fmt.Fprintf(&b, "nothing found that would stop the boot\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}
