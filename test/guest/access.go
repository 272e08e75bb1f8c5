package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	// accessArgument on the kernel command line asks which users can read the files in
	// accessDir.
	accessArgument = "guest.access"
	accessDir      = "/usr/share/access"

	// asUser marks the processes that try to read the files.
	asUser = "GUEST_AS_USER"
)

// users are treated differently by the access control lists of these files.
var users = []struct {
	name     string
	uid, gid uint32
}{
	{"owner", 1000, 2000}, {"team", 1004, 1100}, {"named", 1001, 2000},
	{"group", 1005, 1200}, {"none", 1003, 1100}, {"other", 1006, 2000},
}

// tellAccess prints for each user which files they can read.
func tellAccess() {
	cmdline, _ := os.ReadFile("/proc/cmdline")
	if !strings.Contains(string(cmdline), accessArgument) {
		return
	}
	for _, u := range users {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = []string{asUser + "=yes"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: u.uid, Gid: u.gid}}
		out, err := cmd.Output()
		say("access "+u.name, result(strings.TrimSpace(string(out)), err))
	}
}

// readAsUser prints the names of the files that can be read.
func readAsUser() {
	names, _ := filepath.Glob(accessDir + "/*")
	for _, name := range append(names, accessDir+"/closed/file") {
		if content, err := os.ReadFile(name); err == nil && len(content) > 0 {
			fmt.Print(strings.TrimPrefix(name, accessDir+"/"), " ")
		}
	}
}
