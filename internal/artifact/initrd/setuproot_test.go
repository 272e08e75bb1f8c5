package initrd_test

import (
	"bytes"
	format "debug/elf"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/internal/artifact/initrd"
)

// built compiles the command in a directory.
func built(t *testing.T, dir string, args, env []string) []byte {
	t.Helper()
	name := filepath.Join(t.TempDir(), "program")
	cmd := exec.Command("go", append([]string{"build", "-o", name}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0"), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	program, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// withLinker makes of a 64-bit program one that asks for a dynamic linker: its notes become
// the name of that.
func withLinker(t *testing.T, program []byte) []byte {
	t.Helper()
	const offset, size = 64, 56 // of the program headers, in what Go links
	changed := bytes.Clone(program)
	f, err := format.NewFile(bytes.NewReader(program))
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(f.Progs, func(p *format.Prog) bool { return p.Type == format.PT_NOTE })
	if i < 0 {
		t.Fatal("the program has no notes")
	}
	f.ByteOrder.PutUint32(changed[offset+size*i:], uint32(format.PT_INTERP))
	return changed
}

// The first process of an initrd is composefs-setup-root, static and for Linux, stripped or not and
// for whatever machine.
func TestCheckSetupRoot(t *testing.T) {
	const pkg = "../../../cmd/composefs-setup-root"
	other := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module example.com/other\n", "main.go": "package main\n\nfunc main() {}\n"} {
		if err := os.WriteFile(filepath.Join(other, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	good := built(t, pkg, nil, nil)
	shell, err := os.ReadFile("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name    string
		program []byte
		says    string
		dynamic bool
	}{
		{"good", good, "", false},
		{"stripped", built(t, pkg, []string{"-ldflags=-s -w"}, nil), "", false},
		{"for arm64", built(t, pkg, nil, []string{"GOARCH=arm64"}), "", false},
		{"with a dynamic linker", withLinker(t, good), "found one that needs a dynamic linker", true},
		{"another program in Go", built(t, other, nil, nil), "found the program other", false},
		{"a shell", shell, "found something else", false},
		{"a text", []byte("#!/bin/sh\n"), "found something else", false},
		{"nothing", nil, "found something else", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := initrd.CheckSetupRoot(test.program)
			if (err == nil) != (test.says == "") || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Fatalf("want %q, found %v", test.says, err)
			}
			var program *initrd.ProgramError
			if err != nil && (!errors.As(err, &program) || program.Dynamic != test.dynamic) {
				t.Errorf("found %#v", err)
			}
		})
	}
}
