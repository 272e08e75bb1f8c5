package erofs_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/erofs"
)

// What composefs-rs couldn't read back is refused, with the path of the file.
func TestV2RefusesWhatItCannotStore(t *testing.T) {
	const head = "/ 0 40755 2 0 0 0 0.0 - - -\n/d 0 40755 2 0 0 0 0.0 - - -\n"
	sum := strings.Repeat("0f", 32)
	for _, tt := range []struct{ name, line, message string }{
		{"content", fmt.Sprintf("/d/a 513 100644 1 0 0 0 0.0 - %s -\n", strings.Repeat("c", 513)), `"/d/a": 513 bytes of content`},
		{"symlink", fmt.Sprintf("/d/a 0 120777 1 0 0 0 0.0 %s - -\n", strings.Repeat("t", 1025)), `"/d/a": a symlink of 1025 bytes`},
		{"linked whiteout", "/d/a 0 20644 1 0 0 0 0.0 - - -\n/d/b 0 @20644 1 0 0 0 0.0 /d/a - -\n", `"/d/a": a whiteout with several names`},
		{"payload", "/d/a 9 100644 1 0 0 0 0.0 some/where - -\n", `"/d/a": want a digest, or a payload`},
		{"digest alone", "/d/a 9 100644 1 0 0 0 0.0 - - " + sum + "\n", `"/d/a": a digest without a path`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := erofs.Write(io.Discard, parse(t, []byte(head+tt.line)), erofs.V2)
			if err == nil || !strings.Contains(err.Error(), tt.message) {
				t.Errorf("want an error that says %q, found %v", tt.message, err)
			}
		})
	}
}

// The count of shared xattrs has 8 bits, which composefs-rs lets overflow.
func TestV2RefusesTooManySharedXattrs(t *testing.T) {
	for count, good := range map[int]bool{255: true, 256: false} {
		root := parse(t, []byte("/ 0 40755 2 0 0 0 0.0 - - -\n/a 0 100644 1 0 0 0 0.0 - - -\n/b 0 100644 1 0 0 0 0.0 - - -\n"))
		for i := range count {
			root.Lookup("a").SetXattr(fmt.Sprintf("user.%03d", i), nil)
			root.Lookup("b").SetXattr(fmt.Sprintf("user.%03d", i), nil)
		}
		var b bytes.Buffer
		if err := erofs.Write(&b, root, erofs.V2); (err == nil) != good {
			t.Errorf("%d: found %v", count, err)
		}
		if good && len(read(t, b.Bytes()).Lookup("b").Xattrs()) != count {
			t.Errorf("%d: not all were read", count)
		}
	}
}

// One file has one digest, whatever its payload says.
func TestV2MakesTheRedirectOfTheDigest(t *testing.T) {
	sum := strings.Repeat("0f", 32)
	line := "/ 0 40755 2 0 0 0 0.0 - - -\n/a 9 100644 %d 0 0 0 0.%d %s - " + sum + "\n"
	one := write(t, parse(t, fmt.Appendf(nil, line, 1, 0, "0f/"+sum[2:])), erofs.V2)
	two := write(t, parse(t, fmt.Appendf(nil, line, 7, 5, "/some/where")), erofs.V2)
	if !bytes.Equal(one, two) {
		t.Error("the images differ")
	}
	if got := read(t, two).Lookup("a").Payload; got != "0f/"+sum[2:] {
		t.Errorf("found payload %q", got)
	}
}
