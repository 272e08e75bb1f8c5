package tarball_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/directory"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/source/tarball"
	"github.com/composefs-go/composefs/internal/source/transform"
	"github.com/composefs-go/composefs/internal/testing/testutil"
	"github.com/composefs-go/composefs/verity"
)

// layered is the tree of several archives.
func layered(layers [][]byte, change ...func(*tarball.Options)) (*tree.Node, error) {
	b := tarball.NewBuilder(options(change...))
	for _, layer := range layers {
		if err := b.Apply(context.Background(), bytes.NewReader(layer)); err != nil {
			return nil, err
		}
	}
	return b.Tree(), nil
}

func inOrder(o *tarball.Options) { o.InOrder = true }

func follow(o *tarball.Options) { o.FollowLinks = true }

// remarks collects what a Builder remarks.
func remarks(to *[]error) func(*tarball.Options) {
	return func(o *tarball.Options) { o.Remark = func(err error) { *to = append(*to, err) } }
}

// names are the paths of a tree, each with the content of a small file.
func names(root *tree.Node) string {
	var b strings.Builder
	for path, e := range tree.Walk(root) {
		switch n := e.Node; {
		case path == "/":
		case n.Kind == tree.Directory:
			fmt.Fprintf(&b, "%s/%o ", path, n.Perm)
		case n.Kind == tree.Symlink:
			fmt.Fprintf(&b, "%s->%s ", path, n.Target)
		default:
			fmt.Fprintf(&b, "%s=%s ", path, n.Inline)
		}
	}
	return strings.TrimSpace(b.String())
}

func TestWhiteoutsHideLowerLayersAloneWhateverTheOrder(t *testing.T) {
	lower := []entry{dir("d"), file("d/f", "low"), dir("d/e"), file("d/e/g", "low"), file("x", "low"), symlink("s", "d"), file("keep", "low")}
	for _, c := range []struct {
		name  string
		layer []entry // but for whiteouts in this order
		want  string
	}{
		{"a file that the layer has too", []entry{file("x", "up"), file(".wh.x", "")}, "/d/700 /d/e/700 /d/e/g=low /d/f=low /keep=low /s->d /x=up"},
		{"a file in an opaque directory", []entry{file("d/n", "up"), file("d/.wh..wh..opq", "")}, "/d/700 /d/n=up /keep=low /s->d /x=low"},
		{"a directory that the layer has too", []entry{dir("d").with(func(h *tar.Header) { h.Mode = 0o711 }), file("d/n", "up"), file(".wh.d", "")}, "/d/711 /d/n=up /keep=low /s->d /x=low"},
		{"a directory that the layer only has a file in", []entry{file("d/n", "up"), file(".wh.d", "")}, "/d/755 /d/n=up /keep=low /s->d /x=low"},
		{"a directory that the layer has a file below", []entry{file("d/e/n", "up"), file(".wh.d", "")}, "/d/755 /d/e/755 /d/e/n=up /keep=low /s->d /x=low"},
		{"the same below an opaque directory", []entry{file("d/e/n", "up"), file("d/.wh..wh..opq", "")}, "/d/700 /d/e/755 /d/e/n=up /keep=low /s->d /x=low"},
		{"an opaque root", []entry{file("d/f", "up"), file(".wh..wh..opq", "")}, "/d/755 /d/f=up"},
		{"all at once", []entry{file("d/e/n", "up"), file("d/.wh..wh..opq", ""), file(".wh.d", ""), file("d/.wh.e", ""), file("d/e/.wh..wh..opq", "")}, "/d/755 /d/e/755 /d/e/n=up /keep=low /s->d /x=low"},
		{"an opaque directory that is hidden besides", []entry{file("d/.wh..wh..opq", ""), file(".wh.d", "")}, "/keep=low /s->d /x=low"},
		{"a hidden directory that becomes a file", []entry{file("d", "up"), file(".wh.d", "")}, "/d=up /keep=low /s->d /x=low"},
		{"a hidden link that becomes a directory", []entry{dir("s"), file("s/n", "up"), file(".wh.s", "")}, "/d/700 /d/e/700 /d/e/g=low /d/f=low /keep=low /s/700 /s/n=up /x=low"},
		{"what isn't there", []entry{file(".wh.nothing", ""), file("no/.wh.where", ""), file("x/.wh.y", ""), file("no/.wh..wh..opq", "")}, "/d/700 /d/e/700 /d/e/g=low /d/f=low /keep=low /s->d /x=low"},
	} {
		for range 20 {
			layer := shuffleWhiteouts(c.layer)
			root, err := layered([][]byte{archive(t, lower...), archive(t, layer...)})
			if err != nil {
				t.Fatal(c.name, err)
			}
			if got := names(root); got != c.want {
				t.Errorf("%s, %v:\nfound %s\nwant  %s", c.name, entryNames(layer), got, c.want)
			}
			if err := tree.Check(root); err != nil {
				t.Error(c.name, err)
			}
		}
	}
}

func isWhiteout(e entry) bool { return strings.Contains(e.Name, ".wh.") }

func entryNames(entries []entry) (names []string) {
	for _, e := range entries {
		names = append(names, e.Name)
	}
	return names
}

// shuffleWhiteouts puts the whiteouts of a layer anywhere between the other entries.
func shuffleWhiteouts(layer []entry) []entry {
	var out []entry
	for _, e := range layer {
		if !isWhiteout(e) {
			out = append(out, e)
		}
	}
	for _, e := range layer {
		if isWhiteout(e) {
			out = slices.Insert(out, rand.IntN(len(out)+1), e)
		}
	}
	return out
}

// A layer with its whiteouts anywhere is the same as one that has them first, applied
// in order; and there is a remark if and only if it would be another one in order.
func TestRandomLayersAreThoseWithTheirWhiteoutsFirst(t *testing.T) {
	for seed := range uint64(600) {
		r := rand.New(rand.NewPCG(seed, 7))
		layers, first := [][]byte{}, [][]byte{}
		for range 3 {
			entries := randomLayer(r)
			layers = append(layers, archive(t, entries...))
			slices.SortStableFunc(entries, func(a, b entry) int {
				switch x, y := isWhiteout(a), isWhiteout(b); {
				case x == y:
					return 0
				case x:
					return -1
				}
				return 1
			})
			first = append(first, archive(t, entries...))
		}
		var said []error
		got, err := layered(layers, remarks(&said))
		want, wantErr := layered(first, inOrder)
		if err != nil || wantErr != nil {
			if err == nil || wantErr == nil && !strings.Contains(err.Error(), "want a directory at") {
				t.Errorf("seed %d: %v, and with the whiteouts first %v", seed, err, wantErr)
			}
			continue
		}
		if list(got) != list(want) {
			t.Errorf("seed %d: found\n%swant\n%s", seed, list(got), list(want))
		}
		other, err := layered(layers, inOrder)
		differs := err != nil || list(got) != list(other)
		if differs != (len(said) == 1) || len(said) > 1 {
			t.Errorf("seed %d: remarks %v; in order it is\n%s%v", seed, said, list(other), err)
		}
		var order *tarball.WhiteoutOrder
		if len(said) > 0 && (!errors.As(said[0], &order) || order.InOrder) {
			t.Errorf("seed %d: %v", seed, said)
		}
		said = nil
		if _, err := layered(layers, inOrder, remarks(&said)); err == nil && differs != (len(said) == 1) {
			t.Errorf("seed %d, in order: remarks %v", seed, said)
		}
	}
}

// randomLayer has few names, so that they meet.
func randomLayer(r *rand.Rand) []entry {
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	var entries []entry
	for range 1 + r.IntN(6) {
		path := pick("", "d/", "d/e/", "f/") + pick("a", "b", "d", "e", "f")
		parent, name := "", path
		if i := strings.LastIndexByte(path, '/'); i >= 0 {
			parent, name = path[:i+1], path[i+1:]
		}
		switch r.IntN(6) {
		case 0:
			entries = append(entries, dir(path).with(func(h *tar.Header) { h.Mode = int64(r.IntN(0o777)) }))
		case 1, 2:
			entries = append(entries, file(parent+".wh."+name, ""))
		case 3:
			entries = append(entries, file(parent+".wh..wh..opq", ""))
		default:
			entries = append(entries, file(path, pick("1", "2", "3")))
		}
	}
	return entries
}

// The expected digests are those that cfsctl 0.9.4 has for these layers, in which
// whiteouts come before and after what they name.
func TestInOrderWhiteoutsGiveTheDigestsOfComposefsRS(t *testing.T) {
	layers := [][]byte{}
	for i := range 3 {
		layers = append(layers, testutil.ReadFile(t, fmt.Sprintf("testdata/whiteouts/%d.tar.gz", i+1)))
	}
	for _, c := range []struct {
		alg    verity.Algorithm
		format erofs.Format
		want   string
	}{
		{verity.SHA256, erofs.V1, "9a702dcdca0f65d7137f116c6de5b6bbd366235b2c4f27f23b61519701b49e69"},
		{verity.SHA256, erofs.V2, "88241cb1ca2917dcefad2d0771e713876abec19647e85623b4263dc9af81b406"},
		{verity.SHA512, erofs.V1, "ef0a8ee144046381875af50497e9da52c23aaee6ac089379d6c764f5e6dc899378918503543b6f691235cf88456761e6432b12e7be2fb415293ba85af72aa476"},
		{verity.SHA512, erofs.V2, "5b21de6d38ffde22d49f886b9dbd7189cb738e82dd6e5325c9b62ccc13ccc266246c532dd1730bd2e8e123cc00811750590a2289c833297e075aafa9a7e4693b"},
	} {
		for _, rule := range []struct {
			inOrder bool
			remark  string
		}{
			{true, `"/etc/c" isn't as the OCI image format has it: there whiteouts hide files of lower layers only`},
			{false, `composefs-rs, which applies whiteouts in the order of the entries, has another "/etc/c": its digest of this image differs`},
		} {
			var said []error
			root, err := layered(layers, remarks(&said), func(o *tarball.Options) { o.InOrder, o.Sink = rule.inOrder, directory.NewDigests(c.alg) })
			if err != nil {
				t.Fatal(err)
			}
			if len(said) != 1 || said[0].Error() != rule.remark {
				t.Errorf("in order %v: %v", rule.inOrder, said)
			}
			must(t, transform.OCI(root, transform.AllowlistOnly))
			h := verity.NewHasher(c.alg)
			must(t, erofs.Write(h, root, c.format))
			if got := h.Sum().Hex(); (got == c.want) != rule.inOrder {
				t.Errorf("%v %v, in order %v: %s, cfsctl has %s", c.alg, c.format, rule.inOrder, got, c.want)
			}
			if !rule.inOrder && (root.Lookup("opq2").Lookup("new") == nil || root.Lookup("etc").Lookup("c") == nil) {
				t.Error("a file of the layer that hides another is lost:", names(root))
			}
		}
	}
}

func TestADifferenceThatDoesntCountIsNoRemark(t *testing.T) {
	for _, c := range []struct {
		name   string
		layers [][]entry
	}{
		{"a later layer replaces it", [][]entry{{file("x", "1"), file(".wh.x", "")}, {file("x", "2")}}},
		{"a later layer hides it", [][]entry{{file("x", "1"), file(".wh.x", "")}, {file(".wh.x", "")}}},
		{"a later entry is the same", [][]entry{{file("d/x", "1"), file("d/.wh..wh..opq", ""), file("d/x", "2")}}},
		{"it is in a directory that becomes empty", [][]entry{{dir("boot"), file("boot/x", "1"), file("boot/.wh..wh..opq", "")}}},
	} {
		var layers [][]byte
		for _, l := range c.layers {
			layers = append(layers, archive(t, l...))
		}
		var said []error
		if _, err := layered(layers, remarks(&said), func(o *tarball.Options) { o.Empty = []string{"boot"} }); err != nil || len(said) > 0 {
			t.Errorf("%s: %v, %v", c.name, said, err)
		}
	}
	// Where cfsctl would refuse, that is the remark.
	var said []error
	_, err := layered([][]byte{archive(t, file("x", "1"), file(".wh.x", ""), hardLink("y", "x"))}, remarks(&said))
	if err != nil || len(said) != 1 || !strings.HasSuffix(said[0].Error(), `doesn't read this image: hard link to "x": no such file came before it`) {
		t.Error(said, err)
	}
}

// A hard link takes its target as it is then: a whiteout of it in the same layer may
// have come, as it does for container runtimes.
func TestAHardLinkTakesWhatItsTargetIsAtThatTime(t *testing.T) {
	lower := archive(t, file("x", "low"))
	root, err := layered([][]byte{lower, archive(t, hardLink("y", "x"), file(".wh.x", ""))})
	if err != nil || names(root) != "/y=low" {
		t.Errorf("before the whiteout: %v", err)
	}
	_, err = layered([][]byte{lower, archive(t, file(".wh.x", ""), hardLink("y", "x"))})
	if err == nil || !strings.Contains(err.Error(), `hard link to "x": no such file came before it`) {
		t.Errorf("after the whiteout: %v", err)
	}
}

func TestLinksOfLayersAreFollowedInsideTheTreeIfAsked(t *testing.T) {
	deep := []entry{dir("usr"), dir("usr/lib"), file("usr/lib/key", "k"), dir("a"), dir("a/b")}
	for _, c := range []struct {
		name         string
		lower, upper []entry
		want         string // or how the error ends
	}{
		{"relative", []entry{symlink("lib", "usr/lib")}, []entry{file("lib/new", "n")}, "/a/700 /a/b/700 /lib->usr/lib /usr/700 /usr/lib/700 /usr/lib/key=k /usr/lib/new=n"},
		{"absolute", []entry{symlink("a/b/lib", "/usr//./lib/")}, []entry{file("a/b/lib/new", "n")}, "/a/700 /a/b/700 /a/b/lib->/usr//./lib/ /usr/700 /usr/lib/700 /usr/lib/key=k /usr/lib/new=n"},
		{"upwards, not out of the root", []entry{symlink("a/b/l", "../../../../../../usr")}, []entry{file("a/b/l/new", "n")}, "/a/700 /a/b/700 /a/b/l->../../../../../../usr /usr/700 /usr/lib/700 /usr/lib/key=k /usr/new=n"},
		{"an absolute one upwards", []entry{symlink("l", "/../etc")}, []entry{file("l/passwd", "n")}, "/a/700 /a/b/700 /etc/755 /etc/passwd=n /l->/../etc /usr/700 /usr/lib/700 /usr/lib/key=k"},
		{"several", []entry{symlink("l1", "l2"), symlink("l2", "a/l3"), symlink("a/l3", "../usr")}, []entry{file("l1/new", "n")}, "/a/700 /a/b/700 /a/l3->../usr /l1->l2 /l2->a/l3 /usr/700 /usr/lib/700 /usr/lib/key=k /usr/new=n"},
		{"a whiteout", []entry{symlink("lib", "usr/lib")}, []entry{file("lib/.wh.key", "")}, "/a/700 /a/b/700 /lib->usr/lib /usr/700 /usr/lib/700"},
		{"an opaque marker", []entry{symlink("lib", "usr/lib")}, []entry{file("lib/n", "n"), file("lib/.wh..wh..opq", "")}, "/a/700 /a/b/700 /lib->usr/lib /usr/700 /usr/lib/700 /usr/lib/n=n"},
		{"a hard link's target", []entry{symlink("lib", "usr/lib")}, []entry{hardLink("new", "lib/key")}, "/a/700 /a/b/700 /lib->usr/lib /new=k /usr/700 /usr/lib/700 /usr/lib/key=k"},
		{"a hard link to a link", []entry{symlink("lib", "usr/lib")}, []entry{hardLink("new", "lib")}, "/a/700 /a/b/700 /lib->usr/lib /new->usr/lib /usr/700 /usr/lib/700 /usr/lib/key=k"},
		{"the last name isn't followed", []entry{symlink("lib", "usr/lib")}, []entry{file("lib", "n")}, "/a/700 /a/b/700 /lib=n /usr/700 /usr/lib/700 /usr/lib/key=k"},
		{"a link in a circle", []entry{symlink("l", "l")}, []entry{file("l/new", "n")}, `more than 40 symbolic links on the way, the last at "l"`},
		{"links that grow", []entry{symlink("l", strings.Repeat("a/../", 500)+"m"), symlink("m", strings.Repeat("./l/../", 500)+"l")}, []entry{file("l/new", "n")}, "the symbolic links on the way have more than 4096 names"},
		{"a link to a file", []entry{symlink("l", "usr/lib/key")}, []entry{file("l/new", "n")}, `want a directory at "usr/lib/key", found another kind of file`},
		{"a link with a name that is too long", []entry{symlink("l", strings.Repeat("n", 256))}, []entry{file("l/new", "n")}, `256 bytes, at most 255 are allowed: "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"…`},
	} {
		layers := [][]byte{archive(t, append(slices.Clone(deep), c.lower...)...), archive(t, c.upper...)}
		root, err := layered(layers, follow)
		if err != nil {
			if !strings.HasSuffix(err.Error(), c.want) || !errors.Is(err, tarball.ErrArchive) {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		if got := names(root); got != c.want {
			t.Errorf("%s:\nfound %s\nwant  %s", c.name, got, c.want)
		}
		if err := tree.Check(root); err != nil {
			t.Error(c.name, err)
		}
		var link *tarball.LinkError
		if _, err := layered(layers); !errors.As(err, &link) && !strings.Contains(c.name, "link to a link") && !strings.Contains(c.name, "last name") {
			t.Errorf("%s, without following: %v", c.name, err)
		}
	}
}

func TestLinksCantMakeATreeTooDeep(t *testing.T) {
	half := strings.Repeat("d/", tree.DepthMax/2-10)
	layers := [][]byte{archive(t, dir(half), symlink("l", half[:len(half)-1])), archive(t, dir("l/"+half+strings.Repeat("e/", 30)))}
	if _, err := layered(layers, follow); err == nil || !strings.HasSuffix(err.Error(), "the symbolic links on the way have more than 4096 names") && !strings.HasSuffix(err.Error(), "more than 4096 deep") {
		t.Error(err)
	}
}

// Archives that other programs made, or that somebody had trouble with.
func TestArchivesFromElsewhere(t *testing.T) {
	for _, c := range []struct {
		layers string
		want   string // the names of the tree; or how the error ends
		remark string
		how    func(*tarball.Options)
	}{
		{"exustar-global.tar", "/etc/755 /etc/a=hi", "", nil},
		{"volume-label.tar", "/etc/755 /etc/a=hi", "", nil},
		{"slash-reg0.tar", "/dir/755 /dir/a=hi", "", nil},
		{"reg-slash-only.tar", "/var/755 /var/log/755", "", nil},
		{"bsdtar-libarchive.tar", "/f=hi", "", nil},
		{"nullblock.tar", "/a=hi", `entry 1, "a": the archive ends here without two blocks of zeros: it may be truncated`, nil},
		{"noend.tar", "/a=hi", `entry 1, "a": the archive ends here without two blocks of zeros: it may be truncated`, nil},
		{"nullblock.tar", `entry 1, "a": the archive ends here without two blocks of zeros: it may be truncated`, "", func(o *tarball.Options) { o.Strict = true }},
		{"noend.tar", `entry 1, "a": the archive ends here without two blocks of zeros: it may be truncated`, "", func(o *tarball.Options) { o.Strict = true }},
		{"link-lower.tar link-upper.tar", `entry 1, "lib/new": want a directory at "lib", found a symbolic link to "usr/lib"`, "", nil},
		{"link-lower.tar link-upper.tar", "/lib->usr/lib /usr/755 /usr/lib/755 /usr/lib/new=n /usr/lib/old=o", "", follow},
		{"wh-low.tar wh-after.tar", "/d/755 /d/old=o /d/x=upx /lib->usr/lib /secret=s /usr/755 /usr/lib/755 /usr/lib/key=k",
			`composefs-rs, which applies whiteouts in the order of the entries, has another "/d/x": its digest of this image differs`, nil},
		{"wh-low.tar wh-after.tar", "/d/755 /d/old=o /lib->usr/lib /secret=s /usr/755 /usr/lib/755 /usr/lib/key=k",
			`"/d/x" isn't as the OCI image format has it: there whiteouts hide files of lower layers only`, inOrder},
		{"wh-low.tar wh-symlink.tar", `entry 1, "lib/.wh.key": want a directory at "lib", found a symbolic link to "usr/lib"`, "", nil},
		{"wh-low.tar wh-symlink.tar", "/d/755 /d/old=o /d/x=lowx /lib->usr/lib /secret=s /usr/755 /usr/lib/755", "", follow},
		{"opq-low.tar opq-dotfile.tar", "/root/755 /root/.bashrc=new /root/z=z", `composefs-rs, which applies whiteouts in the order of the entries, has another "/root/.bashrc": its digest of this image differs`, nil},
		{"hardlink-data.tar", `entry 2, "b": it is a hard link with 40 bytes of content behind it (pax -o linkdata), which isn't supported: want hard links without content`, "", nil},
		{"incremental.tar", `entry 1, "./": type 'D': it is a directory of an incremental archive, which lists what is in it (GNU tar --listed-incremental): want an archive of its own`, "", nil},
		{"packed.tar.lz4", "the archive is packed with lz4: want plain, gzip or zstd", "", nil},
		{"long-window.tar.zst", "unpacking the archive takes a zstd window of more than 128 MiB, which is the limit", "", nil},
	} {
		var layers [][]byte
		for name := range strings.FieldsSeq(c.layers) {
			b, err := os.ReadFile("testdata/cases/" + name)
			must(t, err)
			layers = append(layers, b)
		}
		if c.how == nil {
			c.how = func(*tarball.Options) {}
		}
		var said []error
		root, err := layered(layers, c.how, remarks(&said))
		if err != nil {
			if !strings.HasSuffix(err.Error(), c.want) || !errors.Is(err, tarball.ErrArchive) {
				t.Errorf("%s: %v", c.layers, err)
			}
			continue
		}
		if got := names(root); got != c.want {
			t.Errorf("%s:\nfound %s\nwant  %s", c.layers, got, c.want)
		}
		if (c.remark == "") != (len(said) == 0) || len(said) > 0 && (len(said) > 1 || said[0].Error() != c.remark) {
			t.Errorf("%s: remarks %v", c.layers, said)
		}
	}
	root, err := layered([][]byte{testutil.ReadFile(t, "testdata/cases/bsdtar-libarchive.tar")})
	must(t, err)
	if note, _ := root.Lookup("f").Xattr("user.note"); string(note) != "hello" {
		t.Errorf("user.note is %q", note)
	}
	if capability, _ := root.Lookup("f").Xattr("security.capability"); len(capability) != 20 || capability[0] != 1 {
		t.Errorf("security.capability is %q", capability)
	}
}
