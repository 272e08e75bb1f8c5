package main

import (
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/composefs-go/composefs/erofs/tree"
)

// A subject is what programs are asked about.
type subject struct {
	what   string            // for people
	dir    string            // a directory; or else
	dump   []byte            // a dump; of a directory: what we say of it, without marks of V1
	tree   *tree.Node        // what it holds, as far as the dump can be read
	small  bool              // so that more can be asked
	both   bool              // C and composefs-rs mean the same by it
	record map[string]string // where answers are noted, if they are
}

// A call is a program, and how it is called.
type call struct {
	program
	in   []byte
	env  []string
	args []string
}

func (p program) with(args ...string) call { return call{program: p, args: args} }

// given is a call with something at standard input.
func (c call) given(in []byte) call {
	c.in = in
	return c
}

// String is the command line.
func (c call) String() string {
	return strings.Join(append(append([]string{c.name}, c.args...), c.env...), " ")
}

// ask asks both, at the same time, and judges the answers. It returns theirs.
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

// all asks until the first error.
func all(asks ...func() error) error {
	for _, ask := range asks {
		if err := ask(); err != nil {
			return err
		}
	}
	return nil
}
