package dumpfile_test

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/erofs/dumpfile"
)

// labelledFiles returns the dump of a directory of n labelled files, each an object.
func labelledFiles(n int) string {
	var b strings.Builder
	b.WriteString(rootLine)
	for i := range n {
		sum := fmt.Sprintf("%064x", i)
		fmt.Fprintf(&b, "/file-%06d 100 100644 1 0 0 0 1.0 %s/%s - %s security.selinux=system_u:object_r:lib_t:s0\n", i, sum[:2], sum[2:], sum)
	}
	return b.String()
}

// A million lines must not be millions of allocations: parsing makes things in large
// pieces, and writing makes nothing at all.
func TestAllocationsPerLine(t *testing.T) {
	const lines = 10000
	text := labelledFiles(lines)
	root := parse(t, text)
	tests := []struct {
		name string
		most float64 // in all
		do   func() error
	}{
		{"parsing", lines / 20, func() error { _, err := dumpfile.Parse(strings.NewReader(text)); return err }},
		{"writing", 100, func() error { return dumpfile.Write(io.Discard, root) }},
		{"parsing in the Rust dialect", lines / 20, func() error { _, err := dumpfile.Rust.Parse(strings.NewReader(text)); return err }},
		{"writing in the Rust dialect", 100, func() error { return dumpfile.Rust.Write(io.Discard, root) }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := testing.AllocsPerRun(3, func() {
				if err := test.do(); err != nil {
					t.Fatal(err)
				}
			})
			t.Logf("%g allocations", got)
			if got > test.most {
				t.Errorf("%d lines: found %g allocations, want at most %g", lines, got, test.most)
			}
		})
	}
}
