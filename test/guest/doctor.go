package main

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
)

// doctorArgument on the kernel command line asks for what mkimage, which lies among
// the tests, finds about the running system.
const doctorArgument = "guest.doctor"

// tellDoctor tells the report of mkimage doctor, JSON on one line.
func tellDoctor() {
	cmdline, _ := os.ReadFile("/proc/cmdline")
	if !strings.Contains(string(cmdline), doctorArgument) {
		return
	}
	out, err := exec.Command(testsDir+"/mkimage", "doctor", "--json").Output()
	say("doctor status", result("0", err))
	say("doctor", string(bytes.Join(bytes.Fields(out), []byte(" "))))
}
