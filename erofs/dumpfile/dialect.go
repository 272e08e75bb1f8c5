package dumpfile

import (
	"io"

	"github.com/composefs-go/composefs/erofs/tree"
)

// A Dialect is the way in which a tool reads and writes dumps.
type Dialect uint8

// The dialects. A dump that both C and Rust accept has the same tree in both, except for
// link counts, which Rust counts itself, and payloads, which it makes from digests.
const (
	C      Dialect = iota // mkcomposefs and composefs-info 1.0.8
	Strict                // mkcomposefs with CFS_PARSE_STRICT set; for writing it is the same as C
	Rust                  // composefs-rs
)

// Parse reads a dump in the C dialect, which accepts most.
func Parse(r io.Reader) (*tree.Node, error) { return C.Parse(r) }

// Write writes a dump in the C dialect, which most programs accept; see Dialect.Write.
func Write(w io.Writer, root *tree.Node, only ...string) error { return C.Write(w, root, only...) }
