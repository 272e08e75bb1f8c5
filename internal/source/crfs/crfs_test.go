package crfs_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/erofs/dumpfile"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/source/crfs"
)

func read(texts ...string) (*tree.Node, error) {
	b := crfs.NewBuilder()
	for _, t := range texts {
		if err := b.Apply(strings.NewReader(t)); err != nil {
			return nil, err
		}
	}
	return b.Tree(), nil
}

// readFrom returns the tree of one text.
func readFrom(r io.Reader) (*tree.Node, error) {
	b := crfs.NewBuilder()
	if err := b.Apply(r); err != nil {
		return nil, err
	}
	return b.Tree(), nil
}

// entries is a text with these entries.
func entries(e ...string) string {
	return `{"version": 1, "entries": [` + strings.Join(e, ",\n") + `]}`
}

func dump(t *testing.T, root *tree.Node) string {
	t.Helper()
	var b bytes.Buffer
	if err := dumpfile.Write(&b, root); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

var hash = strings.Repeat("ab", 32)

func TestWhatATextMeans(t *testing.T) {
	for _, c := range []struct {
		name  string
		texts []string
		want  string // a dump
	}{
		{"nothing but a root", []string{entries()}, "/ 0 40755 1 0 0 0 0.0 - - -\n"},
		{"a root with an entry", []string{entries(`{"name": "", "type": "dir", "mode": 448, "uid": 1, "gid": 4294967295, "modtime": "1970-01-01T00:00:05Z"}`)},
			"/ 0 40700 1 1 4294967295 0 5.0 - - -\n"},
		{"every type", []string{entries(
			`{"type": "dir", "name": "d/", "mode": 16832}`,
			`{"type": "reg", "name": "./d//f", "mode": 33188, "size": 100, "digest": "sha256:`+hash+`"}`,
			`{"type": "char", "name": "c", "devMajor": 1, "devMinor": 300}`,
			`{"type": "block", "name": "b", "devMajor": 4095, "devMinor": 5}`,
			`{"type": "fifo", "name": "p", "mode": 384}`,
			`{"type": "symlink", "name": "s", "linkName": "../x", "mode": 511}`,
			`{"type": "hardlink", "name": "a", "linkName": "d/f"}`,
			`{"type": "chunk", "name": "d/f", "offset": 7}`)},
			"/ 0 40755 1 0 0 0 0.0 - - -\n/a 100 100644 2 0 0 0 0.0 ab/" + hash[2:] + " - -\n/b 0 60000 1 0 0 1048325 0.0 - - -\n/c 0 20000 1 0 0 1048876 0.0 - - -\n/d 0 40700 1 0 0 0 0.0 - - -\n" +
				"/d/f 0 @100644 2 0 0 0 0.0 /a - -\n/p 0 10600 1 0 0 0 0.0 - - -\n/s 4 120777 1 0 0 0 0.0 ../x - -\n"},
		{"content, payload and attributes", []string{entries(
			`{"type": "reg", "name": "a", "x-content": "aGkK", "xattrs": {"user.b": "", "user.a": "AP8="}}`,
			`{"type": "reg", "name": "b", "size": 9, "digest": "`+hash+`", "x-payload": "some/where"}`,
			`{"type": "reg", "name": "c", "size": 0, "digest": "sha256:`+hash+`"}`)},
			"/ 0 40755 1 0 0 0 0.0 - - -\n/a 3 100000 1 0 0 0 0.0 - hi\\n - user.a=\\x00\\xff user.b=\n/b 9 100000 1 0 0 0 0.0 some/where - -\n/c 0 100000 1 0 0 0 0.0 - - -\n"},
		{"a name again changes what its entry has", []string{
			entries(`{"type": "reg", "name": "d/a", "mode": 420, "uid": 5, "gid": 6, "size": 9, "x-payload": "p", "xattrs": {"user.a": "MQ==", "user.b": "MQ=="}}`),
			entries(`{"type": "dir", "name": "d", "mode": 448}`, `{"type": "reg", "name": "d/a", "mode": 384, "gid": 7, "xattrs": {"user.b": "Mg=="}}`)},
			"/ 0 40755 1 0 0 0 0.0 - - -\n/d 0 40700 1 0 0 0 0.0 - - -\n/d/a 9 100600 1 5 7 0 0.0 p - - user.a=1 user.b=2\n"},
		{"times with a zone, before 1970 and without their fraction", []string{entries(
			`{"type": "dir", "name": "a", "modtime": "1970-01-01T01:00:00+02:00"}`, `{"type": "dir", "name": "b", "modtime": "2040-01-01T00:00:00.999-0030"}`)},
			"/ 0 40755 1 0 0 0 0.0 - - -\n/a 0 40000 1 0 0 0 -3600.0 - - -\n/b 0 40000 1 0 0 0 2208990600.0 - - -\n"},
		{"keys that nobody knows", []string{`{"x": [{"y": [1, null, true]}], "entries": [{"type": "dir", "NumLink": 2, "name": "ü\u0041", "more": {"a": [[]]}}]}` + "\n"},
			"/ 0 40755 1 0 0 0 0.0 - - -\n/\\xc3\\xbcA 0 40000 1 0 0 0 0.0 - - -\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			root, err := read(c.texts...)
			if err != nil {
				t.Fatal(err)
			}
			if got := normal(dump(t, root)); got != c.want {
				t.Errorf("found\n%swant\n%s", got, c.want)
			}
			if err := tree.Check(root); err != nil {
				t.Error(err)
			}
		})
	}
}

// normal evens out what depends on the writer.
func normal(dump string) string {
	var b strings.Builder
	for line := range strings.Lines(dump) {
		f := strings.SplitN(line, " ", 5)
		switch {
		case strings.HasPrefix(f[2], "40"):
			f[1], f[3] = "0", "1"
		case f[2][0] == '@':
			f[1] = "0"
		}
		b.WriteString(strings.Join(f, " "))
	}
	return b.String()
}

func TestWhatIsRefused(t *testing.T) {
	const ok = `{"type": "reg", "name": "f", "x-content": "MQ=="}`
	for _, c := range []struct{ name, text, want string }{
		{"nothing", ``, "the text is truncated: unexpected EOF"},
		{"no object", `[]`, "want an object, found an array"},
		{"no entries", `{"entry": []}`, `there is no key "entries"`},
		{"entries twice", `{"entries": [], "entries": []}`, `key "entries": the key is there twice`},
		{"entries that are no array", `{"entries": {}}`, `key "entries": want an array, found an object`},
		{"something after it", `{"entries": []} {}`, "want nothing after the object"},
		{"a cut text", `{"entries": [` + ok + `, {"type": "reg", "na`, `entry 1, key "type": the text is truncated`},
		{"a syntax error", `{"entries": [{"type": reg}]}`, `entry 0, key "type": after byte 22: invalid character 'r'`},
		{"no UTF-8", "{\"entries\": [{\"name\": \"\xff\"}]}", "the text isn't UTF-8"},
		{"half a surrogate", entries(`{"name": "\ud800"}`), `entry 0, key "name": U+FFFD in`},
		{"an entry that isn't an object", entries(ok, `7`), `entry 1: want an object, found the number 7`},
		{"no type", entries(ok, `{"name": "a"}`), `entry 1, key "type": the entry lacks it`},
		{"no name", entries(`{"type": "dir"}`), `entry 0, key "name": the entry lacks it`},
		{"a key twice", entries(`{"type": "dir", "type": "dir", "name": "a"}`), `entry 0, key "type": the key is there twice`},
		{"an unknown type", entries(`{"type": "socket", "name": "a"}`), `entry 0, key "type": want reg, dir, char, block, fifo, symlink, hardlink or chunk, found "socket"`},
		{"a number as text", entries(`{"mode": "420"}`), `entry 0, key "mode": want a number, found "420"`},
		{"a fraction", entries(`{"uid": 1.5}`), `entry 0, key "uid": want a whole number from 0 to 4294967295, found 1.5`},
		{"a number that is too large", entries(`{"gid": 4294967296}`), `entry 0, key "gid": want a whole number from 0 to 4294967295, found 4294967296`},
		{"a mode of another type", entries(`{"type": "dir", "name": "a", "mode": 33188}`), `entry 0, key "mode": its type bits are 0100000, but type dir has 040000`},
		{"dot dot", entries(`{"type": "dir", "name": "a/../b"}`), `entry 0, key "name": invalid file name ".."`},
		{"a long name", entries(`{"type": "dir", "name": "` + strings.Repeat("n", 256) + `"}`), `invalid file name: 256 bytes`},
		{"a file as directory", entries(ok, `{"type": "dir", "name": "f/a"}`), `entry 1, key "name": want a directory at "f", found another type of file`},
		{"a file that changes its type", entries(ok, `{"type": "dir", "name": "f"}`), `entry 1, key "name": "f" is there already, as another type of file`},
		{"a root that is a file", entries(`{"type": "reg", "name": "."}`), `entry 0, key "name": the root must be a directory`},
		{"a hard link to nothing", entries(`{"type": "hardlink", "name": "a", "linkName": "b"}`), `entry 0, key "linkName": no file "b" came before`},
		{"a hard link to a directory", entries(`{"type": "hardlink", "name": "a", "linkName": "/"}`), `entry 0, key "linkName": want a file other than a directory`},
		{"a hard link in place of a file", entries(ok, `{"type": "hardlink", "name": "f", "linkName": "f"}`), `entry 1, key "name": name exists already: "f"`},
		{"a file in place of a hard link", entries(ok, `{"type": "hardlink", "name": "g", "linkName": "f"}`, `{"type": "reg", "name": "g"}`), `entry 2, key "name": "g" is there already`},
		{"a symlink without target", entries(`{"type": "symlink", "name": "a"}`), `entry 0, key "linkName": want a target of 1 to 4095 bytes, without NUL, found 0 bytes`},
		{"a malformed time", entries(`{"modtime": "yesterday"}`), `entry 0, key "modtime": want a time like 2024-05-01T12:00:00Z, found "yesterday"`},
		{"a malformed digest", entries(`{"digest": "sha512:ab"}`), `entry 0, key "digest": want a hash in hexadecimal digits`},
		{"content that is no base64", entries(`{"x-content": "%"}`), `entry 0, key "x-content": want base64: illegal base64 data at input byte 0`},
		{"content of another size", entries(`{"type": "reg", "name": "a", "size": 2, "x-content": "MQ=="}`), `entry 0, key "x-content": it has 1 bytes, and size says 2`},
		{"a size of other content", entries(ok, `{"type": "reg", "name": "f", "size": 2}`), `entry 1, key "size": it is 2, and the content that came before has 1 bytes`},
		{"an attribute twice", entries(`{"xattrs": {"user.a": "", "user.a": ""}}`), `entry 0, key "xattrs": extended attribute "user.a" is there twice`},
		{"an attribute that is no base64", entries(`{"xattrs": {"user.a": 1}}`), `entry 0, key "xattrs": extended attribute "user.a": want a string, found the number 1`},
		{"depth without end", `{"x": ` + strings.Repeat("[", 200), `key "x": values are nested more than 100 deep`},
		{"directories without end", entries(`{"type": "dir", "name": "` + strings.Repeat("d/", 2000) + `"}`), `too many directories have no entries of their own`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := read(c.text)
			if err == nil || !strings.Contains(err.Error(), c.want) || !errors.Is(err, crfs.ErrSyntax) {
				t.Errorf("found %v\nwant %s", err, c.want)
			}
		})
	}
}
