package doctor_test

import (
	"bytes"
	"maps"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/composefs-go/composefs/internal/artifact/initrd"
	"github.com/composefs-go/composefs/internal/check/doctor"
	"github.com/composefs-go/composefs/internal/filekind"
	"github.com/composefs-go/composefs/verity"
)

// Whatever drop-ins say, each finding is one line, and a last one that takes the command
// away is never overlooked.
func FuzzDropIns(f *testing.F) {
	root := asDracut(f, []byte("\x7fELF composefs-setup-root: verify the root image and mount it"))
	root["init"] = &fstest.MapFile{Data: []byte("#!/bin/sh\n"), Mode: 0o755}
	root[unitFile] = text("[Service]\nExecStart=/" + program + "\n")
	root[wants] = link("../composefs-setup-root.service")
	f.Add("[Unit]\nConditionPathExists=/absent\n", "[Service]\nExecStart=\n")
	f.Add("[Service]\nExecStart=\\\n\\", "[Unit]\nAssertPathExists=\x1b[2J\n[Service]\nSuccessExitStatus=3\n")
	f.Fuzz(func(t *testing.T, first, second string) {
		root := maps.Clone(root)
		root["usr/lib/systemd/system/service.d/a.conf"] = text(first)
		root["etc/systemd/system/composefs-.service.d/b.conf"] = text(second)
		for _, last := range []string{"", "[Service]\nExecStart=\nExecStart=/bin/true\n"} {
			root[unitFile+".d/z.conf"] = text(last)
			r := &doctor.Report{}
			(&doctor.Initrd{Root: root}).Examine(r)
			replaced := false
			for _, f := range r.Findings {
				replaced = replaced || f.Stops && f.Check == "unit-command"
				if f.Kind == "" || strings.ContainsAny(f.String(), "\n\x1b") {
					t.Errorf("%q", f)
				}
			}
			if last != "" && !replaced {
				t.Errorf("the command is gone, and nothing says so:\n%s", r)
			}
		}
	})
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
