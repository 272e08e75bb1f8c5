package verity_test

import (
	"bytes"
	"testing"

	"github.com/composefs-go/composefs/verity"
)

var algorithms = []verity.Algorithm{verity.SHA256, verity.SHA512}

// BenchmarkHasher is the hot loop of every import: one core, no allocation.
func BenchmarkHasher(b *testing.B) {
	content := randomBytes(1, 4<<20)
	for _, alg := range algorithms {
		b.Run(alg.Hash(), func(b *testing.B) { benchmarkHasher(b, alg, content) })
	}
	b.Run("sha256-without-pairs", func(b *testing.B) {
		verity.WithoutSum256x2(b)
		benchmarkHasher(b, verity.SHA256, content)
	})
}

func benchmarkHasher(b *testing.B, alg verity.Algorithm, content []byte) {
	h := verity.NewHasher(alg)
	b.SetBytes(int64(len(content)))
	b.ReportAllocs()
	for b.Loop() {
		h.Reset()
		_, _ = h.Write(content)
		_ = h.Sum()
	}
}

// BenchmarkReadFrom hashes files of a usual size with one Hasher.
func BenchmarkReadFrom(b *testing.B) {
	content := randomBytes(1, 20000)
	h := verity.NewHasher(verity.SHA256)
	r := bytes.NewReader(content)
	b.SetBytes(int64(len(content)))
	b.ReportAllocs()
	for b.Loop() {
		h.Reset()
		r.Reset(content)
		if _, err := h.ReadFrom(r); err != nil {
			b.Fatal(err)
		}
		_ = h.Sum()
	}
}

// BenchmarkSumFile hashes one large file with all cores.
func BenchmarkSumFile(b *testing.B) {
	content := randomBytes(1, 64<<20)
	for _, alg := range algorithms {
		b.Run(alg.Hash(), func(b *testing.B) {
			b.SetBytes(int64(len(content)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := verity.SumFile(alg, bytes.NewReader(content), int64(len(content))); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkMerkleTree makes the tree that a disk image stores behind a file.
func BenchmarkMerkleTree(b *testing.B) {
	content := randomBytes(1, 4<<20)
	b.SetBytes(int64(len(content)))
	var tree bytes.Buffer
	for b.Loop() {
		tree.Reset()
		if _, _, err := verity.MerkleTree(verity.SHA256, bytes.NewReader(content), int64(len(content)), &tree); err != nil {
			b.Fatal(err)
		}
	}
}
