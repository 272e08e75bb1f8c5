package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"syscall"
)

// secureBoot is what the kernel says of the firmware's state, at a level that the
// console doesn't show.
var secureBoot = regexp.MustCompile(`secureboot: (Secure boot .*)`)

// tellMachine tells what the firmware enforces, and what the TPM has been told.
func tellMachine() {
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
