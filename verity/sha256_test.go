package verity_test

import (
	"bytes"
	"crypto/sha256"
	"math/rand/v2"
	"testing"

	"github.com/composefs-go/composefs/verity"
)

// checkPair compares both hashes with the standard library's.
func checkPair(t *testing.T, a, b *[verity.BlockSize]byte) {
	t.Helper()
	before := [...][verity.BlockSize]byte{*a, *b}
	var pair [64]byte
	verity.Sum256x2(&pair, a, b)
	for i, content := range before {
		want := sha256.Sum256(content[:])
		if !bytes.Equal(pair[32*i:][:32], want[:]) {
			t.Fatalf("hash %d: found %x, want %x", i, pair[32*i:][:32], want)
		}
	}
	if *a != before[0] || *b != before[1] {
		t.Fatal("a block was written to")
	}
}

func requirePairs(t *testing.T) {
	t.Helper()
	if !verity.HasSum256x2() {
		t.Skip("this processor hashes one block at a time")
	}
}

func TestPairsHashAsTheStandardLibraryDoes(t *testing.T) {
	requirePairs(t)
	const block = verity.BlockSize
	r := rand.New(rand.NewPCG(1, 2))
	content := randomBytes(5, 4*block)
	for range 5000 {
		// Blocks may overlap, and need no alignment.
		a, b := r.IntN(len(content)-block), r.IntN(len(content)-block)
		checkPair(t, (*[block]byte)(content[a:]), (*[block]byte)(content[b:]))
		content[r.IntN(len(content))] ^= 1 << r.IntN(8)
	}
	for _, fill := range []byte{0, 0x80, 0xff} {
		a, b := (*[block]byte)(bytes.Repeat([]byte{fill}, block)), new([block]byte)
		checkPair(t, a, b)
		checkPair(t, b, a)
		checkPair(t, a, a)
	}
}

func TestPairsTouchNothingBehindTheHashes(t *testing.T) {
	requirePairs(t)
	content := randomBytes(6, 2*verity.BlockSize)
	frame := bytes.Repeat([]byte{0xa5}, 3*64)
	a, b := (*[verity.BlockSize]byte)(content), (*[verity.BlockSize]byte)(content[verity.BlockSize:])
	verity.Sum256x2((*[64]byte)(frame[64:]), a, b)
	for i, c := range frame {
		if (i < 64 || i >= 128) && c != 0xa5 {
			t.Fatalf("byte %d from the hashes on is %#x now", i-64, c)
		}
	}
}

func TestWithoutPairsDigestsAreTheSame(t *testing.T) {
	content := randomBytes(7, 5<<20)
	sizes := limits(verity.SHA256)
	want := make([]verity.Digest, len(sizes))
	for i, size := range sizes {
		want[i] = verity.Sum(verity.SHA256, content[:size])
	}
	verity.WithoutSum256x2(t)
	for i, size := range sizes {
		for how, sum := range ways {
			if d, err := sum(verity.SHA256, content[:size]); err != nil || d != want[i] {
				t.Errorf("%s of %d bytes: found %s, %v; with pairs %s", how, size, d, err, want[i])
			}
		}
	}
}

func FuzzSum256x2(f *testing.F) {
	if !verity.HasSum256x2() {
		f.Skip("this processor hashes one block at a time")
	}
	f.Add([]byte(nil), []byte("b"))
	f.Add(bytes.Repeat([]byte{0xff}, verity.BlockSize), []byte{0x80})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		var blocks [2][verity.BlockSize]byte
		copy(blocks[0][:], a)
		copy(blocks[1][:], b)
		checkPair(t, &blocks[0], &blocks[1])
	})
}
