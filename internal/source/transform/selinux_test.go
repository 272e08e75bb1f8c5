package transform_test

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/source/transform"
)

// policyFiles are the files of a policy by the ends of their names.
type policyFiles map[string]string

const fileContexts = "etc/selinux/test/contexts/files/file_contexts"

// add puts a file and its directories into a tree.
func add(t testing.TB, root *tree.Node, name string, n *tree.Node) {
	t.Helper()
	dir := root
	parts := strings.Split(name, "/")
	for _, part := range parts[:len(parts)-1] {
		next := dir.Lookup(part)
		if next == nil {
			next = &tree.Node{Kind: tree.Directory, Perm: 0o755}
			if err := dir.Add(part, next); err != nil {
				t.Fatal(err)
			}
		}
		dir = next
	}
	if err := dir.Add(parts[len(parts)-1], n); err != nil {
		t.Fatal(err)
	}
}

func file(content string) *tree.Node {
	return &tree.Node{Kind: tree.Regular, Perm: 0o644, Nlink: 1, Size: uint64(len(content)), Inline: []byte(content)}
}

// emptyRoot returns a tree with the directories that a root must have.
func emptyRoot(t testing.TB) *tree.Node {
	t.Helper()
	root := &tree.Node{Kind: tree.Directory, Perm: 0o755}
	for _, name := range []string{"boot", "sysroot", "usr"} {
		add(t, root, name, &tree.Node{Kind: tree.Directory, Perm: 0o755})
	}
	return root
}

// rootWith returns a root with a policy.
func rootWith(t testing.TB, policy policyFiles) *tree.Node {
	t.Helper()
	root := emptyRoot(t)
	add(t, root, "etc/selinux/config", file("SELINUX=enforcing\nSELINUXTYPE=test\n"))
	for suffix, content := range policy {
		add(t, root, fileContexts+suffix, file(content))
	}
	return root
}

// labelOf returns the label that Boot gives to a file at a path, "" for none.
func labelOf(t testing.TB, policy policyFiles, path string, kind tree.Kind) (string, error) {
	t.Helper()
	root := rootWith(t, policy)
	n := root
	if path != "/" {
		n = &tree.Node{Kind: kind, Nlink: 1, Target: "x"}
		n.SetXattr("security.selinux", []byte("old"))
		add(t, root, path[1:], n)
	}
	err := transform.Release090.Boot(root, nil)
	label, _ := n.Xattr("security.selinux")
	return string(label), err
}

func TestLabels(t *testing.T) {
	const regular = tree.Regular
	for _, test := range []struct {
		name  string
		rules string
		path  string
		kind  tree.Kind
		want  string
	}{
		{"no rule matches", "/b a", "/a", regular, ""},
		{"literal", "/a/b ok", "/a/b", regular, "ok"},
		{"literal is not a prefix", "/a ok", "/a/b", regular, ""},
		{"escaped dot", `/a\.b ok`, "/a.b", regular, "ok"},
		{"escaped dot is no other character", `/a\.b ok`, "/axb", regular, ""},
		{"last rule wins", "/a one\n/.* two\n/a three\n/b four", "/a", regular, "three"},
		{"last rule wins, though less specific", "/a one\n/.* two", "/a", regular, "two"},
		{"the root", "/ -d ok", "/", tree.Directory, "ok"},
		{"the root is below nothing", "/.+ ok", "/", tree.Directory, ""},
		{"subtree, top", "/a(/.*)? ok", "/a", regular, "ok"},
		{"subtree, below", "/a(/.*)? ok", "/a/b/c", regular, "ok"},
		{"subtree, beside", "/a(/.*)? ok", "/ab", regular, ""},
		{"subtree of everything", "(/.*)? ok", "/a/b", regular, "ok"},
		{"prefix", "/a.* ok", "/ab/c", regular, "ok"},
		{"prefix needs no more", "/a.* ok", "/a", regular, "ok"},
		{"optional last character", "/ab? ok", "/a", regular, "ok"},
		{"optional group", "/lib(64)?/a ok", "/lib64/a", regular, "ok"},
		{"class", "/a[0-9]+ ok", "/a12", regular, "ok"},
		{"alternatives in a group", "/(a|b)/c ok", "/b/c", regular, "ok"},
		{"alternatives on top", "/a|/b ok", "/b", regular, "ok"},
		{"bar in a class", "/a[|]b ok", "/a|b", regular, "ok"},
		{"bar and bracket in a class", "/a[]|]b ok", "/a]b", regular, "ok"},
		{"bar and named class", "/a[[:digit:]|]b ok", "/a1b", regular, "ok"},
		{"escaped bar", `/a\|b ok`, "/a|b", regular, "ok"},
		{"quantified literal", "/ab{2} ok", "/abb", regular, "ok"},
		{"anchored", "^/a ok", "/a", regular, "ok"},
		{"end mark inside never matches", "/a$ no", "/a", regular, ""},
		{"none", "/.* all\n/tmp(/.*)? <<none>>", "/tmp/a", regular, ""},
		{"kind: file", "/a -- ok", "/a", regular, "ok"},
		{"kind: other", "/a -d no", "/a", regular, ""},
		{"kind falls through to an earlier rule", "/a one\n/a -d two", "/a", regular, "one"},
		{"kind: directory", "/a -d ok", "/a", tree.Directory, "ok"},
		{"kind: symlink", "/a -l ok", "/a", tree.Symlink, "ok"},
		{"kind: pipe", "/a.* -p ok", "/a", tree.FIFO, "ok"},
		{"kind: socket", "/[a] -s ok", "/a", tree.Socket, "ok"},
		{"kind: block device", "/a -b ok", "/a", tree.BlockDevice, "ok"},
		{"kind: character device", "/a -c ok", "/a", tree.CharDevice, "ok"},
		{"dot is a byte", "/a.b no\n/a..b ok", "/aéb", regular, "ok"},
		{"literal beyond ASCII", "/é+ ok", "/é", regular, "ok"},
		{"not UTF-8", "/a.[^b] ok", "/a\xff\xfe", regular, "ok"},
		{"line feed in a name", "/a.b ok", "/a\nb", regular, "ok"},
		{"look-ahead", "/(?!b)[a-z] ok", "/a", regular, "ok"},
		{"look-ahead refuses", "/(?!b)[a-z] no", "/b", regular, ""},
		{"back-reference", `/(a|b)\2 ok`, "/bb", regular, "ok"},
		{"look-behind with a kind", "/.*(?<!x) -d no\n/.*(?<!x) -- ok", "/a", regular, "ok"},
		{"comments and white space", "# c\n\n  \t# d\n\t/a\t--  ok  \r\n", "/a", regular, "ok"},
		{"no line feed at the end", "/b no\n/a ok", "/a", regular, "ok"},
	} {
		t.Run(test.name, func(t *testing.T) {
			label, err := labelOf(t, policyFiles{"": test.rules}, test.path, test.kind)
			if err != nil || label != test.want {
				t.Errorf("found %q, %v; want %q", label, err, test.want)
			}
		})
	}
}

func TestPolicyFilesAreReadInOrder(t *testing.T) {
	for _, test := range []struct {
		name   string
		policy policyFiles
		path   string
		want   string
	}{
		{"local after the base", policyFiles{"": "/a one", ".local": "/a two"}, "/a", "two"},
		{"homedirs after local", policyFiles{"": "/a one", ".local": "/a two", ".homedirs": "/a three"}, "/a", "three"},
		{"alias", policyFiles{"": "/b/.* ok", ".subs": "/a /b"}, "/a/c", "ok"},
		{"alias of the directory itself", policyFiles{"": "/b ok", ".subs_dist": "/a /b"}, "/a", "ok"},
		{"subs_dist replaces subs", policyFiles{"": "/b ok\n/c no", ".subs": "/a /c", ".subs_dist": "/a /b"}, "/a", "ok"},
		{"alias below an alias", policyFiles{"": "/x/y ok", ".subs": "/a /b\n/b/c /x"}, "/a/c/y", "ok"},
		{"alias is not a prefix", policyFiles{"": "/ab ok\n/c.* no", ".subs": "/a /c"}, "/ab", "ok"},
		{"alias with a slash at the end", policyFiles{"": "/b/c ok", ".subs": "/a /b/"}, "/a/c", "ok"},
		{"alias to the root", policyFiles{"": "/c ok", ".subs": "/a /"}, "/a/c", "ok"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if label, err := labelOf(t, test.policy, test.path, tree.Directory); err != nil || label != test.want {
				t.Errorf("found %q, %v; want %q", label, err, test.want)
			}
		})
	}
}

func TestUnusablePolicies(t *testing.T) {
	for _, test := range []struct {
		name    string
		policy  policyFiles
		message string
	}{
		{"no file_contexts", policyFiles{".local": "/a b"}, "want the file " + fileContexts + ", since etc/selinux/config names its policy"},
		{"one word", policyFiles{"": "/a x\n/b"}, fileContexts + `, line 2: want REGEX [-KIND] CONTEXT, found "/b"`},
		{"four words", policyFiles{"": "/a -- x y"}, `line 1: want REGEX [-KIND] CONTEXT`},
		{"unknown kind", policyFiles{"": "/a -x y"}, `line 1: want the kind of file as one of`},
		{"kind without dash", policyFiles{"": "/a d y"}, `found "d"`},
		{"kind and no context", policyFiles{"": "/a -d"}, `line 1: want REGEX [-KIND] CONTEXT`},
		{"malformed pattern", policyFiles{"": "\n/a(b x"}, `line 2: pattern "/a(b"`},
		{"malformed pattern in local", policyFiles{"": "", ".local": "/a[ x"}, fileContexts + ".local, line 1"},
		{"alias alone", policyFiles{"": "", ".subs": "/a"}, fileContexts + ".subs, line 1: want ALIAS ORIGINAL, found 1 words"},
		{"endless pattern", policyFiles{"": "/(?!b)(a*)*(a*)*(a*)*(a*)*c x"}, " takes more than "},
	} {
		t.Run(test.name, func(t *testing.T) {
			if testing.Short() && test.name == "endless pattern" {
				t.Skip("waits for a time-out")
			}
			_, err := labelOf(t, test.policy, "/"+strings.Repeat("a", 200), tree.Regular)
			if !errors.Is(err, transform.ErrPolicy) || !strings.Contains(err.Error(), test.message) || strings.Contains(err.Error(), "\n") {
				t.Errorf("found %v, want ErrPolicy in one line that says %q", err, test.message)
			}
		})
	}
}

func TestConfig(t *testing.T) {
	for _, test := range []struct {
		name, config string
		labelled     bool
		message      string
	}{
		{"usual", "SELINUXTYPE=test\n", true, ""},
		{"no line feed at the end, spaces, lower case", "a\n# b=c\n selinuxtype = test ", true, ""},
		{"first one counts", "SELINUXTYPE=test\nSELINUXTYPE=other\n", true, ""},
		{"commented out", "#SELINUXTYPE=test\n", false, ""},
		{"empty file", "", false, ""},
		{"empty value", "SELINUXTYPE=\n", false, "invalid file name"},
		{"path as value", "SELINUXTYPE=../test\n", false, "invalid file name"},
		{"not installed", "SELINUXTYPE=mls\n", false, "want the file etc/selinux/mls/contexts/files/file_contexts"},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := emptyRoot(t)
			add(t, root, "etc/selinux/config", file(test.config))
			add(t, root, fileContexts, file("/.* ok\n"))
			root.SetXattr("security.selinux", []byte("old"))
			err := transform.Release090.Boot(root, nil)
			if test.message != "" {
				if !errors.Is(err, transform.ErrPolicy) || !strings.Contains(err.Error(), test.message) {
					t.Errorf("found %v, want ErrPolicy that says %q", err, test.message)
				}
				return
			}
			if label, ok := root.Xattr("security.selinux"); err != nil || ok != test.labelled || ok && string(label) != "ok" {
				t.Errorf("found %q, %v; labelled should be %v", label, err, test.labelled)
			}
		})
	}
}

func TestContentIsWantedOfPolicyFilesOnly(t *testing.T) {
	root := rootWith(t, policyFiles{})
	contexts := &tree.Node{Kind: tree.Regular, Size: 6, Payload: "aa/bb"}
	add(t, root, fileContexts, contexts)
	add(t, root, "usr/big", &tree.Node{Kind: tree.Regular, Size: 1 << 40, Payload: "cc/dd"})
	content := func(n *tree.Node) ([]byte, error) {
		if n != contexts {
			t.Errorf("wants the content of %+v", n)
		}
		return []byte("/usr ok\n"), nil
	}
	if err := transform.Release090.Boot(root, content); err != nil {
		t.Fatal(err)
	}
	if label, _ := root.Lookup("usr").Xattr("security.selinux"); string(label) != "ok" {
		t.Errorf("found %q", label)
	}

	errRead := errors.New("medium error")
	for name, content := range map[string]transform.Content{
		"medium error":                func(*tree.Node) ([]byte, error) { return nil, errRead },
		"its content isn't available": nil,
	} {
		if err := transform.Release090.Boot(root, content); !errors.Is(err, transform.ErrPolicy) || !strings.Contains(err.Error(), name) {
			t.Errorf("found %v, want ErrPolicy: %s", err, name)
		}
	}
	contexts.Size = 1 << 40
	if err := transform.Release090.Boot(root, content); !errors.Is(err, transform.ErrPolicy) {
		t.Errorf("a policy of 1 TiB: found %v", err)
	}
}

func TestPolicyThatIsNoFile(t *testing.T) {
	for name, kind := range map[string]tree.Kind{
		"etc":                tree.Symlink,
		"etc/selinux":        tree.Symlink,
		"etc/selinux/config": tree.Directory,
	} {
		root := emptyRoot(t)
		add(t, root, name, &tree.Node{Kind: kind, Target: "x"})
		if err := transform.Release090.Boot(root, nil); !errors.Is(err, transform.ErrPolicy) {
			t.Errorf("%s: found %v, want ErrPolicy", name, err)
		}
	}
}

// FuzzLookup compares with the plain way: all patterns, from the last to the first.
func FuzzLookup(f *testing.F) {
	f.Add("/a(/.*)? one\n/a/b -- two", "/a/b")
	f.Add("/(a|b)c? x\n/a|/b y\n/a[|]c z", "/ac")
	f.Add(`/a\.b.* x`+"\n/.* y", "/a.bc")
	f.Add("/é? x\n/\xc3 y\n(/.*)? z\n/a{0} w", "/é")
	f.Fuzz(func(t *testing.T, rules, path string) {
		if !strings.HasPrefix(path, "/") || len(path) > 200 || len(rules) > 500 ||
			strings.Contains(path, "\x00") || strings.Contains(path, "//") || strings.HasSuffix(path, "/") || strings.Contains(path, "/.") ||
			strings.HasPrefix(path, "/etc") || strings.HasPrefix(path, "/boot") || strings.HasPrefix(path, "/sysroot") || strings.HasPrefix(path, "/usr") {
			return
		}
		want, ok := plainLookup(rules, path)
		if !ok {
			return
		}
		label, err := labelOf(t, policyFiles{"": rules}, path, tree.Regular)
		if err != nil || label != want {
			t.Errorf("rules %q, path %q: found %q, %v; want %q", rules, path, label, err, want)
		}
	})
}

// plainLookup is the definition, for rules that package regexp can do and bytes
// that are ASCII or single.
func plainLookup(rules, path string) (label string, ok bool) {
	bytewise := func(s string) string {
		var r []rune
		for _, b := range []byte(s) {
			r = append(r, rune(b))
		}
		return string(r)
	}
	for line := range strings.Lines(rules) {
		f := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t\n\v\f\r", r) })
		if len(f) == 0 || f[0][0] == '#' {
			continue
		}
		if len(f) < 2 || len(f) > 3 || strings.HasPrefix(f[len(f)-1], "-") {
			return "", false
		}
		kind := "."
		if len(f) == 3 {
			if len(f[1]) != 2 || f[1][0] != '-' || !strings.Contains("bcdpls-", f[1][1:]) {
				return "", false
			}
			kind = f[1][1:]
		}
		re, err := regexp.Compile(fmt.Sprintf("(?s)^(%s)%s$", bytewise(f[0]), kind))
		if err != nil {
			return "", false
		}
		if re.MatchString(bytewise(path) + "-") {
			if label = f[len(f)-1]; label == "<<none>>" {
				label = ""
			}
		}
	}
	return label, true
}

// BenchmarkBoot labels 25,000 files by 6,000 rules of the forms that real
// policies have.
func BenchmarkBoot(b *testing.B) {
	var rules strings.Builder
	rules.WriteString("/.* default\n")
	for i := range 1500 {
		fmt.Fprintf(&rules, "/usr/bin/tool%d -- tool\n", i)
		fmt.Fprintf(&rules, "/var/lib/service%d(/.*)? data\n", i)
		fmt.Fprintf(&rules, "/usr/(s)?bin/d%d.* -- daemon\n", i)
		fmt.Fprintf(&rules, "/usr/lib(64)?/(x|y)%d/[^/]+\\.so(\\.[0-9]+)* -- lib\n", i)
	}
	root := rootWith(b, policyFiles{})
	add(b, root, fileContexts, file(rules.String()))
	for i := range 12500 {
		add(b, root, fmt.Sprintf("usr/lib/x%d/name%d.so.1", i%500, i), file("x"))
		add(b, root, fmt.Sprintf("usr/share/doc/package%d/file%d", i%1000, i), file("x"))
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := transform.Release090.Boot(root, nil); err != nil {
			b.Fatal(err)
		}
	}
}
