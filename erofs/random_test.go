package erofs_test

import (
	"bytes"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/verity"
)

// A grower makes random trees, with a liking for what is at a limit.
type grower struct {
	*rand.Rand
	dirs  []*tree.Node
	files []*tree.Node // that hard links may be made to
}

// randomTree returns a tree of about n names; the same for the same seed.
func randomTree(seed uint64, n int) *tree.Node {
	g := &grower{Rand: rand.New(rand.NewPCG(seed, 0))}
	root := &tree.Node{Kind: tree.Directory}
	g.common(root)
	g.dirs = []*tree.Node{root}
	for range n {
		dir := pick(g, g.dirs)
		name := g.name()
		if dir.Lookup(name) != nil {
			continue
		}
		if len(g.files) > 0 && g.IntN(8) == 0 {
			target := pick(g, g.files)
			if dir.Link(name, target) == nil {
				target.Nlink++
			}
			continue
		}
		if child := g.node(); dir.Add(name, child) == nil && child.Kind == tree.Directory {
			dir.Nlink++
		}
	}
	return root
}

func pick[T any](g *grower, list []T) T { return list[g.IntN(len(list))] }

func (g *grower) text(least, most int, alphabet string) string {
	b := make([]byte, least+g.IntN(most-least+1))
	for i := range b {
		b[i] = alphabet[g.IntN(len(alphabet))]
	}
	return string(b)
}

func (g *grower) name() string {
	if g.IntN(10) == 0 {
		return g.text(200, 255, "abc")
	}
	if g.IntN(6) == 0 {
		return g.text(2, 2, "0123456789abcdef")
	}
	return g.text(1, 9, "ab.-!~\xff \\=\n") + "x"
}

func (g *grower) node() *tree.Node {
	n := new(tree.Node)
	n.Kind = pick(g, []tree.Kind{1, 1, 1, 1, 1, 2, 2, 2, 3, 4, 5, 6, 7, 7})
	g.common(n)
	switch n.Kind {
	case tree.Directory:
		g.dirs = append(g.dirs, n)
		return n
	case tree.CharDevice, tree.BlockDevice:
		n.Rdev = pick(g, []uint32{0, 0x103, 1, 1<<32 - 1})
		if n.Kind == tree.BlockDevice && n.Rdev == 0 {
			n.Rdev = 5
		}
	case tree.Symlink:
		n.Target = g.text(1, pick(g, []int{10, 500, 2048, 4095}), "abc/.")
		n.Size = uint64(len(n.Target))
	case tree.Regular:
		g.content(n)
	}
	g.files = append(g.files, n)
	return n
}

func (g *grower) content(n *tree.Node) {
	switch g.IntN(4) {
	case 0: // empty
	case 1:
		n.Inline = []byte(g.text(1, pick(g, []int{10, 64, 2049, 5000}), "xyz\x00\xff-"))
		n.Size = uint64(len(n.Inline))
	default:
		n.Size = pick(g, []uint64{1, 4096, 4097, 1 << 20, 1 << 43, 1<<43 + 1, 1 << 50, 1 << 53})
		sum := make([]byte, 32*(1+g.IntN(2)))
		for i := range sum {
			sum[i] = byte(g.IntN(3))
		}
		if g.IntN(5) > 0 {
			n.Object, _ = verity.NewDigest(verity.Algorithm(len(sum)/32), sum)
		}
		n.Payload = pick(g, []string{"", n.Object.ObjectPath(), n.Object.ObjectPath(), "p", "/abs/olute", g.text(1, 300, "ab/")})
	}
}

// common sets what files of all kinds have.
func (g *grower) common(n *tree.Node) {
	n.Perm = uint16(g.IntN(0o10000))
	n.Nlink = 1
	if n.Kind == tree.Directory {
		n.Nlink = 2
	}
	n.UID = pick(g, []uint32{0, 0, 1000, 65535, 65536, 1<<32 - 1})
	n.GID = pick(g, []uint32{0, 0, 1000, 65535, 65536})
	n.Mtime = pick(g, []tree.Time{{Sec: 1}, {Sec: 1}, {Sec: 1, Nsec: 5}, {Sec: -7}, {Sec: 1 << 40, Nsec: 999999999}})
	for g.IntN(2) == 0 {
		name := pick(g, []string{
			"user.a", "user.b", "user.", "security.selinux", "security.selinux", "security.capability", "trusted.x", "lustre.x", "strange",
			"system.posix_acl_access", "system.posix_acl_default", "system.posix_acl_accessX", "trusted.overlay.opaque",
			"trusted.overlay.metacopy", "trusted.overlay.overlay.redirect", "trusted.overlay.overlayx", "user.overlay.metacopy", "trusted." + strings.Repeat("n", 247),
		})
		most := pick(g, []int{1, 1, 8, 300})
		if name == "trusted.overlay.opaque" {
			most = 1 // libcomposefs refuses a long one on a directory with whiteouts
		}
		n.SetXattr(name, []byte(g.text(0, most, "ab\x00=")))
	}
}

// sizeOfDirectory matches the part of a dump line that only an image gives.
var sizeOfDirectory = regexp.MustCompile(`(?m)^(\S+) \d+ (4\d{1,4}) `)

// What is written is read as it was, and gives the same image again. A tree of V1
// has markers more.
func TestRandomTreesSurvive(t *testing.T) {
	for seed := range uint64(150) {
		for _, f := range formats {
			root := randomTree(seed, 10+int(seed)*2)
			if f == erofs.V2 {
				fitV2(root)
			}
			if err := tree.Check(root); err != nil {
				t.Fatal(err)
			}
			before := dump(t, root)
			image := write(t, root, f)
			back := read(t, image)
			want, got := sizeOfDirectory.ReplaceAllString(before, "$1 0 $2 "), sizeOfDirectory.ReplaceAllString(dump(t, back), "$1 0 $2 ")
			if f != erofs.V1 && want != got {
				t.Fatalf("seed %d: the tree of the %v image changed:\n%s", seed, f, firstDifference(want, got))
			}
			if !bytes.Equal(write(t, back, f), image) {
				t.Fatalf("seed %d: the %v image changed", seed, f)
			}
			if dump(t, root) != before {
				t.Fatalf("seed %d: Write changed the tree", seed)
			}
		}
	}
}

// fitV2 makes a tree one of which a V2 image stores all.
func fitV2(root *tree.Node) {
	for _, e := range tree.Walk(root) {
		n := e.Node
		n.Mtime.Nsec = 0
		if n.IsWhiteout() && e.Link {
			n.Rdev = 1
		}
		if n.Inline = n.Inline[:min(len(n.Inline), 512)]; len(n.Inline) > 0 {
			n.Size = uint64(len(n.Inline))
		}
		if n.Kind == tree.Symlink {
			n.Target = n.Target[:min(len(n.Target), 1024)]
			n.Size = uint64(len(n.Target))
		}
		if n.Payload = ""; !n.Object.IsZero() {
			n.Payload = n.Object.ObjectPath()
		}
	}
	tree.Relink(root)
}

// Plan knows the size before anything is written.
func TestPlanKnowsTheSize(t *testing.T) {
	for seed := range uint64(20) {
		p, err := erofs.NewPlan(randomTree(seed, 100), erofs.V1)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if n, err := p.WriteTo(&b); err != nil || n != p.Size() || int64(b.Len()) != n {
			t.Errorf("seed %d: want %d bytes, found %d, %d, %v", seed, p.Size(), n, b.Len(), err)
		}
	}
}
