package boot

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// On the machine itself the doctor says what was verified, by which key, and what
// nobody has checked.
func TestDoctorExaminesTheRunningSystem(t *testing.T) {
	b := need(t)
	for _, test := range []struct {
		row
		facts, warnings []string // beginnings of "NAME: VALUE"
	}{
		{row{name: "verified"},
			[]string{"image: fsverity-sha256-12:" + b.image, "seal: by key ", "content: checked by the kernel", "unverified: /etc (overlay), /var (ext4)"},
			[]string{"secure-boot: no UEFI Secure Boot"}},
		{row{name: "by ref", arguments: byRef, change: ref("next", "../{image}")},
			[]string{"image: fsverity-sha256-12:" + b.image + ", named by composefs.ref=next"},
			[]string{"secure-boot: "}},
		{row{name: "content unverified", policy: hashedByUs},
			[]string{"seal: by key "},
			[]string{"content: names, modes and owners were verified at boot", "secure-boot: "}},
		{row{name: "without a seal", policy: "[verify]\nsignature = \"optional\"\n", change: withoutSeal},
			[]string{"content: checked by the kernel"},
			[]string{"seal: the image has no seal", "secure-boot: "}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			named := test.arguments
			test.arguments = func(b base) string {
				if named == nil {
					named = theArgument
				}
				return named(b) + " guest.doctor"
			}
			facts := test.boot(t, b).Guest()
			if facts["doctor status"] != "0" {
				t.Errorf("mkimage doctor: %s", facts["doctor status"])
			}
			found, warned := doctorSays(t, facts["doctor"])
			for _, want := range test.facts {
				if !slices.ContainsFunc(found, func(f string) bool { return strings.HasPrefix(f, want) }) {
					t.Errorf("want %q, found %q", want, found)
				}
			}
			if !slices.EqualFunc(warned, test.warnings, strings.HasPrefix) {
				t.Errorf("want the warnings %q, found %q", test.warnings, warned)
			}
		})
	}
}

func theArgument(b base) string { return pin(b.image) }

// doctorSays returns the facts and the findings of a report.
func doctorSays(t *testing.T, report string) (facts, findings []string) {
	t.Helper()
	var r struct {
		Facts    []struct{ Name, Value string }
		Findings []struct{ Check, Problem string }
	}
	if err := json.Unmarshal([]byte(report), &r); err != nil {
		t.Fatalf("%v: %q", err, report)
	}
	for _, f := range r.Facts {
		facts = append(facts, f.Name+": "+f.Value)
	}
	for _, f := range r.Findings {
		findings = append(findings, f.Check+": "+f.Problem)
	}
	return facts, findings
}
