package tarball_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/internal/source/tarball"
	"github.com/composefs-go/composefs/verity"
)

// sparseSize is the size of the files in sparseArchives: "data" at 512, then holes.
const sparseSize = 100_000

// sparseArchives are archives of one sparse file in each of the four ways to write
// one. Go's writer has none of them, so its headers are changed.
var sparseArchives = map[string]func() []byte{
	"old GNU": func() []byte {
		return patched(tar.Header{Typeflag: tar.TypeReg, Name: "s", Mode: 0o600, Size: 512, Format: tar.FormatGNU}, func(h []byte) {
			h[156] = 'S'
			copy(h[386:], fmt.Sprintf("%011o\x00%011o\x00", 512, 512)) // where and how long the data is
			copy(h[483:], fmt.Sprintf("%011o\x00", sparseSize))
		}, data512)
	},
	"pax 0.0": func() []byte {
		return paxSparse("GNU.sparse.size", fmt.Sprint(sparseSize), "GNU.sparse.numblocks", "1", "GNU.sparse.offset", "512", "GNU.sparse.numbytes", "512")
	},
	"pax 0.1": func() []byte {
		return paxSparse("GNU.sparse.size", fmt.Sprint(sparseSize), "GNU.sparse.numblocks", "1", "GNU.sparse.map", "512,512")
	},
	"pax 1.0": func() []byte {
		return sparse1("s", fmt.Sprint(sparseSize))
	},
}

var data512 = "data" + strings.Repeat("\x00", 508)

func sparse1(name, size string) []byte {
	m := "1\n512\n512\n"
	return paxContent(m+strings.Repeat("\x00", 512-len(m))+data512, "GNU.sparse.major", "1", "GNU.sparse.minor", "0", "GNU.sparse.name", name, "GNU.sparse.realsize", size)
}

func paxSparse(records ...string) []byte { return paxContent(data512, records...) }

// paxContent writes the pax header by hand: archive/tar refuses these records.
func paxContent(content string, records ...string) []byte {
	var pax strings.Builder
	for i := 0; i < len(records); i += 2 {
		r := " " + records[i] + "=" + records[i+1] + "\n"
		n := len(r) + 2
		if n > 99 {
			n++
		}
		fmt.Fprintf(&pax, "%d%s", n, r)
	}
	head := patched(tar.Header{Typeflag: tar.TypeReg, Name: "x", Size: int64(pax.Len())}, func(h []byte) { h[156] = 'x' }, pax.String())
	head = head[:len(head)-1024]
	return append(head, patched(tar.Header{Typeflag: tar.TypeReg, Name: "s", Mode: 0o600, Size: int64(len(content))}, func([]byte) {}, content)...)
}

// patched is an archive of one file whose header was changed.
func patched(hdr tar.Header, change func([]byte), content string) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := errors.Join(w.WriteHeader(&hdr), func() error { _, err := w.Write([]byte(content)); return err }(), w.Close()); err != nil {
		panic(err)
	}
	h := b.Bytes()[:512]
	change(h)
	copy(h[148:], "        ")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	return b.Bytes()
}

func TestSparseFilesOfAllKindsHaveTheirHoles(t *testing.T) {
	content := make([]byte, sparseSize)
	copy(content[512:], "data")
	want := verity.Sum(verity.SHA256, content)
	for name, make := range sparseArchives {
		root, err := read(make())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if n := root.Lookup("s"); n == nil || n.Size != sparseSize || n.Object != want {
			t.Errorf("%s: %s", name, list(root))
		}
	}
}

func TestHolesWithoutEndAreRefused(t *testing.T) {
	_, err := read(sparse1("huge", fmt.Sprint(int64(1)<<62)), func(o *tarball.Options) { o.MaxExpansion = 10 << 20 })
	if !errors.Is(err, tarball.ErrTooLarge) || !strings.HasPrefix(err.Error(), `entry 1, "huge": `) {
		t.Error(err)
	}
}
