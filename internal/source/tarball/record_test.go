package tarball_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/source/tarball"
	"github.com/composefs-go/composefs/verity"
)

// A recorder remembers the pieces of an archive.
type recorder struct {
	pieces []tarball.Piece
	size   int64
	kept   []verity.Digest
}

// Write implements io.Writer. How many pieces there are depends on how fast the workers are, so
// they become one.
func (r *recorder) Write(p []byte) (int, error) {
	if n := len(r.pieces); n > 0 && r.pieces[n-1].Inline != nil {
		r.pieces[n-1].Inline = append(r.pieces[n-1].Inline, p...)
	} else {
		r.pieces = append(r.pieces, tarball.Piece{Inline: bytes.Clone(p)})
	}
	r.size += int64(len(p))
	return len(p), nil
}

func (r *recorder) Object(d verity.Digest, size int64) error {
	r.pieces = append(r.pieces, tarball.Piece{Object: d, Size: size})
	r.size += size
	return nil
}

func (r *recorder) Keep(d verity.Digest) error {
	r.kept = append(r.kept, d)
	return nil
}

func (r *recorder) each(yield func(tarball.Piece, error) bool) {
	for _, p := range r.pieces {
		if !yield(p, nil) {
			return
		}
	}
}

// A recorded archive, and the contents of its objects.
type recorded struct {
	recorder
	contents *keeper
	tree     *tree.Node
}

func record(b []byte, change ...func(*tarball.Options)) (*recorded, error) {
	r := &recorded{contents: &keeper{contents: make(map[verity.Digest]string)}}
	o := options(change...)
	o.Sink = r.contents
	builder := tarball.NewBuilder(o)
	if err := builder.Record(context.Background(), bytes.NewReader(b), nil, &r.recorder); err != nil {
		return nil, err
	}
	r.tree = builder.Tree()
	return r, nil
}

func (r *recorded) open(d verity.Digest) (io.ReadCloser, error) {
	content, ok := r.contents.contents[d]
	if !ok {
		return nil, errors.New("no such object")
	}
	return io.NopCloser(strings.NewReader(content)), nil
}

// replay reads the recording. Objects that it opens are counted.
func (r *recorded) replay(opened *int, change ...func(*tarball.Options)) (*tree.Node, error) {
	o := options(change...)
	o.Sink = r.contents
	b := tarball.NewBuilder(o)
	err := b.Replay(context.Background(), tarball.Recording{Size: r.size, Pieces: r.each, Open: func(d verity.Digest) (io.ReadCloser, error) {
		*opened++
		return r.open(d)
	}})
	if err != nil {
		return nil, err
	}
	return b.Tree(), nil
}

// checkRecorded checks that a recording has all bytes of the archive and replays as its tree.
func checkRecorded(t *testing.T, b []byte, change ...func(*tarball.Options)) *recorded {
	t.Helper()
	want, err := read(b, change...)
	if err != nil {
		t.Fatal(err)
	}
	r, err := record(b, change...)
	if err != nil {
		t.Fatalf("recorded: %v", err)
	}
	if list(r.tree) != list(want) {
		t.Errorf("recorded: %s", firstDifference(list(r.tree), list(want)))
	}
	var whole, joined bytes.Buffer
	if err := tarball.Unpack(context.Background(), &whole, bytes.NewReader(b), 0); err != nil {
		t.Fatal(err)
	}
	for _, p := range r.pieces {
		if p.Inline != nil {
			joined.Write(p.Inline)
			continue
		}
		content := r.contents.contents[p.Object]
		if int64(len(content)) != p.Size {
			t.Errorf("an object of %d bytes, found %d", p.Size, len(content))
		}
		joined.WriteString(content)
	}
	if !bytes.Equal(whole.Bytes(), joined.Bytes()) {
		t.Errorf("the recording has other bytes than the archive: %d, want %d", joined.Len(), whole.Len())
	}
	opened := 0
	again, err := r.replay(&opened, change...)
	if err != nil {
		t.Fatalf("replayed: %v", err)
	}
	if list(again) != list(want) {
		t.Errorf("replayed: %s", firstDifference(list(again), list(want)))
	}
	return r
}

func TestARecordingHasTheBytesAndTheTreeOfItsArchive(t *testing.T) {
	large := strings.Repeat("0123456789abcdef", 100_000)
	entries := []entry{
		dir("./"), file("a", long), file("empty", ""), file("small", "1"), hardLink("b", "a"), symlink("c", "a"),
		file("large", large), file("same", large), file("d/e", long+"x"), file(".wh.a", long+large), file(".wh.x", ""),
	}
	for i := range 3000 {
		entries = append(entries, file("many/"+strings.Repeat("n", 1+i%200)+string(rune('a'+i%26)), long+strings.Repeat("y", i)))
	}
	for name, b := range map[string][]byte{"plain": archive(t, entries...), "gzip": gzipped(t, archive(t, entries...)), "zstd": zstded(t, archive(t, entries...))} {
		t.Run(name, func(t *testing.T) {
			r := checkRecorded(t, b)
			inline := 0
			for _, p := range r.pieces {
				inline += len(p.Inline)
			}
			if inline > 5000*1024 {
				t.Errorf("%d bytes are inline", inline)
			}
		})
	}
	for name, b := range sparseArchives {
		t.Run("sparse, "+name, func(t *testing.T) { checkRecorded(t, b()) })
	}
}

func TestAReplayReadsNoContent(t *testing.T) {
	r, err := record(archive(t, file("a", long), file("b", long+"b")))
	if err != nil {
		t.Fatal(err)
	}
	r.contents.contents = nil
	opened := 0
	if _, err := r.replay(&opened); err != nil || opened > 0 {
		t.Errorf("opened %d objects, %v", opened, err)
	}
}

// The packed content of a large sparse file is an object too, which a replay has to read.
func TestALargeSparseFileIsRecordedAsAnObject(t *testing.T) {
	const packed, whole = "262144", "1048576"
	content := strings.Repeat("0123456789abcdef", 1<<14)
	b := paxContent(content, "GNU.sparse.size", whole, "GNU.sparse.numblocks", "1", "GNU.sparse.map", "4096,"+packed)
	r := checkRecorded(t, b)
	objects := 0
	for _, p := range r.pieces {
		if p.Inline == nil {
			objects++
		}
	}
	if len(r.kept) != 1 || r.kept[0] != r.tree.Lookup("s").Object {
		t.Errorf("want the whole file kept, found %v", r.kept)
	}
	if objects != 1 || len(r.contents.contents) != 2 {
		t.Errorf("want an object for what is packed and one for the file, found %d and %d", objects, len(r.contents.contents))
	}
}

// Programs may make objects of other parts of an archive, such as long names.
func TestObjectsThatAreNoContentAreRead(t *testing.T) {
	r, err := record(archive(t, file("a", long)))
	if err != nil {
		t.Fatal(err)
	}
	want := list(r.tree)
	header := r.pieces[0].Inline
	d, err := r.contents.PutBytes(header)
	if err != nil {
		t.Fatal(err)
	}
	r.pieces[0] = tarball.Piece{Object: d, Size: int64(len(header))}
	opened := 0
	root, err := r.replay(&opened)
	if err != nil || list(root) != want || opened != 1 {
		t.Errorf("opened %d objects, %v", opened, err)
	}
}

func TestADamagedRecordingIsRefused(t *testing.T) {
	errRead := errors.New("input/output error")
	for name, c := range map[string]struct {
		change func(*recorded)
		want   string
	}{
		"an object is too short":  {func(r *recorded) { r.pieces[1].Size-- }, "tar"},
		"an object is too long":   {func(r *recorded) { r.pieces[1].Size++ }, "tar"},
		"an object is empty":      {func(r *recorded) { r.pieces[1].Size = 0 }, "is empty"},
		"a piece is missing":      {func(r *recorded) { r.pieces = r.pieces[:1] }, "unexpected EOF"},
		"it can't be read":        {func(r *recorded) { r.pieces[2] = tarball.Piece{Inline: []byte{}} }, ""},
		"the object isn't there":  {func(r *recorded) { r.pieces[1].Size++; r.contents.contents = nil }, "no such object"},
		"the object is truncated": {func(r *recorded) { r.pieces[1].Size += 1 << 20 }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := record(archive(t, file("a", long), file("b", "")))
			if err != nil {
				t.Fatal(err)
			}
			c.change(r)
			opened := 0
			if _, err := r.replay(&opened); err == nil || !errors.Is(err, tarball.ErrArchive) && !strings.Contains(err.Error(), c.want) {
				t.Errorf("want an error with %q, found %v", c.want, err)
			}
		})
	}
	b := tarball.NewBuilder(options())
	err := b.Replay(context.Background(), tarball.Recording{Pieces: func(yield func(tarball.Piece, error) bool) { yield(tarball.Piece{}, errRead) }})
	if !errors.Is(err, errRead) {
		t.Errorf("want the error of the recording, found %v", err)
	}
}

func TestAnInterruptedRecordingEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	b := tarball.NewBuilder(options())
	if err := b.Record(ctx, bytes.NewReader(archive(t, file("a", long))), nil, &recorder{}); !errors.Is(err, context.Canceled) {
		t.Errorf("want %v, found %v", context.Canceled, err)
	}
	full := tarball.NewBuilder(options(func(o *tarball.Options) { o.Sink = fullSink{} }))
	for _, b := range [][]byte{archive(t, file("a", long), file("b", "")), paxContent(strings.Repeat("x", 1<<18), "GNU.sparse.size", "1048576", "GNU.sparse.numblocks", "1", "GNU.sparse.map", "0,262144")} {
		if err := full.Record(context.Background(), bytes.NewReader(b), nil, &recorder{}); !errors.Is(err, errFull) {
			t.Errorf("want %v, found %v", errFull, err)
		}
	}
}
