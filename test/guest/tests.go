package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// testsArgument on the kernel command line asks for the tests in testsDir.
const (
	testsArgument = "guest.tests"
	testsDir      = "/usr/lib/tests"
)

// verdict is what go test -v prints at the end of a test.
var verdict = regexp.MustCompile(`(?m)^--- (PASS|FAIL|SKIP): (\S+)`)

// tellTests runs the test programs of the image, with /var for their output.
func tellTests() {
	cmdline, _ := os.ReadFile("/proc/cmdline")
	if !strings.Contains(string(cmdline), testsArgument) {
		return
	}
	programs, _ := filepath.Glob(testsDir + "/*.test")
	if err := os.MkdirAll("/var/tmp", 0o1777); err != nil {
		say("tests", err.Error())
	}
	for _, program := range programs {
		name := strings.TrimSuffix(filepath.Base(program), ".test")
		cmd := exec.Command(program, "-test.v", "-test.run", "Enable|OnFSVerity|Commit|CutShort")
		cmd.Dir, cmd.Env = "/var/tmp", []string{"TMPDIR=/var/tmp"}
		out, err := cmd.CombinedOutput()
		if err != nil {
			say("test "+name, err.Error())
		}
		for _, m := range verdict.FindAllStringSubmatch(string(out), -1) {
			say("test "+name+" "+m[2], m[1])
		}
		os.Stdout.Write(out)
	}
}
