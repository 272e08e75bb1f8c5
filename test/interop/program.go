package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A program is one of ours or a peer.
type program struct {
	name    string   // for people
	command []string // the program and its first arguments
	dir     string   // working directory, for files that it writes there on its own
}

// A result is what a program did. What it wrote to standard error doesn't count.
type result struct {
	out    []byte
	status int
	stderr []byte
}

func (r result) equal(other result) bool {
	return r.status == other.status && bytes.Equal(r.out, other.out)
}

// run runs a program and returns the result, whatever it is; it is an error only if the
// program can't be run.
func (p program) run(in []byte, env []string, args ...string) (result, error) {
	cmd := exec.Command(p.command[0], append(p.command[1:len(p.command):len(p.command)], args...)...)
	cmd.Dir, cmd.Stdin = p.dir, bytes.NewReader(in)
	cmd.Env = append(os.Environ(), env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return result{stdout.Bytes(), exit.ExitCode(), stderr.Bytes()}, nil
	}
	if err != nil {
		return result{}, fmt.Errorf("run %s: %w", p.name, err)
	}
	return result{out: stdout.Bytes(), stderr: stderr.Bytes()}, nil
}

// programs has all programs that are compared.
type programs struct {
	mkimage, mkcomposefs, info, mount program // ours
	cMkcomposefs, cInfo, cMount       program // of libcomposefs 1.0.8
	cfsctl, rsMkcomposefs, rsInfo     program // of composefs-rs 0.9.4
}

// findPrograms links our programs by their names in a directory, and gets the C tools
// from c-tool.
func findPrograms(ours, cTool, cfsctl, dir string) (ps programs, err error) {
	for _, path := range []*string{&ours, &cfsctl, &dir} {
		if *path, err = filepath.Abs(*path); err != nil {
			return ps, err
		}
	}
	ps.mkimage = program{"mkimage", []string{ours}, dir}
	ps.cfsctl = program{"cfsctl", []string{cfsctl}, dir}
	ps.rsMkcomposefs = program{"cfsctl mkcomposefs", []string{cfsctl, "mkcomposefs"}, dir}
	ps.rsInfo = program{"cfsctl composefs-info", []string{cfsctl, "composefs-info"}, dir}
	for _, p := range []struct {
		name   string
		our, c *program
	}{
		{"mkcomposefs", &ps.mkcomposefs, &ps.cMkcomposefs},
		{"composefs-info", &ps.info, &ps.cInfo},
		{"mount.composefs", &ps.mount, &ps.cMount},
	} {
		link := filepath.Join(dir, p.name)
		if err := os.Symlink(ours, link); err != nil {
			return ps, err
		}
		*p.our = program{p.name, []string{link}, dir}
		out, err := exec.Command(cTool, p.name).Output()
		if err != nil {
			return ps, fmt.Errorf("%s %s: %w", cTool, p.name, err)
		}
		*p.c = program{"C " + p.name, strings.Fields(string(out)), dir}
	}
	return ps, nil
}
