package main

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
)

// doctorArgument on the kernel command line asks for the findings of mkimage doctor
// about the running system; mkimage is among the tests.
const doctorArgument = "guest.doctor"

// verifyArgument=IMAGE asks for the output of mkimage verify for an image in the
// repository that the machine has booted from.
const verifyArgument = "guest.verify="

func tellVerify() {
	cmdline, _ := os.ReadFile("/proc/cmdline")
	for _, word := range strings.Fields(string(cmdline)) {
		image, asked := strings.CutPrefix(word, verifyArgument)
		if !asked {
			continue
		}
		c := exec.Command(testsDir+"/mkimage", "verify", "--in-place", "--objects", "--repo", "/sysroot/composefs", image)
		out, err := c.CombinedOutput()
		say("verify status", result("0", err))
		say("verify", string(bytes.Join(bytes.Fields(out), []byte(" "))))
	}
}

// tellDoctor prints the report of mkimage doctor as JSON on one line.
func tellDoctor() {
	cmdline, _ := os.ReadFile("/proc/cmdline")
	if !strings.Contains(string(cmdline), doctorArgument) {
		return
	}
	out, err := exec.Command(testsDir+"/mkimage", "doctor", "--json").Output()
	say("doctor status", result("0", err))
	say("doctor", string(bytes.Join(bytes.Fields(out), []byte(" "))))
}
