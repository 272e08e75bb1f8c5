package doctor_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/internal/doctor"
	"github.com/composefs-go/composefs/internal/initrd"
)

// Whatever a file holds, the doctor comes to an end with a report, each finding of
// which is one line with a remedy.
func FuzzExaminer(f *testing.F) {
	var good bytes.Buffer
	err := initrd.Write(&good, initrd.Options{Init: []byte("\x7fELF"), Policy: []byte("[verify]\n"), Keys: map[string][]byte{"a": []byte("x")}, Compression: initrd.None})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good.Bytes(), goodLine)
	f.Add([]byte("MZ"), "")
	f.Add(append(make([]byte, 1024), "\xe2\xe1\xf5\xe0"...), "composefs.ref=a")
	f.Fuzz(func(t *testing.T, file []byte, line string) {
		e := doctor.Examiner{Arch: "amd64", Cmdline: line}
		var r *doctor.Report
		switch doctor.Detect(file) {
		case "uki":
			r = e.UKI(bytes.NewReader(file))
		case "image":
			r = e.Image(bytes.NewReader(file), int64(len(file)))
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
