package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"syscall"
)

// secureBoot is the kernel's message about the state of Secure Boot, at a level that
// the console doesn't show.
var secureBoot = regexp.MustCompile(`secureboot: (Secure boot .*)`)

// tellMachine prints what was started, what the firmware enforces, and what was measured
// into the TPM.
func tellMachine() {
	if exe, err := os.Readlink("/proc/self/exe"); err == nil {
		say("exe", exe)
	}
	if pattern, err := os.ReadFile("/proc/sys/kernel/core_pattern"); err == nil {
		say("core pattern", strings.TrimSpace(string(pattern)))
	}
	const readAll, size = 3, 1 << 20
	log := make([]byte, size)
	n, err := syscall.Klogctl(readAll, log)
	if err != nil {
		say("secure boot", err.Error())
	} else if m := secureBoot.FindSubmatch(log[:n]); m != nil {
		say("secure boot", string(m[1]))
	}
	for i := range 24 {
		value, err := os.ReadFile(fmt.Sprintf("/sys/class/tpm/tpm0/pcr-sha256/%d", i))
		if err == nil {
			say(fmt.Sprintf("pcr %d", i), strings.ToLower(strings.TrimSpace(string(value))))
		}
	}
}
