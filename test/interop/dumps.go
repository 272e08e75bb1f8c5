package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/dumpfile"
	"github.com/composefs-go/composefs/erofs/tree"
)

// dumps compares the images made from dumps, including dumps with unusual and broken
// lines.
func (s *session) dumps(dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, "*.dump*"))
	if err == nil && len(names) == 0 {
		err = fmt.Errorf("no dumps in %s", dir)
	}
	for _, name := range names {
		if strings.Contains(name, ".info.dump") {
			continue // what composefs-info printed of another
		}
		about := &subject{what: filepath.Base(name)}
		if about.dump, err = readDump(name); err != nil {
			return err
		}
		if err := errors.Join(s.dump("dumps", about), s.imagesOf("dumps", about, versions[0])); err != nil {
			return err
		}
	}
	for _, d := range brokenDumps {
		about := &subject{what: d.name, dump: []byte(d.text)}
		if err := s.dump("broken dumps", about); err != nil {
			return err
		}
	}
	return err
}

// readDump reads a file that may be compressed.
func readDump(name string) ([]byte, error) {
	b, err := os.ReadFile(name)
	if err != nil || !strings.HasSuffix(name, ".gz") {
		return b, err
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

// dump compares the images made of a dump, whole, with their digests.
func (s *session) dump(kind string, about *subject) error {
	about.tree, _ = dumpfile.Parse(bytes.NewReader(about.dump)) // nil for a broken dump
	for i, v := range slices.Concat(versions[:3], versions[:1]) {
		args := append(slices.Clone(v), "--from-file", "--print-digest", "-", "-")
		ours := s.mkcomposefs.with(args...).given(about.dump)
		if i == 3 {
			ours.env = []string{"CFS_PARSE_STRICT=1"}
		}
		theirs := ours
		theirs.program = s.cMkcomposefs
		if _, err := s.ask("mkcomposefs of "+kind+", C", about, ours, theirs); err != nil {
			return err
		}
	}
	return s.rustDump(kind, about)
}

// rustDump compares which dumps are accepted, and the images of the dumps that mean the
// same in the dialects of C and Rust: a V1 image is made from C's.
func (s *session) rustDump(kind string, about *subject) error {
	status := func(p program) program { // without its output
		p.command = append([]string{"sh", "-c", `"$@" >/dev/null`, p.name}, p.command...)
		return p
	}
	args := []string{"--min-version=1", "--from-file", "--print-digest-only", "-"}
	if _, err := s.ask("status of mkimage build --format v2 of "+kind+", cfsctl", about,
		status(s.mkimage).with("build", "--quiet", "--format", "v2", "dump:-").given(about.dump), status(s.rsMkcomposefs).with(args...).given(about.dump)); err != nil {
		return err
	}
	rust, err := dumpfile.Rust.Parse(bytes.NewReader(about.dump))
	if err != nil || about.tree == nil || !bytes.Equal(v1Image(rust), v1Image(about.tree)) {
		return nil
	}
	about.both = true
	_, err = s.ask("mkcomposefs of "+kind+", Rust", about,
		s.mkcomposefs.with(args...).given(about.dump), s.rsMkcomposefs.with(args...).given(about.dump))
	return err
}

func v1Image(root *tree.Node) []byte {
	var b bytes.Buffer
	_ = erofs.Write(&b, root, erofs.V1) // what it wrote until an error is as good
	return b.Bytes()
}

const rootLine = "/ 0 40755 2 0 0 0 0.0 - - -\n"

// brokenDumps are dumps that must be accepted or refused as by C.
var brokenDumps = []struct{ name, text string }{
	{"nothing", ""},
	{"an empty line", rootLine + "\n"},
	{"blanks", rootLine + "   \n"},
	{"no root", "/a 0 40755 2 0 0 0 0.0 - - -\n"},
	{"a root that is a file", "/ 0 100644 2 0 0 0 0.0 - - -\n"},
	{"two roots", rootLine + rootLine},
	{"no newline at the end", rootLine[:len(rootLine)-1]},
	{"a NUL", rootLine + "/a\x00 0 100644 1 0 0 0 0.0 - - -\n"},
	{"an escaped NUL", rootLine + `/a\x00b 0 100644 1 0 0 0 0.0 - - -` + "\n"},
	{"a bad escape", rootLine + `/a\q 0 100644 1 0 0 0 0.0 - - -` + "\n"},
	{"half an escape", rootLine + `/a\x4 0 100644 1 0 0 0 0.0 - - -` + "\n"},
	{"no parent", rootLine + "/a/b 0 100644 1 0 0 0 0.0 - - -\n"},
	{"a parent that is a file", rootLine + "/a 0 100644 1 0 0 0 0.0 - - -\n/a/b 0 100644 1 0 0 0 0.0 - - -\n"},
	{"a name twice", rootLine + "/a 0 100644 1 0 0 0 0.0 - - -\n/a 0 100644 1 0 0 0 0.0 - - -\n"},
	{"dot", rootLine + "/. 0 100644 1 0 0 0 0.0 - - -\n"},
	{"dot dot", rootLine + "/.. 0 100644 1 0 0 0 0.0 - - -\n"},
	{"a slash at the end", rootLine + "/a/ 0 40755 2 0 0 0 0.0 - - -\n"},
	{"many slashes", rootLine + "//a 0 40755 2 0 0 0 0.0 - - -\n///a//b 0 40755 2 0 0 0 0.0 - - -\n"},
	{"no slash", rootLine + "a 0 40755 2 0 0 0 0.0 - - -\n"},
	{"a long name", rootLine + "/" + strings.Repeat("n", 256) + " 0 40755 2 0 0 0 0.0 - - -\n"},
	{"a size that is no number", rootLine + "/a x 100644 1 0 0 0 0.0 - - -\n"},
	{"a negative size", rootLine + "/a -1 100644 1 0 0 0 0.0 p - -\n"},
	{"a mode that is not octal", rootLine + "/a 0 100648 1 0 0 0 0.0 - - -\n"},
	{"a mode without a type", rootLine + "/a 0 644 1 0 0 0 0.0 - - -\n"},
	{"a mode with a type that isn't", rootLine + "/a 0 170644 1 0 0 0 0.0 - - -\n"},
	{"owners that are cut", rootLine + "/a 0 100644 1 4294967297 -1 0 0.0 - - -\n"},
	{"a time without a dot", rootLine + "/a 0 100644 1 0 0 0 0 - - -\n"},
	{"a time with a large nanosecond", rootLine + "/a 0 100644 1 0 0 0 1.1000000000 - - -\n"},
	{"a time before 1970", rootLine + "/a 0 100644 1 0 0 0 -5.5 - - -\n"},
	{"a device number of a file", rootLine + "/a 0 100644 1 0 0 7 0.0 - - -\n"},
	{"a symlink without target", rootLine + "/a 0 120777 1 0 0 0 0.0 - - -\n"},
	{"a symlink with an empty target", rootLine + "/a 0 120777 1 0 0 0 0.0  - -\n"},
	{"a symlink of another size", rootLine + "/a 9 120777 1 0 0 0 0.0 target - -\n"},
	{"a symlink with content", rootLine + "/a 6 120777 1 0 0 0 0.0 target target -\n"},
	{"a target of 4095 bytes", rootLine + "/a 4095 120777 1 0 0 0 0.0 " + strings.Repeat("t", 4095) + " - -\n"},
	{"a target of 4096 bytes", rootLine + "/a 4096 120777 1 0 0 0 0.0 " + strings.Repeat("t", 4096) + " - -\n"},
	{"content of another size", rootLine + "/a 2 100644 1 0 0 0 0.0 - abc -\n"},
	{"content of 5000 bytes", rootLine + "/a 5000 100644 1 0 0 0 0.0 - " + strings.Repeat("c", 5000) + " -\n"},
	{"content of 5001 bytes", rootLine + "/a 5001 100644 1 0 0 0 0.0 - " + strings.Repeat("c", 5001) + " -\n"},
	{"content of a directory", rootLine + "/a 1 40755 1 0 0 0 0.0 - c -\n"},
	{"missing fields", rootLine + "/a 0 100644 1 0 0 0 0.0\n"},
	{"an attribute without value", rootLine + "/a 0 100644 1 0 0 0 0.0 - - - user.a\n"},
	{"an attribute without name", rootLine + "/a 0 100644 1 0 0 0 0.0 - - - =v\n"},
	{"an attribute twice", rootLine + "/a 0 100644 1 0 0 0 0.0 - - - user.a=1 user.a=2\n"},
	{"a blank at the end", rootLine + "/a 0 100644 1 0 0 0 0.0 - - - user.a=1 \n"},
	{"two blanks", rootLine + "/a 0 100644 1 0 0 0 0.0 - - -  user.a=1\n"},
	{"attributes of 32767 bytes", rootLine + "/a 0 100644 1 0 0 0 0.0 - - - user.a=" + strings.Repeat("v", 32767-7-6-12) + "\n"},
	{"attributes of 32768 bytes", rootLine + "/a 0 100644 1 0 0 0 0.0 - - - user.a=" + strings.Repeat("v", 32768-7-6-12) + "\n"},
	{"a link to nothing", rootLine + "/a 0 @100644 1 0 0 0 0.0 /b - -\n"},
	{"a link without target", rootLine + "/a 0 @100644 1 0 0 0 0.0 - - -\n"},
	{"a link to itself", rootLine + "/a 0 @100644 1 0 0 0 0.0 /a - -\n"},
	{"links to each other", rootLine + "/a 0 @100644 1 0 0 0 0.0 /b - -\n/b 0 @100644 1 0 0 0 0.0 /a - -\n"},
	{"a link that is a directory", rootLine + "/a 0 @40755 1 0 0 0 0.0 / - -\n"},
	{"a link to a link before it", rootLine + "/a 0 @100644 1 0 0 0 0.0 /b - -\n/b 0 @100644 1 0 0 0 0.0 /c - -\n/c 0 100644 3 0 0 0 0.0 - - -\n"},
	{"a link with nothing else", rootLine + "/a 0 100644 2 0 0 0 0.0 - - -\n/b - @100644 - - - - - a\n"},
	{"a link that is the root", "/ 0 @40755 2 0 0 0 0.0 / - -\n"},
	{"a link to a directory", rootLine + "/d 0 40755 2 0 0 0 0.0 - - -\n/a 0 @100644 1 0 0 0 0.0 /d - -\n"},
	{"a short digest", rootLine + "/a 9 100644 1 0 0 0 0.0 p - abcd\n"},
	{"a group that is no number", rootLine + "/a 0 100644 1 7 x 0 0.0 - - -\n"},
	{"a digest of a directory that is none", rootLine + "/a 0 40755 1 0 0 0 0.0 - - zz\n"},
}
