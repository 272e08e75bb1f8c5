// Command interop compares mkimage with the real C tools and the real cfsctl: both
// get the same trees, dumps, images and command lines, and their output and exit
// statuses must be equal.
//
//	interop [-seeds N] [-root DIR] [-record FILE] [-v]
//
// A difference is an error unless known.go explains it. With -record, the other
// tools' answers for the first trees are stored in a file, for tests that run
// without these tools.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
)

// A session is one run.
type session struct {
	programs
	*report
	dir     string // for temporary files
	records records
}

var errDifferent = errors.New("there are differences that known.go doesn't explain")

func main() {
	ours := flag.String("mkimage", "build/mkimage", "our `program`")
	cTool := flag.String("c-tool", "scripts/c-tool", "`program` that prints how to run a C tool")
	cfsctl := flag.String("cfsctl", "cfsctl", "the Rust `program`")
	seeds := flag.Uint64("seeds", 12, "how many random trees")
	root := flag.String("root", "", "a root file system, a `directory`")
	vectors := flag.String("vectors", "erofs/testdata/vectors", "`directory` of dumps")
	layouts := flag.String("layouts", "cmd/mkimage/testdata/oci/layouts", "`directory` of container images")
	record := flag.String("record", "", "`file` to write what the peers say of the first random trees to")
	verbose := flag.Bool("v", false, "print all differences")
	flag.Parse()
	dir, err := os.MkdirTemp("", "interop")
	if err == nil {
		defer os.RemoveAll(dir)
		err = run(dir, func(s *session) error {
			s.verbose = *verbose
			if s.programs, err = findPrograms(*ours, *cTool, *cfsctl, dir); err != nil {
				return err
			}
			return errors.Join(s.randomTrees(*seeds), s.rootTree(*root), s.dumps(*vectors), s.commandLines(), s.containerImages(*layouts), s.records.write(*record))
		})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		os.RemoveAll(dir)
		os.Exit(1)
	}
}

func run(dir string, do func(*session) error) error {
	s := &session{report: newReport(), dir: dir, records: records{}}
	if err := do(s); err != nil {
		return err
	}
	if !s.print(os.Stdout) {
		return errDifferent
	}
	return nil
}
