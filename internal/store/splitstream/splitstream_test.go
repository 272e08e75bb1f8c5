package splitstream_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/composefs-go/composefs/internal/store/splitstream"
	"github.com/composefs-go/composefs/verity"
)

// An objects is a store in memory.
type objects map[verity.Digest][]byte

func (o objects) add(alg verity.Algorithm, content []byte) verity.Digest {
	d := verity.Sum(alg, content)
	o[d] = content
	return d
}

func (o objects) open(d verity.Digest) (io.ReadCloser, error) {
	content, ok := o[d]
	if !ok {
		return nil, errors.New("no such object")
	}
	return io.NopCloser(bytes.NewReader(content)), nil
}

// A sample is a stream that composefs-rs has written to testdata.
type sample struct {
	name  string
	typ   splitstream.Type
	write func(w *splitstream.Writer, o objects, alg verity.Algorithm) error
	bytes string
}

var (
	many   = []byte(strings.Repeat("B", 5000))
	few    = []byte(strings.Repeat("A", 100))
	config = []byte(`{"json": true}`)
)

var samples = []sample{
	{"empty", 7, func(*splitstream.Writer, objects, verity.Algorithm) error { return nil }, ""},
	{"layer", splitstream.Layer, func(w *splitstream.Writer, o objects, alg verity.Algorithm) error {
		a, b := o.add(alg, few), o.add(alg, many)
		_, e1 := io.WriteString(w, "hello ")
		_, e2 := io.WriteString(w, "inline")
		e3 := w.Object(a, 100)
		_, e4 := w.Write(make([]byte, 412))
		e5, e6 := w.Object(b, 5000), w.Object(a, 100)
		_, e7 := io.WriteString(w, "tail")
		return errors.Join(e1, e2, e3, e4, e5, e6, e7)
	}, "hello inline" + string(few) + strings.Repeat("\x00", 412) + string(many) + string(few) + "tail"},
	{"config", splitstream.Config, func(w *splitstream.Writer, o objects, alg verity.Algorithm) error {
		empty, layer := verity.Sum(alg, read("empty", alg)), verity.Sum(alg, read("layer", alg))
		return errors.Join(w.Object(o.add(alg, config), int64(len(config))),
			w.Ref("zeta", empty), w.Ref("alpha", layer), w.Ref("mid", empty))
	}, string(config)},
}

func file(name string, alg verity.Algorithm, suffix string) string {
	return fmt.Sprintf("testdata/%s.%s.%s", name, alg.Hash(), suffix)
}

func read(name string, alg verity.Algorithm) []byte {
	b, err := os.ReadFile(file(name, alg, "splitstream"))
	if err != nil {
		panic(err)
	}
	return b
}

func open(t *testing.T, b []byte) *splitstream.Reader {
	t.Helper()
	r, err := splitstream.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A meaning is what must be equal for all writers.
type meaning struct {
	Type    splitstream.Type
	Size    int64
	Objects []verity.Digest
	Refs    []splitstream.Ref
	Chunks  []string
}

func meaningOf(b []byte) (m meaning, err error) {
	r, err := splitstream.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return m, err
	}
	m = meaning{r.Type, r.Size, r.Objects, r.Refs, nil}
	for c, err := range r.Chunks() {
		if err != nil {
			return m, err
		}
		m.Chunks = append(m.Chunks, fmt.Sprintf("%s %x", c.Object, c.Inline))
	}
	return m, nil
}

func TestStreamsMeanTheSameAsTheOnesOfComposefsRs(t *testing.T) {
	for _, s := range samples {
		for _, alg := range []verity.Algorithm{verity.SHA256, verity.SHA512} {
			theirs, o := read(s.name, alg), objects{}
			want, err := meaningOf(theirs)
			if err != nil {
				t.Fatalf("%s: %v", s.name, err)
			}
			w, err := splitstream.NewWriter(alg, s.typ)
			if err != nil {
				t.Fatal(err)
			}
			var ours bytes.Buffer
			if err := errors.Join(s.write(w, o, alg), w.Finish(&ours)); err != nil {
				t.Fatalf("%s: %v", s.name, err)
			}
			if found, err := meaningOf(ours.Bytes()); err != nil || !reflect.DeepEqual(found, want) {
				t.Errorf("%s, %v: %v\n%+v\nwant\n%+v", s.name, alg, err, found, want)
			}
			for who, b := range map[string][]byte{"ours": ours.Bytes(), "theirs": theirs, "as bootc 1.15 wrote it": old(theirs)} {
				var merged strings.Builder
				if err := open(t, b).Merge(&merged, o.open); err != nil || merged.String() != s.bytes {
					t.Errorf("%s, %v, %s: %v, %d bytes, want %d", s.name, alg, who, err, merged.Len(), len(s.bytes))
				}
			}
			digest, err := os.ReadFile(file(s.name, alg, "verity"))
			if err != nil || strings.TrimSpace(string(digest)) != verity.Sum(alg, theirs).Hex() {
				t.Errorf("%s, %v: %v, the sample isn't the recorded one", s.name, alg, err)
			}
		}
	}
}

// old permutes the header to the order of bootc 1.15.
func old(b []byte) []byte {
	b = bytes.Clone(b)
	h := bytes.Clone(b[:32])
	copy(b[0:16], h[16:32])
	copy(b[16:18], h[12:14])
	copy(b[18:29], h[0:11])
	copy(b[29:32], []byte{h[11], h[14], h[15]})
	return b
}

func TestAStreamKeepsObjectsThatNoChunkUses(t *testing.T) {
	w, err := splitstream.NewWriter(verity.SHA256, splitstream.Layer)
	if err != nil {
		t.Fatal(err)
	}
	d := verity.Sum(verity.SHA256, many)
	var b bytes.Buffer
	if err := errors.Join(w.Keep(d), w.Keep(d), w.Finish(&b)); err != nil {
		t.Fatal(err)
	}
	if r := open(t, b.Bytes()); len(r.Objects) != 1 || r.Objects[0] != d || r.Size != 0 {
		t.Errorf("found %d objects and %d bytes, want one and none", len(r.Objects), r.Size)
	}
}

func TestAWriterTakesOnlyOneAlgorithmAndEachNameOnce(t *testing.T) {
	w, err := splitstream.NewWriter(verity.SHA256, splitstream.Config)
	if err != nil {
		t.Fatal(err)
	}
	d, other := verity.Sum(verity.SHA256, nil), verity.Sum(verity.SHA512, nil)
	for what, err := range map[string]error{
		"an object by another": w.Object(other, 0), "a kept one": w.Keep(other), "a ref": w.Ref("a", other),
		"a negative size": w.Object(d, -1), "a size beyond all": errors.Join(w.Object(d, 1<<62), w.Object(d, 1<<62)),
		"a name with NUL": w.Ref("a\x00", d), "a name twice": errors.Join(w.Ref("b", d), w.Ref("b", d)),
	} {
		if err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	if _, err := splitstream.NewWriter(0, 0); err == nil {
		t.Error("no algorithm: no error")
	}
}

func TestDamagedStreamsAreRefused(t *testing.T) {
	layer, conf := read("layer", verity.SHA256), read("config", verity.SHA256)
	set := func(b []byte, at int, value uint64) []byte {
		b = bytes.Clone(b)
		binary.LittleEndian.PutUint64(b[at:], value)
		return b
	}
	setByte := func(b []byte, at int, value byte) []byte {
		b = bytes.Clone(b)
		b[at] = value
		return b
	}
	o := objects{}
	o.add(verity.SHA256, few)
	o.add(verity.SHA256, many)
	o.add(verity.SHA256, nil)
	for _, tt := range []struct {
		name  string
		bytes []byte
		want  string
	}{
		{"nothing", nil, "cut short"},
		{"something else", make([]byte, 200), `want "SplitStream" at its beginning`},
		{"version", setByte(layer, 11, 1), "want version 0, found 1"},
		{"algorithm", setByte(layer, 14, 3), "found 3"},
		{"block", setByte(layer, 15, 16), "found 2^16"},
		{"info beyond the end", set(layer, 24, 1<<40), "want the info in its"},
		{"info too short", set(layer, 24, 40), "want the info in its"},
		{"stream backwards", set(layer, 64, 1<<62), "want the stream in its"},
		{"objects beyond the end", set(layer, 56, 1<<62), "want the object refs in its"},
		{"half an object", set(layer, 56, 112+33), "want object refs of 32 bytes each"},
		{"negative size", set(layer, 104, 1<<63), "it claims to have"},
		{"too small a size", set(layer, 104, 100), "than it claims to have"},
		{"too large a size", set(layer, 104, 1<<40), "bytes that it claims to have, found 5628"},
		{"an object that it hasn't", set(layer, 56, 112+32), "want one of its 1 objects, found object 1"},
		{"a ref that it hasn't", set(conf, 40, 112+32), "want a named ref, INDEX:NAME with an index below 1"},
		{"cut in the stream", func() []byte { b := set(layer, 72, uint64(len(layer)-3)); return b[:len(b)-3] }(), "unpack its stream"},
		{"stream refs over the header", set(set(conf, 32, 0), 40, 32), "want the stream refs in a place of its own"},
		{"objects over the stream refs", set(set(conf, 48, 0x70), 56, 0x90), "want the object refs in a place of its own"},
		{"empty objects", empties(2), "is empty"},
		{"damaged names", setByte(conf, 0xd0, 0), "unpack its named refs"},
	} {
		r, err := splitstream.Open(bytes.NewReader(tt.bytes), int64(len(tt.bytes)))
		if err == nil {
			err = r.Merge(io.Discard, o.open)
		}
		if !errors.Is(err, splitstream.ErrFormat) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestTypesAreNamedByTheirCharacters(t *testing.T) {
	for typ, want := range map[splitstream.Type]string{
		splitstream.Layer: "ocilayer", splitstream.Config: "ociconfg", splitstream.Manifest: "ocimanif", splitstream.Blob: "oci_blob", 7: "0x7",
	} {
		if typ.String() != want {
			t.Errorf("found %s, want %s", typ, want)
		}
	}
}

// A padded is a file with endless zeros behind it.
type padded []byte

func (p padded) ReadAt(b []byte, off int64) (int, error) {
	clear(b)
	if off < int64(len(p)) {
		copy(b, p[off:])
	}
	return len(b), nil
}

// Nothing beyond a limit is read, and nothing is written that couldn't be read.
func TestBothSidesKeepTheLimits(t *testing.T) {
	conf, empty := read("config", verity.SHA256), verity.Sum(verity.SHA256, nil)
	refs := bytes.Clone(conf)
	binary.LittleEndian.PutUint64(refs[48:], 1<<20)
	binary.LittleEndian.PutUint64(refs[56:], 1<<20+32*(splitstream.MaxRefs+1))
	_, err := splitstream.Open(padded(refs), 1<<30)
	if !errors.Is(err, splitstream.ErrTooLarge) {
		t.Errorf("object refs: %v", err)
	}

	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	names := bytes.Clone(conf)
	packed := z.EncodeAll(make([]byte, splitstream.MaxNames+1), nil)
	binary.LittleEndian.PutUint64(names[80:], uint64(len(conf)))
	binary.LittleEndian.PutUint64(names[88:], uint64(len(conf)+len(packed)))
	names = append(names, packed...)
	if _, err := splitstream.Open(bytes.NewReader(names), int64(len(names))); !errors.Is(err, splitstream.ErrTooLarge) {
		t.Errorf("names: %v", err)
	}
	w, err := splitstream.NewWriter(verity.SHA256, splitstream.Config)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Ref(strings.Repeat("x", splitstream.MaxNames), empty), w.Finish(io.Discard)); !errors.Is(err, splitstream.ErrTooLarge) {
		t.Errorf("write names: %v", err)
	}

	if w, err = splitstream.NewWriter(verity.SHA256, splitstream.Blob); err != nil {
		t.Fatal(err)
	}
	for range splitstream.MaxChunks {
		if err := w.Object(empty, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Object(empty, 0); !errors.Is(err, splitstream.ErrTooLarge) {
		t.Errorf("write chunks: %v", err)
	}
	// Eight bytes of zeros are a chunk, the first object.
	chunks := empties(1)
	stream := binary.LittleEndian.Uint64(chunks[64:])
	chunks = z.EncodeAll(make([]byte, 8*(splitstream.MaxChunks+1)), chunks[:stream])
	binary.LittleEndian.PutUint64(chunks[72:], uint64(len(chunks)))
	seen := 0
	for _, err = range open(t, chunks).Chunks() {
		seen++
	}
	if seen != splitstream.MaxChunks+1 || !errors.Is(err, splitstream.ErrTooLarge) {
		t.Errorf("chunks: %v after %d of them", err, seen)
	}
}

// empties returns an empty stream that refers to the empty object n times.
func empties(n int) []byte {
	w, err := splitstream.NewWriter(verity.SHA256, splitstream.Blob)
	if err != nil {
		panic(err)
	}
	var b bytes.Buffer
	for range n {
		if err := w.Object(verity.Sum(verity.SHA256, nil), 0); err != nil {
			panic(err)
		}
	}
	if err := w.Finish(&b); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func TestAnEmptyBlobIsAStreamOfAnEmptyObject(t *testing.T) {
	o := objects{}
	o.add(verity.SHA256, nil)
	if err := open(t, empties(1)).Merge(io.Discard, o.open); err != nil {
		t.Error(err)
	}
}

// A failing is a file whose bytes from an offset on can't be read.
type failing struct {
	*bytes.Reader
	from int64
}

var errGone = errors.New("the device is gone")

func (f failing) ReadAt(b []byte, off int64) (int, error) {
	if off+int64(len(b)) > f.from {
		return 0, errGone
	}
	return f.Reader.ReadAt(b, off)
}

func TestAnErrorOfReadingIsNotTakenForDamage(t *testing.T) {
	b := read("config", verity.SHA256)
	for from := range int64(len(b)) {
		f := failing{bytes.NewReader(b), from}
		r, err := splitstream.Open(f, int64(len(b)))
		if err == nil {
			err = r.Merge(io.Discard, objects{verity.Sum(verity.SHA256, config): config}.open)
		}
		if !errors.Is(err, errGone) || errors.Is(err, splitstream.ErrFormat) {
			t.Fatalf("unreadable from %d on: %v, want %v", from, err, errGone)
		}
	}
}

func TestLongRunsOfInlineBytesAreReadInPieces(t *testing.T) {
	w, err := splitstream.NewWriter(verity.SHA512, splitstream.Layer)
	if err != nil {
		t.Fatal(err)
	}
	content := bytes.Repeat([]byte("0123456789abcdef"), 200<<10)
	var b, merged bytes.Buffer
	for part := content; len(part) > 0; part = part[min(len(part), 1000):] {
		if _, err := w.Write(part[:min(len(part), 1000)]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Finish(&b); err != nil {
		t.Fatal(err)
	}
	if err := open(t, b.Bytes()).Merge(&merged, nil); err != nil || !bytes.Equal(merged.Bytes(), content) {
		t.Errorf("%v, %d bytes, want %d", err, merged.Len(), len(content))
	}
}

// FuzzOpen: whatever is read can be written again, and then means the same.
func FuzzOpen(f *testing.F) {
	for _, s := range samples {
		for _, alg := range []verity.Algorithm{verity.SHA256, verity.SHA512} {
			f.Add(read(s.name, alg))
			f.Add(old(read(s.name, alg)))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := meaningOf(b)
		if err != nil {
			return
		}
		again, err := rewrite(open(t, b))
		if err != nil {
			t.Fatal(err)
		}
		n, err := meaningOf(again)
		if err != nil {
			t.Fatal(err)
		}
		m.Objects = unique(m.Objects) // a writer never repeats one
		m.Size, n.Size = 0, 0         // there are no objects whose sizes could be told
		m.Chunks, n.Chunks = runs(m.Chunks), runs(n.Chunks)
		if !reflect.DeepEqual(n, m) {
			t.Errorf("%+v became %+v", m, n)
		}
	})
}

// rewrite writes what a Reader reads.
func rewrite(r *splitstream.Reader) ([]byte, error) {
	w, err := splitstream.NewWriter(r.Algorithm, r.Type)
	if err != nil {
		return nil, err
	}
	for _, d := range r.Objects {
		if err := w.Keep(d); err != nil {
			return nil, err
		}
	}
	for _, ref := range r.Refs {
		if err := w.Ref(ref.Name, ref.Object); err != nil {
			return nil, err
		}
	}
	for c, err := range r.Chunks() {
		if err == nil && c.Object.IsZero() {
			_, err = w.Write(c.Inline)
		} else if err == nil {
			err = w.Object(c.Object, 0)
		}
		if err != nil {
			return nil, err
		}
	}
	var b bytes.Buffer
	err = w.Finish(&b)
	return b.Bytes(), err
}

func unique(list []verity.Digest) (out []verity.Digest) {
	out = list[:0:0]
	for _, d := range list {
		if !slices.Contains(out, d) {
			out = append(out, d)
		}
	}
	return out
}

// runs joins inline chunks that follow one another: where they are cut means nothing.
func runs(chunks []string) (out []string) {
	const inline = "none "
	for _, c := range chunks {
		bytes, ok := strings.CutPrefix(c, inline)
		if last := len(out) - 1; ok && last >= 0 && strings.HasPrefix(out[last], inline) {
			out[last] += bytes
		} else if c != inline {
			out = append(out, c)
		}
	}
	return out
}
