package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/internal/printable"
)

// Names on the command line may come from whoever can write to the disk that has it.
func TestNoNameForgesALineOrCommandsTheTerminal(t *testing.T) {
	const hostile = "a\nFORGED\x1b[2J\r\u202e\u200b\u009b31m\xff"
	none := filepath.Join(t.TempDir(), "none")
	for _, args := range [][]string{
		{"--" + hostile},
		{hostile},
		{"--dry-run", "--cmdline", "composefs.ref=" + hostile},
		{"--dry-run", "--cmdline", "composefs.digest=" + hostile},
		{"--dry-run", "--cmdline", "composefs.digest=\"" + hostile + "\""},
		{"--dry-run", "--cmdline", "composefs=" + strings.Repeat("0", 64) + " root=" + hostile + " init=/" + hostile, "--config", none},
		{"--dry-run", "--cmdline", "composefs=" + strings.Repeat("0", 64), "--sysroot", hostile, "--config", none},
		{"--dry-run", "--cmdline", "composefs=" + strings.Repeat("0", 64), "--config", hostile},
	} {
		var stdout, stderr bytes.Buffer
		run(args, &stdout, &stderr)
		if stdout.Len()+stderr.Len() == 0 {
			t.Errorf("%q prints nothing", args)
		}
		for line := range strings.Lines(stdout.String() + stderr.String()) {
			if line = strings.TrimSuffix(line, "\n"); strings.HasPrefix(line, "FORGED") || printable.Index(line) >= 0 {
				t.Errorf("%q prints %q", args, line)
			}
		}
	}
}
