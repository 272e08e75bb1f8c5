package verity_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/composefs-go/composefs/verity"
)

// golden are digests that the kernel and `fsverity digest` give.
var golden = []struct {
	name           string
	content        []byte
	sha256, sha512 string
}{
	{"empty", nil,
		"3d248ca542a24fc62d1c43b916eae5016878e2533c88238480b26128a1f1af95",
		"ccf9e5aea1c2a64efa2f2354a6024b90dffde6bbc017825045dce374474e13d10adb9dadcc6ca8e17a3c075fbd31336e8f266ae6fa93a6c3bed66f9e784e5abf"},
	{"a", []byte("a"),
		"bce75948b9e7510293f8f2720412af9697c1479281323f3f220623fb8e94b557",
		"829b82e4646ed8804b8481d26202f11dafed5acde87623a34e9e813fed884e86a787bb38095921f6128e2a53f116145b4528b2bfe218c6df6717a03d0be90f4b"},
	{"hello world", []byte("hello world"),
		"1e2eaa4202d750a41174ee454970b92c1bc2f925b1e35076d8c7d5f56362ba64",
		"18430270729d162d4e469daca123ae61893db4b0583d8f7081e3bf4f92b88ba514e7982f10733fb6aa895195c5ae8fd2eb2c47a8be05513ce5a0c51a6f570409"},
	{"64 x", bytes.Repeat([]byte("x"), 64),
		"79676f601cd8e91b8423cdfcc7387a58bd0d88a5996883328d8c33d64eb81d79",
		"0bb23fe46cf627e465bef7c8af3a34b6c4404cda203975c8a9ab31dc3c37fdbdcdb749e5b4c150108c7f0a2911d4067c535fa1550a059051a61fe42df73e2a69"},
	{"4095 zeros", make([]byte, 4095),
		"5372beb83c78537c8970c8361e3254119fafdf1763854ecd57d3f0fe2da7c719",
		"e2397c3e051f7ab08e0133d71ef9e62cf1ce6dccefa097af3658b0ecbfe532f2f2968787d0d693ad96a1053610d7aac3b5743d13f323a69f85e804d5fca5dc27"},
	{"4096 zeros", make([]byte, 4096),
		"babc284ee4ffe7f449377fbf6692715b43aec7bc39c094a95878904d34bac97e",
		"928922686c4caf32175f5236a7f964e9925d10a74dc6d8344a8bd08b23c228ff5792573987d7895f628f39c4f4ebe39a7367d7aeb16aaa0cd324ac1d53664e61"},
	{"4097 zeros", make([]byte, 4097),
		"093756e4ea9683329106d4a16982682ed182c14bf076463a9e7f97305cbac743",
		"4339f5da3788e60fa6857bd7040fadccd6f125b2c2334777eb14ed55179ad887d9131e9ce78485afc23051392b71e015528abbb7be07ed7073c56480b15cedf1"},
	{"8192 zeros", make([]byte, 8192),
		"be54121da3877f8852c65136d731784f134c4dd9d95071502e80d7be9f99b263",
		"bb792b976d8b5cd01f02af8e1e5d438bb17026932f28e0520e7924eb95e0b3ccce78317c540757c4be23f24fcef8a5dd5eec4df54b590546207bc8c5cfd4d28a"},
	{"128 blocks", make([]byte, 524288),
		"2d15bd7832895de85aa3d5bdfb57251e27bbec75ff467408340ab3eba858a2e1",
		"80e3a9dbfb94da75ef90a5c477aa857df25af49e207425cad099421d02a0b783fb36b11d6f3f7a2ddf8b2cd2ec6c0d7d173dd7d1b51c448bfb134b506d910123"},
	{"128 blocks and 1 byte", make([]byte, 524289),
		"e4143a5705610b7ad2eb85482cfc033c7062a89b9faf9118603f592d53fd10e0",
		"7d26d3e731675b1ecf081c10277a5fd42e9abd456eee3b8a8c3c8a2d5e1711b7a28027eaa104fc01080df1c37ca1dc9a186bbf7d2decd13de170d5ec9c350584"},
	{"129 blocks", make([]byte, 528384),
		"2331d9bc1bfa1c8c1a2272b1bc04acca57ec879136c554d313b45b77b94f326e",
		"d1fe5ad26fb35c96a4ead3f08ed7d0de20bb7d7f811f85c62a592bce5bf1fbbcb930c6f7dd44dcef586c3bd68231adf5f1767283ea7b4f8b3001a57497f61515"},
	{"three levels", make([]byte, 67112960),
		"f214c03cf33a41ae04bdc7b97b9c85c900278e10437a0bc13a6721068b56add2",
		"f402752f30cd4f2ca7a4968b8db20fe6f961b0cc92247f497ffabb90eb2d5e6714059f3a3a2961b46bd4baa34ae7f573347e60afbf1ab6b8bc0576a8451fb935"},
}

func TestGoldenDigests(t *testing.T) {
	for _, test := range golden {
		for alg, want := range map[verity.Algorithm]string{verity.SHA256: test.sha256, verity.SHA512: test.sha512} {
			t.Run(test.name+"/"+alg.Hash(), func(t *testing.T) {
				for how, sum := range ways {
					d, err := sum(alg, test.content)
					if err != nil || d.Hex() != want || d.Algorithm() != alg {
						t.Errorf("%s: found %s, %v; want %s", how, d, err, want)
					}
				}
			})
		}
	}
}

// ways are all the ways to the digest of some content.
var ways = map[string]func(verity.Algorithm, []byte) (verity.Digest, error){
	"Sum": func(alg verity.Algorithm, b []byte) (verity.Digest, error) { return verity.Sum(alg, b), nil },
	"SumReader": func(alg verity.Algorithm, b []byte) (verity.Digest, error) {
		d, n, err := verity.SumReader(alg, bytes.NewReader(b))
		if n != int64(len(b)) {
			return d, fmt.Errorf("read %d bytes of %d", n, len(b))
		}
		return d, err
	},
	"Hasher.SumFile": func(alg verity.Algorithm, b []byte) (verity.Digest, error) {
		return verity.NewHasher(alg).SumFile(bytes.NewReader(b), int64(len(b)), bytes.Repeat([]byte("scratch "), 1024))
	},
	"Hasher.SumBuffer": func(alg verity.Algorithm, b []byte) (verity.Digest, error) {
		buf := append(bytes.Clone(b), bytes.Repeat([]byte("scratch "), 512)...)
		return verity.NewHasher(alg).SumBuffer(buf, len(b)), nil
	},
	"Hasher.SumBuffer without room": func(alg verity.Algorithm, b []byte) (verity.Digest, error) {
		return verity.NewHasher(alg).SumBuffer(slices.Clip(b), len(b)), nil
	},
	"SumFile": func(alg verity.Algorithm, b []byte) (verity.Digest, error) {
		return verity.SumFile(alg, bytes.NewReader(b), int64(len(b)))
	},
	"MerkleTree": func(alg verity.Algorithm, b []byte) (verity.Digest, error) {
		root, _, err := verity.MerkleTree(alg, bytes.NewReader(b), int64(len(b)), io.Discard)
		return verity.FromRoot(alg, int64(len(b)), root), err
	},
}

// naive is the definition, word for word and without a thought for memory.
func naive(alg verity.Algorithm, b []byte) verity.Digest {
	hash := func(b []byte) []byte {
		if alg == verity.SHA512 {
			s := sha512.Sum512(b)
			return s[:]
		}
		s := sha256.Sum256(b)
		return s[:]
	}
	root := make([]byte, alg.Size())
	for level := b; len(level) > 0; {
		var hashes []byte
		for off := 0; off < len(level); off += verity.BlockSize {
			var block [verity.BlockSize]byte
			copy(block[:], level[off:])
			hashes = append(hashes, hash(block[:])...)
		}
		if len(hashes) == alg.Size() {
			root = hashes
			break
		}
		level = hashes
	}
	desc := verity.Descriptor(alg, int64(len(b)), root)
	d, _ := verity.NewDigest(alg, hash(desc[:]))
	return d
}

func randomBytes(seed uint64, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b)
	return b
}

// limits are sizes around the ends of blocks, spans and what a window or a
// parallel run holds.
func limits(alg verity.Algorithm) []int {
	fan := verity.BlockSize / alg.Size()
	span := fan * verity.BlockSize
	var sizes []int
	for _, n := range []int{0, verity.BlockSize, 2 * verity.BlockSize, span, 2 * span, 4 << 20, 4<<20 + span, 9*span + 4096} {
		for _, d := range []int{-4097, -1, 0, 1, 4095, 4096, 4097} {
			if n+d >= 0 {
				sizes = append(sizes, n+d)
			}
		}
	}
	return sizes
}

func TestAllWaysAgreeWithTheDefinition(t *testing.T) {
	content := randomBytes(1, 8<<20)
	for _, alg := range []verity.Algorithm{verity.SHA256, verity.SHA512} {
		for _, size := range limits(alg) {
			want := naive(alg, content[:size])
			for how, sum := range ways {
				if d, err := sum(alg, content[:size]); err != nil || d != want {
					t.Errorf("%s of %d bytes: found %s, %v; want %s", how, size, d, err, want)
				}
			}
		}
	}
}

func TestLargeFilesGoThroughSeveralWindows(t *testing.T) {
	if testing.Short() {
		t.Skip("hashes more than 1 GiB")
	}
	// 2048 spans of SHA-512 are 512 MiB; zeros need no memory.
	const size = 512<<20 + 512<<10 + 4097
	zeros := io.NewSectionReader(zeroReader{}, 0, size)
	want, _, err := verity.SumReader(verity.SHA512, zeros)
	if err != nil {
		t.Fatal(err)
	}
	if d, err := verity.SumFile(verity.SHA512, zeroReader{}, size); err != nil || d != want {
		t.Errorf("found %s, %v; want %s", d, err, want)
	}
}

type zeroReader struct{}

func (zeroReader) ReadAt(p []byte, _ int64) (int, error) { clear(p); return len(p), nil }

func TestHasherGivesTheSameForAnySplit(t *testing.T) {
	for _, alg := range []verity.Algorithm{verity.SHA256, verity.SHA512} {
		h := verity.NewHasher(alg)
		for round := range 40 {
			r := rand.New(rand.NewPCG(7, uint64(round)))
			content := randomBytes(uint64(round), r.IntN(2<<20))
			for rest := content; len(rest) > 0; {
				n := min(len(rest), r.IntN([]int{3, 5000, 300000}[r.IntN(3)]))
				_, _ = h.Write(rest[:n])
				rest = rest[n:]
			}
			if d, want := h.Sum(), naive(alg, content); d != want {
				t.Errorf("%d bytes: found %s, want %s", len(content), d, want)
			}
			h.Reset()
		}
	}
}

func TestSumLeavesTheHasherAsItWas(t *testing.T) {
	content := randomBytes(3, 600000)
	h := verity.NewHasher(verity.SHA256)
	for i := 0; i < len(content); i += 1000 {
		if d, want := h.Sum(), verity.Sum(verity.SHA256, content[:i]); d != want {
			t.Fatalf("after %d bytes: found %s, want %s", i, d, want)
		}
		_, _ = h.Write(content[i : i+1000])
	}
}

func TestSumFileRefusesAFileThatShrank(t *testing.T) {
	content := make([]byte, 6<<20)
	for _, size := range []int64{-1, 6<<20 + 1, 7 << 20, 1 << 40, 1<<63 - 1} {
		_, err := verity.SumFile(verity.SHA256, bytes.NewReader(content), size)
		if !errors.Is(err, verity.ErrTruncated) {
			t.Errorf("size %d: found %v, want ErrTruncated", size, err)
		}
		if _, _, err := verity.MerkleTree(verity.SHA256, bytes.NewReader(content), size, io.Discard); !errors.Is(err, verity.ErrTruncated) {
			t.Errorf("tree of size %d: found %v, want ErrTruncated", size, err)
		}
	}
}

// failingReader gives an error from a place on.
type failingReader struct{ from int64 }

var errMedium = errors.New("medium error")

func (r failingReader) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > r.from {
		return 0, errMedium
	}
	return len(p), nil
}

func TestReadErrorsArePassedOn(t *testing.T) {
	for _, from := range []int64{0, 1 << 20, 5 << 20} {
		if _, err := verity.SumFile(verity.SHA256, failingReader{from}, 5<<20+1); !errors.Is(err, errMedium) {
			t.Errorf("error from %d on: found %v", from, err)
		}
	}
}

func TestUnknownAlgorithmIsAnErrorOrNoDigest(t *testing.T) {
	if _, err := verity.SumFile(3, zeroReader{}, 1); !errors.Is(err, verity.ErrAlgorithm) {
		t.Errorf("SumFile: found %v", err)
	}
	if _, _, err := verity.SumReader(0, bytes.NewReader(nil)); !errors.Is(err, verity.ErrAlgorithm) {
		t.Errorf("SumReader: found %v", err)
	}
	if _, _, err := verity.MerkleTree(0, zeroReader{}, 1, io.Discard); !errors.Is(err, verity.ErrAlgorithm) {
		t.Errorf("MerkleTree: found %v", err)
	}
	if d := verity.Sum(9, make([]byte, 10000)); !d.IsZero() {
		t.Errorf("Sum: found %s, want none", d)
	}
}

func FuzzHasherSplit(f *testing.F) {
	f.Add([]byte("hello"), uint16(1), uint16(2))
	f.Add(make([]byte, 9000), uint16(4095), uint16(1))
	f.Add(make([]byte, 4096), uint16(4096), uint16(0))
	f.Fuzz(func(t *testing.T, content []byte, first, step uint16) {
		content = bytes.Repeat(content[:min(len(content), 1<<15)], 1+int(step)%7)
		for _, alg := range []verity.Algorithm{verity.SHA256, verity.SHA512} {
			h := verity.NewHasher(alg)
			n := min(int(first), len(content))
			_, _ = h.Write(content[:n])
			for rest := content[n:]; len(rest) > 0; {
				n := min(1+int(step), len(rest))
				_, _ = h.Write(rest[:n])
				rest = rest[n:]
			}
			if d, want := h.Sum(), naive(alg, content); d != want {
				t.Errorf("%d bytes, first %d, step %d: found %s, want %s", len(content), first, step, d, want)
			}
		}
	})
}

func TestHasherAllocatesNothingOnceItIsWarm(t *testing.T) {
	content := randomBytes(1, 300000)
	r := bytes.NewReader(content)
	buf := make([]byte, 64<<10)
	for _, alg := range []verity.Algorithm{verity.SHA256, verity.SHA512} {
		h := verity.NewHasher(alg)
		if n := testing.AllocsPerRun(10, func() {
			h.Reset()
			r.Reset(content)
			_, _ = h.ReadFrom(r)
			_, _ = h.Write(content[:5000])
			_ = h.Sum()
			_, _ = h.SumFile(r, int64(len(content)), buf)
			_ = h.SumBuffer(buf, 5000)
		}); n != 0 {
			t.Errorf("%s: found %g allocations", alg, n)
		}
	}
}
