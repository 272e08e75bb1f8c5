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

// verifyArgument=IMAGE asks for what mkimage verify says of an image in the repository
// that the machine has booted from.
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
