package disktool_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/internal/disktool"
)

// tool makes a program that only this test has, and a directory for it to run in.
func tool(t *testing.T, script string) (program string, dir disktool.Dir) {
	t.Helper()
	bin := t.TempDir()
	program = "disktool-test"
	if err := os.WriteFile(filepath.Join(bin, program), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	return program, disktool.Dir{Path: t.TempDir(), Env: []string{"OWN=yes"}}
}

func TestAProgramRunsInItsDirectoryWithoutTheMachinesSettings(t *testing.T) {
	t.Setenv("LANG", "de_DE")
	t.Setenv("MTOOLSRC", "/etc/other")
	program, dir := tool(t, `pwd; echo "$LANG $LC_ALL $TZ $MTOOLSRC $OWN $1"; cat; echo remark >&2`)
	out, said, err := dir.Run(t.Context(), 1000, strings.NewReader("input\n"), program, "argument")
	if want := dir.Path + "\n C UTC /dev/null yes argument\ninput\n"; err != nil || string(out) != want || said != "remark\n" {
		t.Errorf("%v, %q: %s", err, said, out)
	}
}

func TestAMissingProgramIsNamed(t *testing.T) {
	_, _, err := disktool.Dir{Path: t.TempDir()}.Run(t.Context(), 0, nil, "no-such-tool")
	var missing *disktool.MissingError
	if !errors.As(err, &missing) || missing.Program != "no-such-tool" {
		t.Errorf("%v", err)
	}
}

func TestAnErrorSaysWhatTheProgramSaidLast(t *testing.T) {
	for script, want := range map[string]string{
		`echo one >&2; echo "disktool-test: two" >&2; echo >&2; exit 1`: "disktool-test: two",
		`echo two words >&2; exit 3`:                                    "disktool-test: two words",
		`echo "debugfs 1.47.0 (5-Feb-2023)" >&2; exit 1`:                "disktool-test failed (exit status 1) and didn't say why",
		`exit 1`: "disktool-test failed (exit status 1) and didn't say why",
		`yes`:    "disktool-test: it prints more than was to be expected",
		`i=0; while [ $i -lt 100000 ]; do echo much much much >&2; i=$((i+1)); done; exit 1`: "disktool-test: m",
	} {
		program, dir := tool(t, script)
		_, _, err := dir.Run(t.Context(), 1000, nil, program)
		var failed *disktool.Error
		if !errors.As(err, &failed) || failed.Program != program || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", script, err)
		}
	}
}

func TestALongLineIsCutAtACharacter(t *testing.T) {
	if got := disktool.FirstLine("debugfs 1.47.0\n" + strings.Repeat("ö", 1000)); got != strings.Repeat("ö", 150) {
		t.Errorf("%q", got)
	}
	if got := disktool.FirstLine("debugfs 1.47.0 (5-Feb-2023)\n\none\ntwo\n"); got != "one" {
		t.Errorf("%q", got)
	}
}

func TestTheCauseOfTheContextsEndIsTheError(t *testing.T) {
	program, dir := tool(t, `exec sleep 1000`)
	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if _, _, err := dir.Run(ctx, 1000, nil, program); !errors.Is(err, why) {
		t.Errorf("%v", err)
	}
}
