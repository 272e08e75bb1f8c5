package dumpfile

import (
	"io"

	"github.com/composefs-go/composefs/erofs/tree"
)

// A Dialect is the way in which a tool reads and writes the text.
type Dialect uint8

// The dialects. Text that both C and Rust read means the same tree to both but for
// link counts, which Rust counts itself, and payloads, which it makes of digests.
const (
	C      Dialect = iota // mkcomposefs and composefs-info 1.0.8
	Strict                // mkcomposefs with CFS_PARSE_STRICT set; to write it is C
	Rust                  // composefs-rs
)

// Parse reads a dump in the dialect that understands most, C.
func Parse(r io.Reader) (*tree.Node, error) { return C.Parse(r) }

// Write writes a dump in the dialect that most understand, C; see Dialect.Write.
func Write(w io.Writer, root *tree.Node, only ...string) error { return C.Write(w, root, only...) }
