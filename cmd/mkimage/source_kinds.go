package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/dumpfile"
	"github.com/composefs-go/composefs/internal/filekind"
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
		return fmt.Errorf("%s is %s: want a directory, or one of tar:FILE, dump:FILE and crfs:FILE", name, filekind.OfMode(st.Mode()))
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	kind := filekind.OfFile(f)
	if prefix := prefixFor(name, kind); prefix != "" {
		return fmt.Errorf("%s is a file: want a directory, or %s%s", name, prefix, name)
	}
	if kind == filekind.Image {
		return fmt.Errorf("%s is an image already: want a directory to make one of", name)
	}
	return fmt.Errorf("%s is a file: want a directory, or one of tar:FILE, dump:FILE and crfs:FILE", name)
}

// prefixFor returns the prefix that a file wants, "" if that can't be told.
func prefixFor(name string, kind filekind.Kind) string {
	switch {
	case kind == filekind.Tar, archiveName.MatchString(name):
		return "tar:"
	case kind == filekind.Dump, strings.HasSuffix(name, ".dump"):
		return "dump:"
	case strings.HasSuffix(name, ".json"):
		return "crfs:"
	}
	return ""
}

// otherSource tells what a file is that couldn't be parsed, "" if it may well be what was
// wanted, with a fault.
func otherSource(f *os.File, err error, want string) filekind.Kind {
	if !errors.Is(err, tarball.ErrArchive) && !errors.Is(err, dumpfile.ErrSyntax) && !errors.Is(err, crfs.ErrSyntax) {
		return ""
	}
	kind := filekind.OfFile(f)
	archive := want == "a tar archive"
	switch kind {
	case filekind.Empty:
		return ""
	case filekind.Unknown, filekind.Zeros, filekind.Packed:
		if archive {
			return ""
		}
		return "no text"
	case filekind.Text:
		if strings.HasPrefix(want, "JSON") {
			return "no JSON object"
		}
		if !archive {
			return ""
		}
	}
	if strings.HasPrefix(want, string(kind)) {
		return ""
	}
	return kind
}

// notAnImage says of what couldn't be read as an image what it is instead.
func notAnImage(f *os.File, err error) error {
	if !errors.Is(err, erofs.ErrCorrupt) {
		return err
	}
	switch kind := filekind.OfFile(f); kind {
	case filekind.Unknown, filekind.Zeros, filekind.Image:
		return err
	default:
		return &filekind.Error{Path: f.Name(), Found: kind, Want: "an image"}
	}
}

// archiveName are names that tar archives go by.
var archiveName = regexp.MustCompile(`\.(tar(\.[a-z0-9]+)?|tgz|tzst|txz)$`)
