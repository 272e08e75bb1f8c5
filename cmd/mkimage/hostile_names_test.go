package main

import (
	"archive/tar"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/internal/printable"
)

// hostileName would forge a line, title and clear a terminal, go back to the start of a
// line, turn text round and hide some, and isn't UTF-8.
const hostileName = "a\nFORGED: all is well\x1b]0;owned\a\x1b[2J\r\u202e\u2066\u2028\u200b\u009b31m\xff"

// checkPrinted finds what a program shouldn't have printed.
func checkPrinted(t *testing.T, args []string, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "FORGED") || printable.Index(strings.ReplaceAll(line, "\t", " ")) >= 0 {
			t.Errorf("%q prints %q", args, line)
		}
	}
}

func TestNoNameFromOutsideForgesALineOrCommandsTheTerminal(t *testing.T) {
	small(t)
	hostile := func(dir string) string { return filepath.Join(dir, hostileName) }
	for _, err := range []error{
		os.MkdirAll(hostile("root"), 0o755),
		os.MkdirAll(hostile("other/usr"), 0o755),
		os.WriteFile(hostile("."), []byte("no image"), 0o644),
		os.Symlink(hostileName, hostile("root/usr")),
		os.WriteFile(hostile(hostile("root")), make([]byte, 1000), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	writeIn(t, ".", "fifo.tar", archiveOf(t, tar.Header{Typeflag: tar.TypeFifo, Name: "x/" + strings.TrimSuffix(hostileName, "\xff"), Mode: 0o644}))
	writeIn(t, ".", "link.tar", archiveOf(t, linkHeader(tar.TypeLink, "x", strings.TrimSuffix(hostileName, "\xff"))))
	writeIn(t, ".", "below.tar", archiveOf(t, linkHeader(tar.TypeSymlink, "x", strings.TrimSuffix(hostileName, "\xff")), fileHeader("x/y", 1)))
	writeIn(t, ".", "cut.tar", archiveOf(t, fileHeader(strings.TrimSuffix(hostileName, "\xff"), 5000))[:1536])
	writeIn(t, ".", "open.tar", archiveOf(t, fileHeader(strings.TrimSuffix(hostileName, "\xff"), 500))[:2560])
	for _, args := range [][]string{
		{"build", "--repo", "repo", "root"},
		{"build", "--repo", "repo", "--boot", "root"},
		{"build", "--output", "hostile", "root"},
		{"build", "--output", hostileName + "/x", "root"},
		{"build", "--repo", "repo", hostileName},
		{"build", "--repo", hostileName, "root"},
		{"build", "--repo", "repo", "tar:fifo.tar"},
		{"build", "--repo", "repo", "tar:link.tar"},
		{"build", "--repo", "repo", "tar:below.tar"},
		{"build", "--repo", "repo", "tar:cut.tar"},
		{"build", "--repo", "repo", "tar:open.tar"},
		{"build", "--repo", "repo", "tar:" + hostileName},
		{"build", "--repo", "repo", hostileName + ":x"},
		{"ls", "hostile"},
		{"ls", hostileName},
		{"dump", "hostile"},
		{"dump", hostileName},
		{"diff", "hostile", "image"},
		{"diff", "root", "other"},
		{"diff", "hostile", "other"},
		{"diff", hostileName, "image"},
		{"objects", "hostile"},
		{"measure", hostileName},
		{"missing", "--repo", hostileName, "hostile"},
		{"verify", "--repo", "repo", hostileName},
		{"verify", "--repo", hostileName, "x"},
		{"seal", "--repo", hostileName, "x", "--key", hostileName, "--sequence", "1"},
		{"key", "list", hostileName},
		{"key", "new", hostileName + "/x"},
		{"repo", "init", hostileName},
		{"doctor", hostileName},
		{"doctor", "--image", hostileName},
		{"doctor", "hostile"},
		{"uki", "inspect", hostileName},
		{"uki", "verify", hostileName},
		{"uki", "build", "--linux", hostileName, "--initrd", hostileName, "--output", "x"},
		{"initrd", "--setup-root", hostileName, "--output", "x"},
		{"initrd", "--modules", hostileName, "--output", "x"},
		{"disk", "--repo", "repo", "--image", hostileName, "--output", "x"},
		{"disk", "--repo", hostileName, "--esp", hostileName, "--output", "x"},
		{"mount", hostileName, "/nowhere"},
		{"umount", hostileName},
		{hostileName},
		{"ls", "--" + hostileName},
	} {
		_, out, errs := mkimageIn(t, args...)
		if out+errs == "" {
			t.Errorf("%q prints nothing", args)
		}
		checkPrinted(t, args, out)
		checkPrinted(t, args, errs)
	}
	for _, args := range [][]string{
		{"mkcomposefs", hostileName, "x"}, {"mkcomposefs", "--" + hostileName, "x"}, {"composefs-info", "ls", hostileName},
		{"composefs-info", hostileName, "x"}, {"composefs-info", "ls", "hostile"}, {"mount.composefs", hostileName, "/nowhere", "-o", hostileName},
	} {
		cmd := program(t, args[1:]...)
		cmd.Args[0] = args[0]
		out, _ := cmd.CombinedOutput()
		if len(out) == 0 {
			t.Errorf("%q prints nothing", args)
		}
		checkPrinted(t, args, string(out))
	}
}
