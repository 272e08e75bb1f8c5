// Package splitstream reads and writes splitstreams: byte strings, such as the tar archive
// of a layer, whose larger parts are objects of the repository. The format is the one of
// composefs-rs.
//
//	0    header   32 bytes   magic, algorithm, where the info is
//	32   info     80 bytes   where the tables are, type, size of the whole
//	112  stream_refs         raw digests of the named refs
//	     object_refs         raw digests of objects, in order of first use
//	     named_refs          zstd: "<index in stream_refs>:<name>\0"…, sorted by name
//	     stream              zstd: chunks
//
// All integers are little-endian. A chunk begins with a signed 64-bit number n: if it is
// negative, -n bytes follow; otherwise the content of object_refs[n] is meant. Objects that
// no chunk uses are kept from garbage collection by the stream all the same, and so are
// the targets of named refs.
//
// The digest of a splitstream depends on the zstd encoder. What must be equal for all
// programs is what a stream means, never its digest.
package splitstream

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/composefs-go/composefs/verity"
)

// A Type says what a stream holds: eight ASCII characters as a little-endian number, by
// custom.
type Type uint64

// The types of an OCI image's parts.
const (
	Layer    Type = 0x726579616c69636f // "ocilayer", a tar archive
	Config   Type = 0x67666e6f6369636f // "ociconfg"
	Manifest Type = 0x66696e616d69636f // "ocimanif"
	Blob     Type = 0x626f6c625f69636f // "oci_blob"
)

// String returns the eight characters, or the number if they aren't printable.
func (t Type) String() string {
	text := binary.LittleEndian.AppendUint64(nil, uint64(t))
	for _, c := range text {
		if c < ' ' || c > '~' {
			return fmt.Sprintf("%#x", uint64(t))
		}
	}
	return string(text)
}

// A Ref is a named reference to an object, which is a stream as a rule.
type Ref struct {
	Name   string // without NUL
	Object verity.Digest
}

// ErrFormat is the cause if a file isn't a splitstream, or a damaged one.
var ErrFormat = errors.New("unusable splitstream")

// ErrTooLarge is the cause if a splitstream goes beyond a limit of this package.
var ErrTooLarge = errors.New("splitstream goes beyond a limit")

// Limits of what is read and written.
const (
	MaxRefs   = 8 << 20     // stream refs and object refs, each
	MaxNames  = 64 << 20    // bytes of the table of named refs
	MaxChunks = 2 * MaxRefs // of a stream: each object of a layer has its header before it
)

const (
	magic      = "SplitStream"
	version    = 0
	blockBits  = 12
	headerSize = 32
	infoSize   = 80

	// windowSize is the memory in bytes that reading a stream takes. libzstd has the same
	// at its default level.
	windowSize = 2 << 20
	// windowMax is the largest window that is read.
	windowMax = 128 << 20
)

// A span is a range of bytes in the file.
type span struct{ start, end uint64 }

func (s span) size() int64 { return int64(s.end - s.start) }

func (s span) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, s.start)
	return binary.LittleEndian.AppendUint64(b, s.end)
}

func readSpan(b []byte) span {
	return span{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])}
}

func formatError(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrFormat, fmt.Errorf(format, args...))
}
