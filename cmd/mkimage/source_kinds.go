package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/dumpfile"
	"github.com/composefs-go/composefs/internal/check/doctor"
	"github.com/composefs-go/composefs/internal/source/crfs"
	"github.com/composefs-go/composefs/internal/source/tarball"
)

// checkDirectory says of a file how it is to be named.
func checkDirectory(name string) error {
	st, err := os.Stat(name)
	if err != nil || st.IsDir() {
		return nil // the reader says what is wrong
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("%s is %s: want a directory, or one of tar:FILE, dump:FILE and crfs:FILE", name, kindOf(st.Mode()))
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	head := make([]byte, 2048)
	n, _ := io.ReadFull(f, head)
	if kind := fileKind(name, head[:n]); kind != "" {
		return fmt.Errorf("%s is a file: want a directory, or %s%s", name, kind, name)
	}
	if doctor.Detect(head[:n]) == "image" {
		return fmt.Errorf("%s is an image already: want a directory to make one of", name)
	}
	return fmt.Errorf("%s is a file: want a directory, or one of tar:FILE, dump:FILE and crfs:FILE", name)
}

// fileKind returns the prefix that a file wants, "" if that can't be told.
func fileKind(name string, head []byte) string {
	switch {
	case len(head) > 262 && string(head[257:262]) == "ustar",
		archiveName.MatchString(name):
		return "tar:"
	case bytes.HasPrefix(head, []byte("/ ")), strings.HasSuffix(name, ".dump"):
		return "dump:"
	case strings.HasSuffix(name, ".json"):
		return "crfs:"
	}
	return ""
}

// otherSource tells what a file is that couldn't be parsed, "" if it may well be what was
// wanted, with a fault.
func otherSource(f *os.File, err error, want string) string {
	malformed := errors.Is(err, tarball.ErrArchive) || errors.Is(err, dumpfile.ErrSyntax) || errors.Is(err, crfs.ErrSyntax)
	head := make([]byte, 2048)
	n, _ := f.ReadAt(head, 0)
	head = head[:n]
	if !malformed || n == 0 {
		return ""
	}
	kind := contentKind(head)
	if kind == "" {
		kind = "no text"
	}
	archive := want == "a tar archive"
	if strings.HasPrefix(want, "JSON") && kind == "a text" && !bytes.HasPrefix(bytes.TrimSpace(head), []byte("{")) {
		return "no JSON object"
	}
	if strings.HasPrefix(want, kind) || archive && (kind == "packed" || kind == "no text") || !archive && kind == "a text" {
		return ""
	}
	return kind
}

// contentKind tells what a file is by its first bytes, "" if they don't tell.
func contentKind(head []byte) string {
	has := func(magic string) bool { return bytes.HasPrefix(head, []byte(magic)) }
	switch text := textKind(head); {
	case len(head) == 0:
		return "empty"
	case len(head) > 262 && string(head[257:262]) == "ustar":
		return "a tar archive"
	case has("/ "):
		return "a dump"
	case has("{"):
		return "JSON"
	case text != "":
		return text
	case doctor.Detect(head) == "image":
		return "an image"
	case doctor.Detect(head) == "uki":
		return "an EFI program"
	case doctor.Detect(head) == "disk":
		return "a disk"
	case has("\x1f\x8b"), has("\x28\xb5\x2f\xfd"):
		return "packed"
	}
	return ""
}

// notAnImage says of what couldn't be read as an image what it is instead.
func notAnImage(f *os.File, err error) error {
	head := make([]byte, 2048)
	n, _ := f.ReadAt(head, 0)
	if kind := contentKind(head[:n]); errors.Is(err, erofs.ErrCorrupt) && kind != "" && kind != "an image" {
		return fmt.Errorf("%s is %s: want an image", f.Name(), kind)
	}
	return err
}

// archiveName are names that tar archives go by.
var archiveName = regexp.MustCompile(`\.(tar(\.[a-z0-9]+)?|tgz|tzst|txz)$`)
