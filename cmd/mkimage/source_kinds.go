package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/composefs-go/composefs/internal/doctor"
)

// checkDirectory says of a file how it is to be named.
func checkDirectory(name string) error {
	st, err := os.Stat(name)
	if err != nil || st.IsDir() {
		return nil // the reader says what is wrong
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

// archiveName are names that tar archives go by.
var archiveName = regexp.MustCompile(`\.(tar(\.[a-z0-9]+)?|tgz|tzst|txz)$`)
