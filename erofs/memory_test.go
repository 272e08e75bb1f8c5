package erofs_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/internal/testing/testutil"
)

// The images that say most in the fewest bytes are read in memory that their size
// bounds.
func TestMemoryIsBoundedByTheImage(t *testing.T) {
	const n = 200_000
	for _, tt := range []struct {
		name string
		line func(i int) string
	}{
		{"files", func(i int) string { return fmt.Sprintf("/%06d 0 10000 1 0 0 0 0.0 - - -\n", i) }},
		{"hard links", func(i int) string { return fmt.Sprintf("/%06d 0 @10000 1 0 0 0 0.0 /f - -\n", i) }},
		{"directories", func(i int) string { return fmt.Sprintf("/%06d 0 40000 1 0 0 0 0.0 - - -\n", i) }},
		{"attributes", func(i int) string {
			return fmt.Sprintf("/%06d 0 10000 1 0 0 0 0.0 - - - user.a= user.b= user.c= user.d= user.e= user.f=\n", i)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var text strings.Builder
			text.WriteString("/ 0 40755 2 0 0 0 0.0 - - -\n/f 0 10000 1 0 0 0 0.0 - - -\n")
			for i := range n {
				text.WriteString(tt.line(i))
			}
			image := write(t, parse(t, []byte(text.String())), erofs.V0)
			testutil.BoundMemory(t, len(image), func() {
				m, err := erofs.Open(bytes.NewReader(image), int64(len(image)))
				if err == nil {
					_, err = m.Tree()
				}
				if err != nil {
					t.Error(err)
				}
			})
		})
	}
}
