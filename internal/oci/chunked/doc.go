// Package chunked writes and reads layers of the type zstd:chunked: archives that any zstd
// program unpacks, and of which a client can fetch single files.
//
//	┌───────────┬─────────┬────────┬─────────┬─────────────┬───────┬───────────┬────────┐
//	│ tar bytes │ content │ tar    │ content │ padding,    │ table │ tar-split │ footer │
//	│           │ of file │ bytes  │ of file │ end marker  │       │           │        │
//	└───────────┴─────────┴────────┴─────────┴─────────────┴───────┴───────────┴────────┘
//	  a frame     a frame   …                                skippable frames
//
// The content of each file is a zstd frame of its own. The table says in which bytes of the
// layer that is; annotations of the layer in the manifest say where the table is. With the
// tar-split, containers/storage makes the archive again of files that it has.
//
// A table is a hint, for its author may be anybody: what is fetched by it has to be compared
// with a digest from elsewhere.
//
// Source: github.com/containers/storage, pkg/chunked.
package chunked

import "errors"

// Annotations of a layer in its manifest.
const (
	tableChecksum  = "io.github.containers.zstd-chunked.manifest-checksum"
	tablePosition  = "io.github.containers.zstd-chunked.manifest-position"
	splitPosition  = "io.github.containers.zstd-chunked.tarsplit-position"
	typeCRFS       = 1 // of tables; there is no other
	tableVersion   = 1
	footerSize     = 64
	frameHeader    = 8 // of a skippable frame, in bytes
	skippableMagic = "\x50\x2a\x4d\x18"
	footerMagic    = "GNUlInUx"
)

// MaxTable limits the size of a table in bytes, compressed and not. One for 8,300 files has 2.4 MB.
const MaxTable = 256 << 20

// Causes of errors.
var (
	// ErrNoTable is the cause when an archive can't have a table: a file's name or content
	// isn't in it as it stands in the archive.
	ErrNoTable = errors.New("no table of contents for this archive")
	// ErrTable is the cause when a table of contents can't be used.
	ErrTable = errors.New("unusable table of contents")
)

// An entry is one of a table. Only the fields that regular files need are read.
type entry struct {
	Type      string            `json:"type"`
	Name      string            `json:"name"`
	LinkName  string            `json:"linkName,omitempty"`
	Mode      int64             `json:"mode,omitempty"`
	Size      int64             `json:"size,omitempty"`
	UID       int               `json:"uid,omitempty"`
	GID       int               `json:"gid,omitempty"`
	ModTime   string            `json:"modtime,omitempty"`
	DevMajor  int64             `json:"devMajor,omitempty"`
	DevMinor  int64             `json:"devMinor,omitempty"`
	Xattrs    map[string]string `json:"xattrs,omitempty"` // in base64
	Digest    string            `json:"digest,omitempty"` // sha256:HEX of the content
	Offset    int64             `json:"offset,omitempty"`
	EndOffset int64             `json:"endOffset,omitempty"`
}

const typeRegular = "reg"

type table struct {
	Version        int     `json:"version"`
	Entries        []entry `json:"entries"`
	TarSplitDigest string  `json:"tarSplitDigest,omitempty"`
}
