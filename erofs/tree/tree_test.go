package tree_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/erofs/tree"
)

func TestEntriesAreSortedWhateverTheOrderOfAdding(t *testing.T) {
	for _, count := range []int{1, 10, 15, 16, 17, 500} {
		t.Run(fmt.Sprint(count), func(t *testing.T) {
			d := dir()
			for _, i := range rand.New(rand.NewPCG(1, uint64(count))).Perm(count) {
				add(t, d, fmt.Sprintf("%04d", i), file())
				if i%7 == 0 && d.Lookup(fmt.Sprintf("%04d", i)) == nil {
					t.Errorf("Lookup doesn't find %04d right after Add", i)
				}
			}
			if err := d.Add("0000", file()); !errors.Is(err, tree.ErrExists) {
				t.Errorf("a second Add: want ErrExists, found %v", err)
			}
			names := func(e tree.Entry) string { return e.Name }
			if got := d.Entries(); d.Len() != count || !slices.IsSortedFunc(got, func(a, b tree.Entry) int { return strings.Compare(names(a), names(b)) }) {
				t.Errorf("%d entries, not in order", len(got))
			}
			if !d.Remove("0000") || d.Remove("0000") || d.Lookup("0000") != nil || d.Len() != count-1 {
				t.Error("Remove doesn't take away exactly one entry")
			}
		})
	}
}

func TestAddRefusesBadNames(t *testing.T) {
	for _, name := range []string{"", ".", "..", "a/b", "a\x00b", strings.Repeat("n", 256)} {
		if err := dir().Add(name, file()); !errors.Is(err, tree.ErrName) {
			t.Errorf("Add(%.20q): want ErrName, found %v", name, err)
		}
	}
	add(t, dir(), strings.Repeat("n", 255), file())
	add(t, dir(), "...", file())
}

func TestReplaceAndClear(t *testing.T) {
	d, other := dir(), file()
	add(t, d, "a", file())
	d.Replace("a", other, true)
	if e := d.Entries()[0]; e.Node != other || !e.Link {
		t.Errorf("Replace left %+v", e)
	}
	d.Replace("missing", other, true)
	d.Clear()
	if d.Len() != 0 || d.Lookup("a") != nil || d.Entries() != nil {
		t.Error("Clear left something")
	}
}

func TestXattrsStaySorted(t *testing.T) {
	n := file()
	n.SetXattrs([]tree.Xattr{{Name: "user.b", Value: []byte("2")}, {Name: "user.a", Value: []byte("1")}})
	n.SetXattr("security.selinux", []byte("label"))
	n.SetXattr("user.b", []byte("3"))
	n.FilterXattrs(func(name string) bool { return name != "user.a" })
	var got []string
	for _, x := range n.Xattrs() {
		got = append(got, x.Name+"="+string(x.Value))
	}
	if s := strings.Join(got, " "); s != "security.selinux=label user.b=3" {
		t.Errorf("found %s", s)
	}
	n.RemoveXattr("user.b")
	if _, ok := n.Xattr("user.b"); ok {
		t.Error("RemoveXattr left user.b")
	}
}

func TestArenaGivesOutWhatItWasGiven(t *testing.T) {
	var a tree.Arena
	var texts []string
	for i := range 20000 {
		texts = append(texts, a.String(fmt.Appendf(nil, "text %d", i)))
	}
	for i, s := range texts {
		if s != fmt.Sprintf("text %d", i) {
			t.Fatalf("string %d became %q", i, s)
		}
	}
	big := bytes.Repeat([]byte("b"), 5000)
	if a.String(big) != string(big) || !bytes.Equal(a.Value(big), big) || a.String(nil) != "" {
		t.Error("large or empty text isn't kept")
	}
	one, two := a.Xattrs(2), a.Xattrs(2)
	one = append(one, tree.Xattr{Name: "1"}, tree.Xattr{Name: "2"}, tree.Xattr{Name: "3"})
	if two = append(two, tree.Xattr{Name: "x"}); one[2].Name != "3" || two[0].Name != "x" {
		t.Error("lists share memory")
	}
	if first, second := a.Node(), a.Node(); first == second {
		t.Error("the same node twice")
	}
}

func TestWhiteoutIsCharDeviceZero(t *testing.T) {
	if n := (&tree.Node{Kind: tree.CharDevice}); !n.IsWhiteout() {
		t.Error("character device 0:0 is a whiteout")
	}
	if n := (&tree.Node{Kind: tree.BlockDevice}); n.IsWhiteout() {
		t.Error("block device 0:0 is not a whiteout")
	}
}
