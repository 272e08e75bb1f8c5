package main

import (
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/composefs-go/composefs/erofs/tree"
)

// A subject is the input that programs are compared on.
type subject struct {
	what   string            // for people
	dir    string            // a directory; or else
	dump   []byte            // a dump; for a directory, mkimage's dump of it without the marks of V1
	tree   *tree.Node        // its content, if the dump can be read
	small  bool              // small enough for more checks
	both   bool              // C and composefs-rs interpret it alike
	record map[string]string // where answers are recorded, or nil
}

// A call is a program and its arguments.
type call struct {
	program
	in   []byte
	env  []string
	args []string
}

func (p program) with(args ...string) call { return call{program: p, args: args} }

// given returns the call with a standard input.
func (c call) given(in []byte) call {
	c.in = in
	return c
}

// String is the command line.
func (c call) String() string {
	return strings.Join(append(append([]string{c.name}, c.args...), c.env...), " ")
}

// ask runs both calls at the same time and compares the results. It returns the peer's.
func (s *session) ask(row string, about *subject, ours, theirs call) (result, error) {
	c := check{row: row, what: about.what, ours: result{}, call: ours, peer: theirs, tree: about.tree}
	var both sync.WaitGroup
	var err, theirErr error
	both.Go(func() { c.ours, err = ours.run(ours.in, ours.env, ours.args...) })
	both.Go(func() { c.theirs, theirErr = theirs.run(theirs.in, theirs.env, theirs.args...) })
	both.Wait()
	if err := errors.Join(err, theirErr); err != nil {
		return result{}, err
	}
	if s.add(c) && about.record != nil && isDigest(c.theirs.out) && slices.Contains(ours.args, about.dir) {
		about.record[strings.ReplaceAll(ours.String(), about.dir, "TREE")] = strings.TrimSpace(string(c.theirs.out))
	}
	return c.theirs, nil
}

// isDigest reports whether a program printed a digest and nothing else.
func isDigest(out []byte) bool {
	return (len(out) == 65 || len(out) == 129) && strings.Trim(string(out), "0123456789abcdef") == "\n"
}

// all calls functions until the first error.
func all(asks ...func() error) error {
	for _, ask := range asks {
		if err := ask(); err != nil {
			return err
		}
	}
	return nil
}
