package chunked_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"github.com/vbatts/tar-split/tar/asm"
	"github.com/vbatts/tar-split/tar/storage"

	"github.com/composefs-go/composefs/internal/oci/chunked"
	"github.com/composefs-go/composefs/internal/testing/testutil"
)

// archive returns an archive with files of all kinds, and the contents of the regular ones.
func archive(t testing.TB) ([]byte, map[string][]byte) {
	t.Helper()
	contents := map[string][]byte{}
	random := rand.NewChaCha8([32]byte{})
	for i, size := range []int{0, 1, 64, 65, 511, 512, 513, 300_000, 3_000_000} {
		b := make([]byte, size)
		if i%2 == 0 {
			random.Read(b)
		}
		contents[fmt.Sprintf("usr/file-%d", i)] = b
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	put := func(h tar.Header, content []byte) {
		h.Size = int64(len(content))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	put(tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "global"}}, nil)
	put(tar.Header{Typeflag: tar.TypeDir, Name: "usr/", Mode: 0o755}, nil)
	for i := range len(contents) {
		name := fmt.Sprintf("usr/file-%d", i)
		put(tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Uid: i, PAXRecords: map[string]string{"SCHILY.xattr.user.x": "\x00\xff"}}, contents[name])
	}
	put(tar.Header{Typeflag: tar.TypeSymlink, Name: "usr/link", Linkname: "file-1"}, nil)
	put(tar.Header{Typeflag: tar.TypeLink, Name: "usr/hard", Linkname: "usr/file-1"}, nil)
	put(tar.Header{Typeflag: tar.TypeChar, Name: "usr/null", Devmajor: 1, Devminor: 3}, nil)
	put(tar.Header{Typeflag: tar.TypeFifo, Name: strings.Repeat("long/", 40) + "fifo"}, nil)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	b.Write(make([]byte, 9000)) // as tar pads to a block of its own
	return b.Bytes(), contents
}

func write(t testing.TB, tar []byte) ([]byte, map[string]string) {
	t.Helper()
	var b bytes.Buffer
	l, err := chunked.Write(&b, bytes.NewReader(tar))
	if sum := sha256.Sum256(tar); err != nil || l.DiffID != "sha256:"+hex.EncodeToString(sum[:]) {
		t.Fatal(l, err)
	}
	return b.Bytes(), l.Annotations
}

func TestZstdUnpacksALayer(t *testing.T) {
	zstd := testutil.RequireTool(t, "zstd")
	tar, _ := archive(t)
	layer, _ := write(t, tar)
	cmd := exec.Command(zstd, "-dc")
	cmd.Stdin = bytes.NewReader(layer)
	unpacked, err := cmd.Output()
	if err != nil || !bytes.Equal(unpacked, tar) {
		t.Fatalf("%d bytes of %d: %v", len(unpacked), len(tar), err)
	}
	again, _ := write(t, tar)
	if !bytes.Equal(again, layer) {
		t.Error("the same archive makes other bytes")
	}
	var plain bytes.Buffer
	l, err := chunked.Plain(&plain, bytes.NewReader(tar))
	if sum := sha256.Sum256(tar); err != nil || l.DiffID != "sha256:"+hex.EncodeToString(sum[:]) || l.Annotations != nil {
		t.Fatal(l, err)
	}
	cmd = exec.Command(zstd, "-dc")
	cmd.Stdin = &plain
	if unpacked, err := cmd.Output(); err != nil || !bytes.Equal(unpacked, tar) {
		t.Errorf("without a table: %d bytes of %d: %v", len(unpacked), len(tar), err)
	}
}

func files(t testing.TB, layer []byte, annotations map[string]string) []chunked.File {
	t.Helper()
	p, ok, err := chunked.ParsePosition(annotations, int64(len(layer)))
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	files, err := chunked.Parse(layer[p.Offset:p.Offset+p.Length], p, int64(len(layer)))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestTheTableLeadsToEachContent(t *testing.T) {
	tar, contents := archive(t)
	layer, annotations := write(t, tar)
	found := 0
	for _, f := range files(t, layer, annotations) {
		z, err := chunked.NewReader(bytes.NewReader(layer[f.Offset:f.End]))
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(z)
		if want := contents[f.Name]; err != nil || !bytes.Equal(content, want) || f.Size != int64(len(want)) {
			t.Errorf("%s: %d bytes of %d, size %d: %v", f.Name, len(content), len(want), f.Size, err)
		}
		found++
	}
	if found != len(contents)-1 { // all but the empty one
		t.Errorf("%d files", found)
	}
}

// containers/storage finds the tables by the footer or by the annotations, and makes the archive
// again with tar-split.
func TestTarSplitMakesTheArchiveAgain(t *testing.T) {
	tar, contents := archive(t)
	layer, annotations := write(t, tar)
	footer := layer[len(layer)-64:]
	var n [7]int64
	for i := range n {
		n[i] = int64(binary.LittleEndian.Uint64(footer[8*i:]))
	}
	if string(footer[56:]) != "GNUlInUx" {
		t.Fatalf("%q", footer)
	}
	want := fmt.Sprintf("%d:%d:%d:%d %d:%d:%d", n[0], n[1], n[2], n[3], n[4], n[5], n[6])
	found := annotations["io.github.containers.zstd-chunked.manifest-position"] + " " + annotations["io.github.containers.zstd-chunked.tarsplit-position"]
	if found != want {
		t.Errorf("footer %s, annotations %s", want, found)
	}
	split, err := chunked.NewReader(bytes.NewReader(layer[n[4] : n[4]+n[5]]))
	if err != nil {
		t.Fatal(err)
	}
	defer split.Close()
	store := storage.NewBufferFileGetPutter()
	for name, content := range contents {
		if _, _, err := store.Put(name, bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
	}
	stream := asm.NewOutputTarStream(store, storage.NewJSONUnpacker(split))
	defer stream.Close()
	again, err := io.ReadAll(stream)
	if err != nil || !bytes.Equal(again, tar) {
		t.Errorf("%d bytes of %d: %v", len(again), len(tar), err)
	}
}

func TestWhatCanHaveNoTable(t *testing.T) {
	one := func(h tar.Header) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		if err := errors.Join(w.WriteHeader(&h), w.Close()); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	good, _ := archive(t)
	for name, b := range map[string][]byte{
		"a name in Latin-1":   one(tar.Header{Typeflag: tar.TypeReg, Name: "gr\xfc\xdfe"}),
		"a link in Latin-1":   one(tar.Header{Typeflag: tar.TypeSymlink, Name: "x", Linkname: "gr\xfc\xdfe"}),
		"a contiguous file":   one(tar.Header{Typeflag: tar.TypeCont, Name: "x"}),
		"an archive cut off":  good[:len(good)/2],
		"no archive":          []byte(strings.Repeat("no archive ", 100)),
		"a file that's twice": append(one(tar.Header{Name: "x", Typeflag: tar.TypeReg})[:512], one(tar.Header{Name: "x", Typeflag: tar.TypeReg})...),
	} {
		if _, err := chunked.Write(io.Discard, bytes.NewReader(b)); !errors.Is(err, chunked.ErrNoTable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

type failing struct{ error }

func (f failing) Read([]byte) (int, error)  { return 0, f.error }
func (f failing) Write([]byte) (int, error) { return 0, f.error }

func TestErrorsOfReadingAndWritingArePassedOn(t *testing.T) {
	broken := errors.New("broken")
	tar, _ := archive(t)
	for _, begin := range [][]byte{nil, tar[:700], tar[:2_000_000]} {
		_, err := chunked.Write(io.Discard, io.MultiReader(bytes.NewReader(begin), failing{broken}))
		if !errors.Is(err, broken) || errors.Is(err, chunked.ErrNoTable) {
			t.Errorf("after %d bytes: %v", len(begin), err)
		}
	}
	if _, err := chunked.Write(failing{broken}, bytes.NewReader(tar)); !errors.Is(err, broken) || errors.Is(err, chunked.ErrNoTable) {
		t.Errorf("writing: %v", err)
	}
}

func TestPositionsOfTables(t *testing.T) {
	const key = "io.github.containers.zstd-chunked.manifest-position"
	if _, ok, err := chunked.ParsePosition(map[string]string{"other": "1"}, 100); ok || err != nil {
		t.Error(ok, err)
	}
	if p, ok, err := chunked.ParsePosition(map[string]string{key: "90:10:100:1"}, 100); !ok || err != nil || p.Offset != 90 || p.Length != 10 || p.Size != 100 {
		t.Error(p, ok, err)
	}
	for _, text := range []string{
		"", "1:2:3", "1:2:3:1:5", "1:2:x:1", "-1:2:3:1", "1:2:3:2", "91:10:100:1", "101:0:0:1",
		"0:9223372036854775807:1:1", "9223372036854775807:9223372036854775807:1:1", "0:1:268435457:1", "1:2:3:18446744073709551617",
	} {
		if _, _, err := chunked.ParsePosition(map[string]string{key: text}, 100); !errors.Is(err, chunked.ErrTable) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// Whatever a table is, it leads to nothing outside of its layer.
func FuzzTable(f *testing.F) {
	tar, _ := archive(f)
	layer, annotations := write(f, tar)
	p, _, err := chunked.ParsePosition(annotations, int64(len(layer)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(layer[p.Offset:p.Offset+p.Length], p.Size, int64(len(layer)))
	f.Fuzz(func(t *testing.T, packed []byte, size, layer int64) {
		if size < 0 || size > 1<<20 || layer < 0 {
			return
		}
		files, err := chunked.Parse(packed, chunked.Position{Length: int64(len(packed)), Size: size}, layer)
		if err != nil && !errors.Is(err, chunked.ErrTable) {
			t.Error(err)
		}
		for _, f := range files {
			if f.Name == "" && f.Size <= 0 || f.Offset < 0 || f.End <= f.Offset || f.End > layer {
				t.Errorf("%+v of %d", f, layer)
			}
		}
	})
}
