package setup

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/internal/boot/kmsg"
)

// rootPath has what was mounted at --sysroot at the end of a good boot.
const rootPath = "/run/composefs/root"

// VerifiedRoot returns nil if what is at o.Sysroot is what a run of ours has put
// there, or if the policy and the command line want no verification at all. It is
// asked at the last moment before the root is switched: whatever was skipped, masked,
// mounted or left in a shell before that, nothing else is booted.
func VerifiedRoot(o Options) error {
	if o.unverified() {
		return nil
	}
	root := path.Clean(o.Sysroot)
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	put, err := os.ReadFile(rootPath)
	if err != nil {
		return refuse(CodeMount, notVerified(o.Sysroot))
	}
	return refuse(CodeMount, sameMounts(string(put), mountsAt(string(info), root), root, o.Config))
}

// sameMounts compares what was put at the root with what is there now.
func sameMounts(put, now, root string, policy bootcfg.Config) error {
	before := strings.Split(put, "\n")
	if !slices.ContainsFunc(before, func(line string) bool { f := strings.Fields(line); return len(f) > 2 && f[2] == root }) {
		return notVerified(root)
	}
	for line := range strings.Lines(now) {
		line = strings.TrimSuffix(line, "\n")
		if i := slices.Index(before, line); i >= 0 {
			before[i] = ""
		} else if f := strings.Fields(line); covers(strings.TrimPrefix(strings.TrimPrefix(f[2], root), "/"), f[3], policy) {
			return fmt.Errorf("something else than the verified image was mounted at %s: the root isn't switched: remove what mounts it (mount.usr=, rd.overlay, rd.systemd.mount-extra=, a line in /etc/fstab)", f[2])
		}
	}
	if gone := strings.Join(before, ""); gone != "" {
		return fmt.Errorf("the verified image is no longer mounted at %s (%.80s): the root isn't switched: boot without what unmounts it, a hook or a unit", root, gone)
	}
	return nil
}

func notVerified(root string) error {
	return fmt.Errorf("nothing at %s was verified in this boot: the root isn't switched: boot without what keeps composefs-setup-root from running (rd.systemd.mask=, rd.systemd.unit=)", root)
}

// mountsAt returns what of mountinfo(5) is mounted at dir and below it: number, root,
// place, type and source, which stay the same until it is unmounted.
func mountsAt(info, dir string) string {
	var b strings.Builder
	for line := range strings.Lines(info) {
		mount, super, _ := strings.Cut(line, " - ")
		f, s := strings.Fields(mount), strings.Fields(super)
		if len(f) < 5 || len(s) < 2 {
			continue
		}
		if rest, ok := strings.CutPrefix(f[4], dir); ok && (rest == "" || rest[0] == '/') {
			fmt.Fprintln(&b, f[0], f[3], f[4], s[0], s[1])
		}
	}
	return b.String()
}

// markVerified remembers what is at the root now.
func markVerified(root string) error {
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	return writeFile(rootPath, mountsAt(string(info), path.Clean(root)))
}

// Shell returns nil if somebody may have a shell in the initramfs. The TPM's register
// is spoiled before that. Where the policy doesn't allow one, or can't be read, which is
// unread, the machine stops here: whoever wanted a shell would go on without an answer.
func Shell(o Options, unread error, log *kmsg.Log) error {
	if err := spoil(newLinux(nil, log), o.Config.Measure, CodeMount); err != nil {
		log.Printf(kmsg.Err, "%v", err)
	}
	if unread == nil && o.Config.AllowsShell(len(o.Keys)) {
		return nil
	}
	if unread != nil {
		log.Printf(kmsg.Err, "%v", unread)
	}
	log.Printf(kmsg.Err, "no shell here, the boot ends: the lines above say why; for a shell want shell = \"allow\" under [failure] in the initramfs's policy")
	if !isInitramfs() {
		return errors.New("this is no initramfs: the machine isn't stopped")
	}
	return errors.Join(errors.New("no shell is allowed"), stop(endWithoutShell(o)))
}

// isInitramfs keeps a machine from being stopped that somebody only tries this on.
func isInitramfs() bool {
	_, err := os.Stat("/etc/initrd-release")
	_, dracut := os.Stat("/usr/lib/initrd-release")
	return err == nil || dracut == nil
}

// endWithoutShell is what the policy says, then what dracut is told, then a stop that
// leaves on the screen what was said.
func endWithoutShell(o Options) bootcfg.FailureAction {
	wish, _ := o.Cmdline.Lookup("rd.emergency")
	for _, action := range []bootcfg.FailureAction{o.Config.Failure, bootcfg.FailureAction(wish)} {
		if _, ok := commands[action]; ok {
			return action
		}
	}
	return halt
}

const halt bootcfg.FailureAction = "halt"

// commands are what reboot(2) knows. "emergency" is none of them, halt is only asked
// for where there may be no shell: what was said stays on the screen.
var commands = map[bootcfg.FailureAction]int{
	bootcfg.Reboot: unix.LINUX_REBOOT_CMD_RESTART, bootcfg.PowerOff: unix.LINUX_REBOOT_CMD_POWER_OFF, halt: unix.LINUX_REBOOT_CMD_HALT,
}

// stop ends a refused boot as the policy says. It returns for Emergency, and for
// the others if the kernel refuses.
func stop(action bootcfg.FailureAction) error {
	command, ok := commands[action]
	if !ok {
		return nil
	}
	unix.Sync()
	return unix.Reboot(command)
}
