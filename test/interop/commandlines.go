package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
)

// commandLines compares how the programs react to command lines, valid and invalid. In
// these, DIR is a directory, DUMP a dump, IMAGE an image, NONE a missing file, EMPTY an
// empty file and OUT a file to be written.
func (s *session) commandLines() error {
	dir := filepath.Join(s.dir, "lines")
	if err := s.furnish(dir); err != nil {
		return err
	}
	for _, p := range []struct {
		ours, theirs program
		lines        string
	}{
		{s.mkcomposefs, s.cMkcomposefs, mkcomposefsLines},
		{s.info, s.cInfo, infoLines},
		{s.mount, s.cMount, mountLines},
	} {
		for text := range strings.Lines(p.lines) {
			if err := s.commandLine(dir, strings.TrimSuffix(text, "\n"), p.ours, p.theirs); err != nil {
				return err
			}
		}
	}
	return nil
}

// furnish makes the files that the command lines name.
func (s *session) furnish(dir string) error {
	tree := filepath.Join(dir, "DIR")
	if err := os.MkdirAll(tree, 0o755); err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		"DIR/small": []byte("small"), "DIR/large": bytes.Repeat([]byte("large"), 1000), "DIR/-f": nil,
		"DUMP": []byte(rootLine), "EMPTY": nil,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return err
		}
	}
	_, err := s.must(s.mkcomposefs.with(tree, filepath.Join(dir, "IMAGE")))
	return err
}

// commandLine compares status, standard output, and the file that may be written.
func (s *session) commandLine(dir, text string, ours, theirs program) error {
	args := func(out string) []string {
		var all []string
		for _, word := range strings.Fields(text) {
			before, name, ok := word, "", false
			for _, known := range []string{"DIR", "DUMP", "IMAGE", "NONE", "EMPTY", "OUT"} {
				if before, ok = strings.CutSuffix(word, known); ok {
					name = known
					break
				}
			}
			switch {
			case name == "OUT":
				word = before + filepath.Join(dir, out)
			case name != "":
				word = before + filepath.Join(dir, name)
			}
			all = append(all, strings.ReplaceAll(word, "''", ""))
		}
		return all
	}
	about := &subject{what: ours.name + " " + text}
	row := "command lines of " + ours.name + ", C"
	if _, err := s.ask(row, about, ours.with(args("out.ours")...), theirs.with(args("out.theirs")...)); err != nil {
		return err
	}
	if !strings.Contains(text, "OUT") {
		return nil
	}
	show := program{"show", []string{"sh", "-c", `if test -d "$0"; then find "$0" -type f -printf '%P %m\n' | sort; else cat "$0" && stat -c %a "$0"; fi`}, dir}
	ourOut, theirOut := filepath.Join(dir, "out.ours"), filepath.Join(dir, "out.theirs")
	defer os.RemoveAll(ourOut)
	defer os.RemoveAll(theirOut)
	about.what += ", and what is in OUT"
	_, err := s.ask(row, about, show.with(ourOut), show.with(theirOut))
	return err
}

// The first of each is a line without arguments.
const mkcomposefsLines = `
DIR OUT
DIR OUT --print-digest
--print-digest DIR OUT
--print-digest-only DIR
--print-digest-only DIR OUT
--print-digest --print-digest-only DIR
DIR -
DIR - --print-digest
DIR
NONE OUT
DUMP OUT
IMAGE OUT
EMPTY OUT
'' OUT
DIR ''
DIR OUT DIR
DIR NONE/x
DIR DIR
--help
-h
--version
--nosuch DIR OUT
-x DIR OUT
--
-- DIR OUT
--from-file DUMP OUT
--from-file DUMP -
--from-file EMPTY OUT
--from-file NONE OUT
--from-file DIR OUT
--from-file IMAGE OUT
--from-file - OUT
--from-file
--from-file DUMP
--from-file --print-digest-only DUMP
--from-file --print-digest-only DUMP OUT
--from-file --digest-store=OUT --print-digest-only DUMP
--from-file --skip-xattrs --user-xattrs DUMP OUT
--from-file=x DUMP OUT
--fr DUMP OUT
--print DIR OUT
--print-digest-o DIR
--digest-store DIR OUT
--digest-store=OUT --print-digest-only DIR
--digest-store=DUMP --print-digest-only DIR
--digest-store= --print-digest-only DIR
--skip-xattrs --user-xattrs DIR OUT
--skip-xattrs DIR OUT
--user-xattrs DIR OUT
--use-epoch --skip-devices DIR OUT
--use-epoch=1 DIR OUT
--min-version=0 DIR OUT
--min-version=1 DIR OUT
--min-version=2 DIR OUT
--min-version=-1 DIR OUT
--min-version=x DIR OUT
--min-version= DIR OUT
--min-version 1 DIR OUT
--min-version
--min-version=1x DIR OUT
--min-version=0x1 DIR OUT
--min-version=+1 DIR OUT
--min-version=01 DIR OUT
--min-version=99999999999999999999 DIR OUT
--max-version=0 DIR OUT
--max-version=1 DIR OUT
--max-version=2 DIR OUT
--max-version=-1 DIR OUT
--max-version=x DIR OUT
--min-version=1 --max-version=0 DIR OUT
--min-version=0 --max-version=1 DIR OUT
--min-version=2 --print-digest-only DIR
--threads=1 DIR OUT
--threads=4 DIR OUT
--threads=0 DIR OUT
--threads=-1 DIR OUT
--threads=x DIR OUT
--threads= DIR OUT
--threads=1000 DIR OUT
`

const infoLines = `
ls
ls IMAGE
ls IMAGE IMAGE
ls NONE
ls EMPTY
ls DUMP
ls DIR
ls IMAGE NONE
ls NONE IMAGE
dump IMAGE
dump IMAGE IMAGE
dump
dump DUMP
objects IMAGE
objects
objects IMAGE NONE
missing-objects IMAGE
missing-objects
--basedir=DIR missing-objects IMAGE
--basedir=NONE missing-objects IMAGE
--basedir=DUMP missing-objects IMAGE
--basedir= missing-objects IMAGE
missing-objects --basedir=DIR IMAGE
missing-objects --basedir DIR IMAGE
--basedir=NONE ls IMAGE
measure-file IMAGE
measure-file IMAGE DUMP
measure-file EMPTY
measure-file
measure-file NONE
measure-file DIR
measure-file IMAGE NONE DUMP
nosuch IMAGE
nosuch
LS IMAGE
--filter=small ls IMAGE
--filter=small dump IMAGE
--filter=small --filter=large dump IMAGE
--filter=nosuch dump IMAGE
--filter= dump IMAGE
--filter=a/b ls IMAGE
--filter=/small ls IMAGE
--filter ls IMAGE
--filter small objects IMAGE
--filter=large objects IMAGE
--filter=large --basedir=DIR missing-objects IMAGE
--help
-h
--nosuch ls IMAGE
-x ls IMAGE
-- ls IMAGE
`

// None of these mounts anything.
const mountLines = `
IMAGE
IMAGE DIR
IMAGE DIR DIR
IMAGE DIR -o
IMAGE DIR -o nosuch
IMAGE DIR -o nosuch=1,basedir=DIR
IMAGE DIR -o basedir
IMAGE DIR -o basedir=
IMAGE DIR -o basedir=:
NONE DIR -o basedir=/tmp
DUMP DIR -o basedir=/tmp
EMPTY DIR -o basedir=/tmp
IMAGE NONE -o basedir=/tmp
IMAGE DIR -o basedir=NONE
IMAGE DIR -o basedir=/tmp,digest=xyz
IMAGE DIR -o basedir=/tmp,digest=00
IMAGE DIR -o basedir=/tmp,upperdir=/tmp
IMAGE DIR -o basedir=/tmp,workdir=/tmp
IMAGE DIR -o basedir=/tmp,idmap=/nosuch
IMAGE DIR -t nosuch -o basedir=/tmp,verity=1
-h
--help
--nosuch IMAGE DIR
`
