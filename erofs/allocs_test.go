package erofs_test

import (
	"io"
	"testing"

	"github.com/composefs-go/composefs/erofs"
)

// Writing a planned image takes the same few allocations for any number of files;
// planning it takes room for its tables and little else.
func TestAllocationsPerFile(t *testing.T) {
	const files = 5000
	for _, format := range []erofs.Format{erofs.V0, erofs.V1, erofs.V2} {
		t.Run(format.String(), func(t *testing.T) {
			root := parse(t, manyFiles(files))
			var p *erofs.Plan
			plan := testing.AllocsPerRun(3, func() {
				var err error
				if p, err = erofs.NewPlan(root, format); err != nil {
					t.Fatal(err)
				}
			})
			emit := testing.AllocsPerRun(3, func() {
				if _, err := p.WriteTo(io.Discard); err != nil {
					t.Fatal(err)
				}
			})
			t.Logf("plan: %g, write: %g", plan, emit)
			if plan > files/10 || emit > 20 {
				t.Errorf("found %g allocations to plan and %g to write, want at most %d and 20", plan, emit, files/10)
			}
		})
	}
}
