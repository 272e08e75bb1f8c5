package doctor_test

import (
	"bytes"
	"maps"
	"strings"
	"testing"
	"unicode"

	"github.com/composefs-go/composefs/internal/artifact/initrd"
	"github.com/composefs-go/composefs/internal/check/doctor"
	"github.com/composefs-go/composefs/internal/filekind"
	"github.com/composefs-go/composefs/verity"
)

// Whatever drop-ins say, each finding is one line, and a last one that takes the command
// away is never overlooked.
func FuzzDropIns(f *testing.F) {
	root := unitTree(f, []byte("\x7fELF composefs-setup-root: verify the root image and mount it"))
	f.Add("[Unit]\nConditionPathExists=/absent\n", "[Service]\nExecStart=\n")
	f.Add("[Service]\nExecStart=\\\n\\", "[Unit]\nAssertPathExists=\x1b[2J\n[Service]\nSuccessExitStatus=3\n")
	f.Add("[Unit]\n\f[Service]\nConditionPathExists=/absent\n", "[Unit]\n\ufeffAssertHost=x\nConditionFoo=\n")
	f.Add("[Unit]\nConditionPathExists=\\\n#\n/absent", "\u00a0[Unit]\r\n")
	f.Fuzz(func(t *testing.T, first, second string) {
		root := maps.Clone(root)
		root["usr/lib/systemd/system/service.d/a.conf"] = text(first)
		root["etc/systemd/system/composefs-.service.d/b.conf"] = text(second)
		for _, last := range []string{"", "[Service]\nExecStart=\nExecStart=/bin/true\n"} {
			root[unitFile+".d/z.conf"] = text(last)
			r := &doctor.Report{}
			(&doctor.Initrd{Root: root}).Examine(r)
			replaced, skipped := false, false
			for _, f := range r.Findings {
				skipped = skipped || f.Kind == "unit-skipped" || f.Kind == "unit-text"
				replaced = replaced || f.Stops && f.Check == "unit-command"
				if f.Kind == "" || strings.ContainsAny(f.String(), "\n\x1b") {
					t.Errorf("%q", f)
				}
			}
			if !skipped && (hasCondition(first) || hasCondition(second)) {
				t.Errorf("there is a condition, and nothing says so:\n%s", r)
			}
			if last != "" && !replaced {
				t.Errorf("the command is gone, and nothing says so:\n%s", r)
			}
		}
	})
}

// hasCondition reports whether a text may have a condition, wherever its lines end and
// whatever stands before the condition.
func hasCondition(text string) bool {
	for line := range strings.FieldsFuncSeq(text, func(r rune) bool { return r < ' ' }) {
		name, value, _ := strings.Cut(strings.TrimFunc(line, func(r rune) bool { return unicode.IsSpace(r) || r == '\ufeff' }), "=")
		if strings.HasPrefix(name, "Condition") && value != "" && strings.TrimFunc(value, unicode.IsSpace) != "/etc/initrd-release" && strings.TrimFunc(value, unicode.IsSpace) != "" {
			return true
		}
	}
	return false
}

// Whatever a file holds, the doctor comes to an end with a report, each finding of
// which is one line with a remedy.
func FuzzExaminer(f *testing.F) {
	var good bytes.Buffer
	err := initrd.Write(&good, initrd.Options{Init: []byte("\x7fELF"), Policy: []byte("[verify]\n"), Keys: map[string][]byte{"a": []byte("x")}, Compression: initrd.None})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good.Bytes(), goodLine)
	f.Add([]byte("MZ\x00"), "")
	f.Add(append(make([]byte, 1024), "\xe2\xe1\xf5\xe0"...), "composefs.ref=a")
	f.Fuzz(func(t *testing.T, file []byte, line string) {
		e := doctor.Examiner{Arch: "amd64", Cmdline: line}
		var r *doctor.Report
		switch filekind.Of(file) {
		case filekind.EFI:
			r = e.UKI(bytes.NewReader(file))
		case filekind.Image:
			r = e.Image(bytes.NewReader(file), int64(len(file)), verity.Digest{})
		default:
			r = e.Initrd(file)
		}
		for _, f := range r.Findings {
			if f.Kind == "" || strings.ContainsAny(f.String(), "\n\x1b") {
				t.Errorf("%q", f)
			}
		}
		for _, fact := range r.Facts {
			if strings.ContainsAny(fact.Value, "\n\x1b") {
				t.Errorf("%q", fact)
			}
		}
	})
}
