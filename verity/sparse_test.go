package verity_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/internal/testing/testutil"
	"github.com/composefs-go/composefs/verity"
)

// An extent is a piece of a file with content.
type extent struct {
	off     int64
	content []byte
}

// A sparse is a file of extents, ascending, and zeros between them.
type sparse struct {
	size    int64
	extents []extent
	reads   int64 // bytes that were read
}

func (s *sparse) NextData(off int64) (start, end int64, err error) {
	for _, e := range s.extents {
		if stop := e.off + int64(len(e.content)); off < stop {
			return max(off, e.off), stop, nil
		}
	}
	return s.size, s.size, nil
}

func (s *sparse) ReadAt(b []byte, off int64) (int, error) {
	n := min(int64(len(b)), max(0, s.size-off))
	clear(b[:n])
	s.reads += n
	for _, e := range s.extents {
		if from, to := max(off, e.off), min(off+n, e.off+int64(len(e.content))); from < to {
			copy(b[from-off:to-off], e.content[from-e.off:])
		}
	}
	if n < int64(len(b)) {
		return int(n), io.EOF
	}
	return int(n), nil
}

// randomSparse is a file of at most so many bytes, with data and holes of all sizes at
// any place, of which some are aligned.
func randomSparse(r *rand.Rand, most int64) *sparse {
	s := &sparse{size: 1 + r.Int64N(most)}
	for off := int64(0); ; {
		length := func() int64 {
			n := 1 + r.Int64N([]int64{10, 5000, 100_000, 2 << 20}[r.IntN(4)])
			if r.IntN(3) == 0 {
				n = (n + verity.BlockSize - 1) / verity.BlockSize * verity.BlockSize
			}
			return n
		}
		if off += length(); off >= s.size {
			return s
		}
		content := make([]byte, min(length(), s.size-off))
		for i := range content {
			content[i] = byte(r.Uint32())
		}
		s.extents = append(s.extents, extent{off, content})
		off += int64(len(content))
	}
}

// serial hides a file's extents.
type serial struct{ io.ReaderAt }

func TestHolesHaveTheDigestOfTheirZeros(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 1))
		s := randomSparse(r, []int64{1 << 14, 1 << 20, 20 << 20}[seed%3])
		for _, alg := range algorithms {
			want, err := verity.SumFile(alg, serial{s}, s.size)
			if err != nil {
				t.Fatal(err)
			}
			h := verity.NewHasher(alg)
			if got, err := h.SumSparse(s, s.size, make([]byte, 64<<10)); err != nil || got != want {
				t.Errorf("seed %d, %v, %d bytes: found %v, %v; want %v", seed, alg, s.size, got, err, want)
			}
			h.Reset()
			off := int64(0)
			for _, e := range s.extents {
				_, _ = h.WriteZeros(e.off - off)
				_, _ = h.Write(e.content)
				off = e.off + int64(len(e.content))
			}
			_, _ = h.WriteZeros(s.size - off)
			if got := h.Sum(); got != want || h.Size() != s.size {
				t.Errorf("seed %d, %v, %d bytes written: found %v of %d, want %v", seed, alg, s.size, got, h.Size(), want)
			}
			var tree, wantTree bytes.Buffer
			_, _, err1 := verity.MerkleTree(alg, s, s.size, &tree)
			_, _, err2 := verity.MerkleTree(alg, serial{s}, s.size, &wantTree)
			if err := errors.Join(err1, err2); err != nil || !bytes.Equal(tree.Bytes(), wantTree.Bytes()) {
				t.Errorf("seed %d, %v: another Merkle tree, %v", seed, alg, err)
			}
		}
	}
}

func TestFsverityAgreesOnHoles(t *testing.T) {
	testutil.RequireTool(t, "fsverity")
	for seed := range uint64(3) {
		r := rand.New(rand.NewPCG(seed, 2))
		s := randomSparse(r, 70<<20)
		name := filepath.Join(t.TempDir(), "sparse")
		f, err := os.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range s.extents {
			if _, err := f.WriteAt(e.content, e.off); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(f.Truncate(s.size), f.Close()); err != nil {
			t.Fatal(err)
		}
		for _, alg := range algorithms {
			out, err := exec.Command("fsverity", "digest", "--compact", "--hash-alg="+alg.Hash(), name).Output()
			if err != nil {
				t.Fatal(err)
			}
			got, err := verity.NewHasher(alg).SumSparse(s, s.size, make([]byte, 64<<10))
			if err != nil || got.Hex() != strings.TrimSpace(string(out)) {
				t.Errorf("seed %d, %v, %d bytes: found %v, %v; fsverity has %s", seed, alg, s.size, got, err, out)
			}
		}
	}
}

// However zeros are shared out between calls, and whatever their number, the digest is
// one: more of them than could ever be hashed one by one.
func TestZerosAreTheSameInAnyPortions(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 3))
		size := r.Int64N(1 << (13 + r.IntN(50)))
		for _, alg := range algorithms {
			whole := verity.NewHasher(alg)
			_, _ = whole.WriteZeros(size)
			parts := verity.NewHasher(alg)
			for left := size; left > 0; {
				n := min(left, 1+r.Int64N(max(1, size/2)))
				if n < 10_000 && r.IntN(2) == 0 {
					_, _ = parts.Write(make([]byte, n))
				} else {
					_, _ = parts.WriteZeros(n)
				}
				left -= n
			}
			if whole.Sum() != parts.Sum() || whole.Size() != size || parts.Size() != size {
				t.Errorf("seed %d, %v: %d zeros have two digests", seed, alg, size)
			}
		}
	}
	h := verity.NewHasher(verity.SHA256)
	_, _ = h.WriteZeros(1<<63 - 1)
	_, _ = h.WriteZeros(0)
	_, _ = h.WriteZeros(-5)
	if h.Size() != 1<<63-1 {
		t.Error(h.Size())
	}
	_, _ = verity.NewHasher(0).WriteZeros(1 << 40)
}

func TestHolesArentRead(t *testing.T) {
	s := &sparse{size: 1 << 50, extents: []extent{{1<<40 + 5, []byte("here")}, {1 << 49, []byte("and here")}}}
	for _, alg := range algorithms {
		s.reads = 0
		if _, err := verity.NewHasher(alg).SumSparse(s, s.size, make([]byte, 64<<10)); err != nil || s.reads > 2*verity.BlockSize {
			t.Errorf("%v: %d bytes were read, %v", alg, s.reads, err)
		}
	}
}

func TestSumSparseRefusesAFileThatShrank(t *testing.T) {
	for _, s := range []*sparse{{size: 1 << 20}, {size: 1 << 20, extents: []extent{{1000, []byte("x")}}}, {size: 30 << 20, extents: []extent{{0, make([]byte, 30<<20)}}}} {
		for _, more := range []int64{1, 5 << 20} {
			if d, err := verity.NewHasher(verity.SHA256).SumSparse(s, s.size+more, make([]byte, 64<<10)); !errors.Is(err, verity.ErrTruncated) {
				t.Errorf("%d bytes, wanted %d more: %v, %v", s.size, more, d, err)
			}
		}
	}
}

func TestAllocationsForZerosAreNone(t *testing.T) {
	h := verity.NewHasher(verity.SHA256)
	s := &sparse{size: 1 << 40, extents: []extent{{1 << 30, []byte("x")}}}
	buf := make([]byte, 64<<10)
	if n := testing.AllocsPerRun(10, func() {
		h.Reset()
		_, _ = h.WriteZeros(1 << 40)
		_ = h.Sum()
		_, _ = h.SumSparse(s, s.size, buf)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkWriteZeros is a hole of a tebibyte.
func BenchmarkWriteZeros(b *testing.B) {
	for _, alg := range algorithms {
		b.Run(alg.Hash(), func(b *testing.B) {
			h := verity.NewHasher(alg)
			b.ReportAllocs()
			for b.Loop() {
				h.Reset()
				_, _ = h.WriteZeros(1<<40 - 1)
				_ = h.Sum()
			}
		})
	}
}
