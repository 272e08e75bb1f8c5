// Command guest is the init of a tiny test machine. It prints what it finds, one
// fact per line (GUEST key=value), and powers off.
//
// It is the only program in its root, so it is static and uses only the files that
// it examines.
package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"strings"
	"syscall"
)

func main() {
	if os.Getenv(asUser) != "" {
		readAsUser()
		return
	}
	switch os.Args[0] {
	case "/init":
		beInitramfs()
		return
	case service:
		tellSecrets("service")
		return
	}
	say("init", "reached")
	if _, err := os.Stat("/proc/self/mountinfo"); err != nil {
		// In a trivial initrd nothing has mounted it.
		_ = os.MkdirAll("/proc", 0o555)
		_ = syscall.Mount("proc", "/proc", "proc", 0, "")
	}
	tellMounts()
	tellRecord()
	tellMachine()
	tellContents()
	tellAccess()
	tellWrites()
	tellTests()
	tellDoctor()
	tellVerify()
	tellSecrets("system")
	runService()
	say("done", "yes")
	syscall.Sync()
	if os.Getpid() == 1 {
		_ = syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF)
	}
}

func say(key, value string) { fmt.Printf("GUEST %s=%s\n", key, value) }

// tellMounts prints for each mount of interest "TYPE SOURCE MOUNT-OPTIONS
// SUPERBLOCK-OPTIONS".
func tellMounts() {
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		say("mounts", err.Error())
		return
	}
	for line := range strings.Lines(string(info)) {
		before, after, ok := strings.Cut(line, " - ")
		place, super := strings.Fields(before), strings.Fields(after)
		if !ok || len(place) < 6 || len(super) < 3 {
			continue
		}
		say("mount "+place[4], strings.Join([]string{super[0], super[1], place[5], super[2]}, " "))
	}
}

// tellRecord prints what composefs-setup-root left for userspace.
func tellRecord() {
	if record, err := os.ReadFile("/run/composefs/boot.json"); err != nil {
		say("boot.json", err.Error())
	} else {
		say("boot.json", string(bytes.Join(bytes.Fields(record), []byte(" "))))
	}
	cmdline, _ := os.ReadFile("/proc/cmdline")
	say("cmdline", strings.TrimSpace(string(cmdline)))
	target, err := os.Readlink("/run/systemd/volatile-root")
	say("volatile-root", result(target, err))
}

// tellContents reads files of the image: one that is inline, others that are objects.
func tellContents() {
	for _, name := range []string{"/usr/share/inline", "/usr/share/small", "/usr/share/large"} {
		content, err := os.ReadFile(name)
		if err != nil {
			say("read "+name, err.Error())
			continue
		}
		say("read "+name, fmt.Sprintf("%x", sha256.Sum256(content)))
	}
}

// tellWrites tries to write where that must fail, and where it must succeed.
func tellWrites() {
	for _, name := range []string{"/usr/written", "/written", "/sysroot/written"} {
		err := os.WriteFile(name, []byte("x"), 0o644)
		say("write "+name, result("written", err))
	}
	for _, name := range []string{"/etc/boots", "/var/boots"} {
		before, _ := os.ReadFile(name)
		err := os.WriteFile(name, append(before, '+'), 0o644)
		say("boots "+name, result(fmt.Sprint(len(before)), err))
	}
}

func result(value string, err error) string {
	if err != nil {
		return err.Error()
	}
	return value
}
