package treediff_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/erofs/dumpfile"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/check/treediff"
	"github.com/composefs-go/composefs/verity"
)

// parse makes a tree of dump lines below a root.
func parse(t *testing.T, lines string) *tree.Node {
	t.Helper()
	text := lines + "\n"
	if !strings.HasPrefix(lines, "/ ") {
		text = "/ 0 40755 2 0 0 0 0.0 - - -\n" + text
	}
	root, err := dumpfile.Parse(strings.NewReader(strings.TrimRight(text, "\n") + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// Digests of files that the tests have as objects, and what is "hi" as one.
var (
	d1 = strings.Repeat("1", 64)
	d2 = strings.Repeat("2", 64)
	p1 = d1[:2] + "/" + d1[2:]
	p2 = d2[:2] + "/" + d2[2:]
	hi = verity.Sum(verity.SHA256, []byte("hi")).Hex()
)

func TestEachAttributeIsNamedAndBothValuesAreSaid(t *testing.T) {
	for _, c := range []struct {
		name, a, b string
		want       []string
	}{
		{"nothing", "/f 2 100644 1 0 0 0 0.0 - hi -", "/f 2 100644 1 0 0 0 0.0 - hi -", nil},
		{"sizes and links of directories", "/ 1 40755 7 0 0 0 0.0 - - -", "/ 2 40755 9 0 0 0 0.0 - - -", nil},
		{"root", "/ 0 40755 2 0 0 0 0.0 - - -", "/ 0 41777 2 0 0 0 1.0 - - -", []string{
			"/: mode 0755 in A, 1777 in B",
			"/: mtime 1970-01-01T00:00:00Z in A, 1970-01-01T00:00:01Z in B",
		}},
		{"mode", "/motd 2 100644 1 0 0 0 0.0 - hi -", "/motd 2 100600 1 0 0 0 0.0 - hi -", []string{"/motd: mode 0644 in A, 0600 in B"}},
		{"owner and group", "/f 0 100644 1 0 0 0 0.0 - - -", "/f 0 100644 1 1000 4294967295 0 0.0 - - -", []string{
			"/f: uid 0 in A, 1000 in B", "/f: gid 0 in A, 4294967295 in B",
		}},
		{"nanoseconds", "/f 0 100644 1 0 0 0 5.1 - - -", "/f 0 100644 1 0 0 0 5.20 - - -", []string{
			"/f: mtime 1970-01-01T00:00:05.000000001Z in A, 1970-01-01T00:00:05.00000002Z in B",
		}},
		{"times that no calendar has", "/f 0 100644 1 0 0 0 9223372036854775807.0 - - -", "/f 0 100644 1 0 0 0 -1.4000000000 - - -", []string{
			"/f: mtime 9223372036854775807 s and 0 ns after 1970 in A, -1 s and 4000000000 ns after 1970 in B",
		}},
		{"link count", "/f 0 100644 1 0 0 0 0.0 - - -", "/f 0 100644 2 0 0 0 0.0 - - -", []string{"/f: link count 1 in A, 2 in B"}},
		{"device", "/d 0 20644 1 0 0 259 0.0 - - -", "/d 0 20644 1 0 0 3145987 0.0 - - -", []string{"/d: device 1:3 in A, 1:771 in B"}},
		{"target", "/l 1 120777 1 0 0 0 0.0 a - -", "/l 2 120777 1 0 0 0 0.0 a\\n - -", []string{`/l: target "a" in A, "a\n" in B`}},
		{"content in the image", "/f 2 100644 1 0 0 0 0.0 - hi -", "/f 3 100644 1 0 0 0 0.0 - ho\\n -", []string{
			"/f: size 2 in A, 3 in B", `/f: content "hi" in A, "ho\n" in B`,
		}},
		{"content against none", "/f 2 100644 1 0 0 0 0.0 - hi -", "/f 0 100644 1 0 0 0 0.0 - - -", []string{
			"/f: size 2 in A, 0 in B", `/f: content "hi" in A, none in B`,
		}},
		{"content outside", "/f 99 100644 1 0 0 0 0.0 " + p1 + " - " + d1, "/f 99 100644 1 0 0 0 0.0 " + p2 + " - " + d2, []string{
			"/f: content " + d1 + " in A, " + d2 + " in B",
		}},
		{"a hole", "/f 99 100644 1 0 0 0 0.0 - - -", "/f 99 100644 1 0 0 0 0.0 a/b - -", []string{"/f: content zeros in A, a/b in B"}},
		{"the same content, inside and outside", "/f 2 100644 1 0 0 0 0.0 - hi -", "/f 2 100644 1 0 0 0 0.0 x - " + hi, []string{
			"/f: stored in the image in A, as an object in B",
		}},
		{"the same content without a digest", "/f 9 100644 1 0 0 0 0.0 " + p1 + " - " + d1, "/f 9 100644 1 0 0 0 0.0 " + p1 + " - -", []string{
			"/f: digest " + d1 + " in A, none in B",
		}},
		{"the same content by another path", "/f 9 100644 1 0 0 0 0.0 " + p1 + " - " + d1, "/f 9 100644 1 0 0 0 0.0 a/b - " + d1, []string{
			"/f: object path " + p1 + " in A, a/b in B",
		}},
		{"xattrs", "/f 0 100644 1 0 0 0 0.0 - - - user.a=1 user.b=2 user.d=4", "/f 0 100644 1 0 0 0 0.0 - - - user.b=\\x00 user.c=3 user.d=4", []string{
			`/f: xattr user.a "1" in A, none in B`, `/f: xattr user.b "2" in A, "\x00" in B`, `/f: xattr user.c none in A, "3" in B`,
		}},
		{"type", "/x 0 100644 1 0 0 0 0.0 - - -", "/x 0 40700 2 0 0 0 0.0 - - -", []string{"/x: type regular file in A, directory in B"}},
		{"names", "/a 0 100644 1 0 0 0 0.0 - - -\n/c 0 20000 1 0 0 0 0.0 - - -", "/b 0 40755 2 0 0 0 0.0 - - -\n/b/x 0 40755 2 0 0 0 0.0 - - -\n/b/x/y 0 10644 1 0 0 0 0.0 - - -", []string{
			"/a: only in A, a regular file", "/b: only in B, a directory with 2 names below", "/c: only in A, a whiteout",
		}},
		{"odd names", "/a\\nb 0 100644 1 0 0 0 0.0 - - -", "/ 0 40755 2 0 0 0 0.0 - - -", []string{`"/a\nb": only in A, a regular file`}},
		{"a link against a file of its own", "/a 2 100644 2 0 0 0 0.0 - hi -\n/b 2 @100644 2 0 0 0 0.0 /a - -", "/a 2 100644 1 0 0 0 0.0 - hi -\n/b 2 100600 1 0 0 0 0.0 - hi -", []string{
			"/a: link count 2 in A, 1 in B", "/b: hard link to /a in A, none in B", "/b: mode 0644 in A, 0600 in B", "/b: link count 2 in A, 1 in B",
		}},
		{"another original", "/a 2 100644 2 0 0 0 0.0 - hi -\n/b 2 @100644 2 0 0 0 0.0 /a - -", "/a 2 @100644 2 0 0 0 0.0 /b - -\n/b 2 100644 2 0 0 0 0.0 - hi -", []string{
			"/a: hard link none in A, to /b in B", "/b: hard link to /a in A, none in B",
		}},
		{"a linked file differs once", "/a 2 100644 2 0 0 0 0.0 - hi -\n/b 2 @100644 2 0 0 0 0.0 /a - -", "/a 2 100600 2 0 0 0 0.0 - hi -\n/b 2 @100644 2 0 0 0 0.0 /a - -", []string{
			"/a: mode 0644 in A, 0600 in B",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for d := range treediff.Trees(parse(t, c.a), parse(t, c.b)) {
				got = append(got, d.String())
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("found\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

func TestTheWalkEndsWhenNobodyListens(t *testing.T) {
	a := parse(t, "/a 0 100644 1 0 0 0 0.0 - - -\n/b 0 40755 1 0 0 0 0.0 - - -\n/b/c 0 100644 1 0 0 0 0.0 - - - user.x=1\n/d 0 100644 1 0 0 0 0.0 - - -")
	b := parse(t, "/ 0 40700 2 0 0 0 1.0 - - - user.x=1\n/b 0 40700 1 1 0 0 0.0 - - -\n/b/c 0 100600 1 0 0 0 0.0 - - -\n/d 0 10644 1 0 0 0 0.0 - - -\n/e 0 100644 1 0 0 0 0.0 - - -")
	all := slices.Collect(treediff.Trees(a, b))
	if len(all) < 9 {
		t.Fatalf("found %d differences", len(all))
	}
	for want := range all {
		var got []treediff.Difference
		for d := range treediff.Trees(a, b) {
			if got = append(got, d); len(got) > want {
				break
			}
		}
		if !slices.Equal(got, all[:want+1]) {
			t.Errorf("found %v", got)
		}
	}
}

func TestAnUpdateMovesWhatAHasNot(t *testing.T) {
	for _, c := range []struct {
		name, a, b string
		want       treediff.Update
	}{
		{"nothing", "/f 99 100644 1 0 0 0 0.0 " + p1 + " - " + d1, "/g 99 100644 1 0 0 0 0.0 " + p1 + " - -", treediff.Update{}},
		{"an object once", "/f 2 100644 1 0 0 0 0.0 - hi -", "/f 99 100644 1 0 0 0 0.0 " + p1 + " - " + d1 + "\n/g 99 100644 1 0 0 0 0.0 " + p1 + " - " + d1, treediff.Update{Objects: 1, Bytes: 99}},
		{"by path and by digest", "/f 9 100644 1 0 0 0 0.0 a - -", "/f 9 100644 1 0 0 0 0.0 a - -\n/g 10 100644 1 0 0 0 0.0 b - -\n/h 11 100644 1 0 0 0 0.0 - - " + d2, treediff.Update{Objects: 2, Bytes: 21}},
		{"no holes, no content in the image", "/f 0 100644 1 0 0 0 0.0 - - -", "/f 2 100644 1 0 0 0 0.0 - hi -\n/g 99 100644 1 0 0 0 0.0 - - -", treediff.Update{}},
		{"sizes that can't be", "/f 0 100644 1 0 0 0 0.0 - - -", "/f 18446744073709551615 100644 1 0 0 0 0.0 a - -\n/g 9 100644 1 0 0 0 0.0 b - -", treediff.Update{Objects: 2, Bytes: 1<<64 - 1}},
	} {
		if got := treediff.NewUpdate(parse(t, c.a), parse(t, c.b)); got != c.want {
			t.Errorf("%s: found %+v, want %+v", c.name, got, c.want)
		}
	}
}
