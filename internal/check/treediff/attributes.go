package treediff

import (
	"bytes"
	"fmt"
	"strconv"
	"time"

	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/printable"
	"github.com/composefs-go/composefs/verity"
)

// An attribute is something in which two files of one kind can differ.
type attribute struct {
	name string
	same func(a, b *tree.Node) bool
	show func(n *tree.Node) string
}

// attributes are compared and listed in this order.
var attributes = []attribute{
	simple("mode", func(n *tree.Node) uint16 { return n.Perm }, func(p uint16) string { return fmt.Sprintf("%04o", p) }),
	simple("uid", func(n *tree.Node) uint32 { return n.UID }, decimal),
	simple("gid", func(n *tree.Node) uint32 { return n.GID }, decimal),
	simple("mtime", func(n *tree.Node) tree.Time { return n.Mtime }, showTime),
	simple("link count", linkCount, decimal),
	simple("device", device, func(d uint32) string { return fmt.Sprintf("%d:%d", d>>8&0xfff, d&0xff|d>>12&^0xff) }),
	simple("target", func(n *tree.Node) string { return n.Target }, strconv.Quote),
	simple("size", fileSize, func(s uint64) string { return strconv.FormatUint(s, 10) }),
	{"content", sameContent, showContent},
	{"stored", samePlace, showPlace},
	{"digest", sameDigest, func(n *tree.Node) string { return n.Object.Hex() }},
	{"object path", samePayload, func(n *tree.Node) string { return printable.Quoted(n.Payload) }},
}

// simple is an attribute whose values compare with ==.
func simple[T comparable](name string, get func(*tree.Node) T, show func(T) string) attribute {
	return attribute{
		name: name,
		same: func(a, b *tree.Node) bool { return get(a) == get(b) },
		show: func(n *tree.Node) string { return show(get(n)) },
	}
}

func decimal(v uint32) string { return strconv.FormatUint(uint64(v), 10) }

// linkCount returns the number of names that the source had of a file. V0 and V1 images
// keep it, except for directories.
func linkCount(n *tree.Node) uint32 {
	if n.Kind == tree.Directory {
		return 0
	}
	return n.Nlink
}

func device(n *tree.Node) uint32 {
	if n.Kind != tree.CharDevice && n.Kind != tree.BlockDevice {
		return 0
	}
	return n.Rdev
}

func fileSize(n *tree.Node) uint64 {
	if n.Kind != tree.Regular {
		return 0
	}
	return n.Size
}

// showTime writes a time as a date, as long as it has a year of four digits.
func showTime(t tree.Time) string {
	const first, last = -62135596800, 253402300799 // the years 1 to 9999
	if t.Sec < first || t.Sec > last || t.Nsec >= 1e9 {
		return fmt.Sprintf("%d s and %d ns after 1970", t.Sec, t.Nsec)
	}
	return time.Unix(t.Sec, int64(t.Nsec)).UTC().Format(time.RFC3339Nano)
}

// isObject reports whether a file's content lies outside of the image.
func isObject(n *tree.Node) bool {
	return n.Kind == tree.Regular && n.Size > 0 && len(n.Inline) == 0
}

// sameContent compares contents wherever they lie. Digests of two algorithms can't
// be compared, hence differ.
func sameContent(a, b *tree.Node) bool {
	switch {
	case a.Kind != tree.Regular || a.Size == 0 && b.Size == 0:
		return true
	case isObject(a) && isObject(b):
		da, db := a.ContentObject(), b.ContentObject()
		return da == db && (!da.IsZero() || a.Payload == b.Payload)
	case isObject(a):
		return isDigestOf(a.ContentObject(), b.Inline)
	case isObject(b):
		return isDigestOf(b.ContentObject(), a.Inline)
	}
	return bytes.Equal(a.Inline, b.Inline)
}

func isDigestOf(d verity.Digest, content []byte) bool {
	return !d.IsZero() && verity.Sum(d.Algorithm(), content) == d
}

func showContent(n *tree.Node) string {
	switch object := n.ContentObject(); {
	case n.Size == 0:
		return ""
	case !isObject(n):
		return quote(n.Inline)
	case !object.IsZero():
		return object.Hex()
	case n.Payload != "":
		return printable.Quoted(n.Payload)
	}
	return "zeros"
}

func samePlace(a, b *tree.Node) bool {
	return isObject(a) == isObject(b) || !sameContent(a, b)
}

func showPlace(n *tree.Node) string {
	if isObject(n) {
		return "as an object"
	}
	return "in the image"
}

// sameDigest and samePayload tell how equal contents are referred to.
func sameDigest(a, b *tree.Node) bool {
	return !isObject(a) || !isObject(b) || a.Object == b.Object || !sameContent(a, b)
}

func samePayload(a, b *tree.Node) bool {
	return !isObject(a) || !isObject(b) || a.Payload == b.Payload || !sameContent(a, b)
}

// quoteMax is how many bytes of a value are shown.
const quoteMax = 64

func quote(value []byte) string {
	if len(value) <= quoteMax {
		return strconv.Quote(string(value))
	}
	return fmt.Sprintf("%q… (%d bytes)", value[:quoteMax], len(value))
}

// kindNames are the kinds of files in words.
var kindNames = [...]string{
	tree.Regular: "regular file", tree.Directory: "directory", tree.CharDevice: "character device", tree.BlockDevice: "block device",
	tree.FIFO: "FIFO", tree.Socket: "socket", tree.Symlink: "symlink",
}

// describe says what a file is that one tree has and the other hasn't.
func describe(n *tree.Node) string {
	if n.IsWhiteout() {
		return "whiteout"
	}
	if n.Kind != tree.Directory || n.Len() == 0 {
		return kindNames[n.Kind]
	}
	return fmt.Sprintf("directory with %d names below", countNames(n))
}

func countNames(n *tree.Node) int {
	count := n.Len()
	for _, e := range n.Entries() {
		if e.Node.Kind == tree.Directory {
			count += countNames(e.Node)
		}
	}
	return count
}
