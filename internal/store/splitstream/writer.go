package splitstream

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/composefs-go/composefs/verity"
)

// inlineMax is how many inline bytes in a row become one chunk. More are very unusual.
const inlineMax = 1 << 20

// A Writer makes a splitstream. Until Finish it holds the compressed inline bytes in
// memory, and 32 or 64 bytes for each object.
type Writer struct {
	alg     verity.Algorithm
	typ     Type
	size    int64
	objects table
	streams table
	refs    []Ref
	names   map[string]struct{}
	inline  []byte // not in a chunk yet
	chunks  int
	packed  bytes.Buffer
	zstd    *zstd.Encoder
}

// A table is a list of digests without repetitions.
type table struct {
	index map[verity.Digest]int
	list  []verity.Digest
}

// add returns the place of a digest in the list.
func (t *table) add(d verity.Digest) (int, error) {
	if i, ok := t.index[d]; ok {
		return i, nil
	}
	if len(t.list) == MaxRefs {
		return 0, fmt.Errorf("%w: more than %d refs", ErrTooLarge, MaxRefs)
	}
	if t.index == nil {
		t.index = make(map[verity.Digest]int)
	}
	t.index[d] = len(t.list)
	t.list = append(t.list, d)
	return len(t.list) - 1, nil
}

// NewWriter returns a Writer of an empty stream. alg is the algorithm of all its digests.
func NewWriter(alg verity.Algorithm, typ Type) (*Writer, error) {
	if !alg.Valid() {
		return nil, fmt.Errorf("splitstream: want sha256 or sha512, found algorithm %d", alg)
	}
	w := &Writer{alg: alg, typ: typ}
	var err error
	w.zstd, err = newEncoder(&w.packed)
	return w, err
}

// newEncoder has no goroutines, so that an abandoned Writer is just garbage.
func newEncoder(w io.Writer) (*zstd.Encoder, error) {
	return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(windowSize), zstd.WithEncoderCRC(false), zstd.WithZeroFrames(true))
}

// Size returns the size in bytes of what the stream stands for so far.
func (w *Writer) Size() int64 { return w.size }

// Write appends inline bytes. It implements io.Writer.
func (w *Writer) Write(p []byte) (int, error) {
	n := len(p)
	if err := w.grow(int64(n)); err != nil {
		return 0, err
	}
	for len(p) > 0 {
		take := min(len(p), inlineMax-len(w.inline))
		w.inline, p = append(w.inline, p[:take]...), p[take:]
		if len(w.inline) == inlineMax {
			if err := w.flush(); err != nil {
				return n - len(p), err
			}
		}
	}
	return n, nil
}

// flush makes the pending inline bytes a chunk.
func (w *Writer) flush() error {
	if len(w.inline) == 0 {
		return nil
	}
	if err := w.chunk(-int64(len(w.inline))); err != nil {
		return err
	}
	_, err := w.zstd.Write(w.inline)
	w.inline = w.inline[:0]
	return err
}

func (w *Writer) chunk(n int64) error {
	if w.chunks++; w.chunks > MaxChunks {
		return fmt.Errorf("%w: more than %d chunks", ErrTooLarge, MaxChunks)
	}
	var head [8]byte
	binary.LittleEndian.PutUint64(head[:], uint64(n))
	_, err := w.zstd.Write(head[:])
	return err
}

// Object appends the content of an object, which has size bytes.
func (w *Writer) Object(d verity.Digest, size int64) error {
	if err := w.check(d); err != nil {
		return err
	}
	i, err := w.objects.add(d)
	if err != nil {
		return err
	}
	if err := w.grow(size); err != nil {
		return err
	}
	if err := w.flush(); err != nil {
		return err
	}
	return w.chunk(int64(i))
}

// Keep lets the stream refer to an object that isn't part of its bytes.
func (w *Writer) Keep(d verity.Digest) error {
	if err := w.check(d); err != nil {
		return err
	}
	_, err := w.objects.add(d)
	return err
}

// Ref adds a named reference. A name that was there before is an error.
func (w *Writer) Ref(name string, d verity.Digest) error {
	if err := w.check(d); err != nil {
		return err
	}
	if _, taken := w.names[name]; taken || strings.ContainsRune(name, 0) {
		return fmt.Errorf("splitstream: want a new name without NUL for a ref, found %q", name)
	}
	if _, err := w.streams.add(d); err != nil {
		return err
	}
	if w.names == nil {
		w.names = make(map[string]struct{})
	}
	w.names[name] = struct{}{}
	w.refs = append(w.refs, Ref{name, d})
	return nil
}

// grow counts bytes of the stream.
func (w *Writer) grow(n int64) error {
	if n < 0 || w.size > math.MaxInt64-n {
		return fmt.Errorf("splitstream: want the size of a part, found %d bytes after %d", n, w.size)
	}
	w.size += n
	return nil
}

func (w *Writer) check(d verity.Digest) error {
	if d.Algorithm() != w.alg {
		return fmt.Errorf("splitstream: want digests by %v, found %v", w.alg, d)
	}
	return nil
}

// Finish writes the splitstream to out. The Writer can't be used afterwards.
func (w *Writer) Finish(out io.Writer) error {
	if err := w.flush(); err != nil {
		return err
	}
	if err := w.zstd.Close(); err != nil {
		return err
	}
	names, err := w.nameTable()
	if err != nil {
		return err
	}
	at := uint64(headerSize + infoSize)
	place := func(size int) span {
		start := at
		at += uint64(size)
		return span{start, at}
	}
	streams, objects := place(w.alg.Size()*len(w.streams.list)), place(w.alg.Size()*len(w.objects.list))
	named, stream := place(len(names)), place(w.packed.Len())

	b := append([]byte(magic), version, 0, 0, byte(w.alg), blockBits)
	b = span{headerSize, headerSize + infoSize}.append(b)
	for _, s := range []span{streams, objects, stream, named} {
		b = s.append(b)
	}
	b = binary.LittleEndian.AppendUint64(b, uint64(w.typ))
	b = binary.LittleEndian.AppendUint64(b, uint64(w.size))
	for _, d := range slices.Concat(w.streams.list, w.objects.list) {
		b = d.AppendBytes(b)
	}
	if _, err := out.Write(append(b, names...)); err != nil {
		return err
	}
	_, err = w.packed.WriteTo(out)
	return err
}

// nameTable returns the table of named refs, packed.
func (w *Writer) nameTable() ([]byte, error) {
	slices.SortFunc(w.refs, func(a, b Ref) int { return strings.Compare(a.Name, b.Name) })
	var text []byte
	for _, r := range w.refs {
		text = strconv.AppendInt(text, int64(w.streams.index[r.Object]), 10)
		text = append(append(append(text, ':'), r.Name...), 0)
	}
	if len(text) > MaxNames {
		return nil, fmt.Errorf("%w: its names take more than %d bytes", ErrTooLarge, MaxNames)
	}
	var packed bytes.Buffer
	z, err := newEncoder(&packed)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(text); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return packed.Bytes(), nil
}
