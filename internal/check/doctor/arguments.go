package doctor

import (
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/bootcfg"
)

// Generators of systemd, which make units of what the command line says.
const (
	debugGenerator = "usr/lib/systemd/system-generators/systemd-debug-generator"
	fstabGenerator = "usr/lib/systemd/system-generators/systemd-fstab-generator"
)

// Arguments looks for parameters that keep composefs-setup-root from being started,
// or that lead away from what it verified. What only chooses among the programs of the
// image, as systemd.unit= does, is nobody's business.
func (i *Initrd) Arguments(r *Report, line bootcfg.Cmdline, start Start, trust Trust) {
	if err := line.CheckInit(); err != nil {
		r.Stop("rdinit", "%v", err)
	}
	i.arguments(r, line, start, trust)
}

func (i *Initrd) arguments(r *Report, line bootcfg.Cmdline, start Start, trust Trust) {
	checkInitArgument(r, line, trust)
	credentials := importsCredentials(line)
	for _, a := range line.Args {
		switch start {
		case StartUnit:
			i.inSystemd(r, a, trust)
			if key := systemdKey(a); credentials && (key == "systemd.set_credential" || key == "systemd.set_credential_binary") {
				name, _, _ := strings.Cut(a.Value, ":")
				r.Warn("credential", "%s= gives systemd the credential %q before anything is verified: by some it writes files and starts programs as root", a.Key, name)
			}
		case StartHook:
			if key := systemdKey(a); key == "rd.break" || key == "rdbreak" {
				shellInInitramfs(r, a, trust)
			}
		}
		inImage(r, a, trust)
	}
}

// systemdKey is the name of a parameter as systemd and dracut compare it, to which "-"
// and "_" are the same.
func systemdKey(a bootcfg.Arg) string { return strings.ReplaceAll(a.Key, "-", "_") }

// isOff reports whether systemd takes the value for false.
func isOff(value string) bool {
	return slices.Contains([]string{"no", "0", "n", "false", "f", "off"}, strings.ToLower(value))
}

// shells are names of programs that take commands from the console.
var shells = []string{"sh", "ash", "bash", "busybox", "csh", "dash", "fish", "ksh", "mksh", "sulogin", "tcsh", "yash", "zsh"}

// checkInitArgument checks that the first program is one of the image.
func checkInitArgument(r *Report, line bootcfg.Cmdline, trust Trust) {
	init, _ := line.Lookup("init")
	clean := path.Clean(init)
	top, _, _ := strings.Cut(strings.TrimPrefix(clean, "/"), "/")
	config := trust.Config
	switch {
	case !path.IsAbs(clean):
	case top == "etc" && config.Etc.Kept(), top == "var" && config.Var.Kept(), slices.Contains([]string{"dev", "proc", "run", "sys", "sysroot", "tmp"}, top):
		r.Warn("unverified-init", "init=%s starts a program that isn't of the image: nobody verifies it", init)
	case slices.Contains(shells, path.Base(clean)):
		r.Warn("shell/image", "init=%s gives whoever is at the console a shell as root", init)
	}
}

// inSystemd looks at a parameter that systemd or dracut in the initramfs takes.
func (i *Initrd) inSystemd(r *Report, a bootcfg.Arg, trust Trust) {
	generates := func(name string) bool { _, err := fs.Stat(i.Root, name); return err == nil }
	switch key := systemdKey(a); key {
	case "rd.systemd.unit":
		checkInitrdUnit(r, a, a.Value)
	case "rd.emergency", "rd.rescue", "rd.single", "rd.s", "rd.S", "rd.1", "rd._b":
		if !a.Assigned {
			checkInitrdUnit(r, a, "rescue.target")
		}
	case "rd.systemd.mask":
		name := strings.TrimSuffix(a.Value, ".service")
		if generates(debugGenerator) && slices.Contains([]string{"composefs-setup-root", "initrd-switch-root", target, "initrd.target"}, name) {
			r.Stop("initrd-unit/mask", "%s=%s keeps systemd in the initramfs from verifying the root, or from handing over to it", a.Key, a.Value)
		}
	case "rd.systemd.debug_shell":
		if generates(debugGenerator) && !isOff(a.Value) {
			shellInInitramfs(r, a, trust)
		}
	case "rd.systemd.wants":
		if name := strings.TrimSuffix(a.Value, ".service"); generates(debugGenerator) && slices.Contains([]string{"debug-shell", "emergency", "rescue", "dracut-emergency", "emergency.target", "rescue.target"}, name) {
			shellInInitramfs(r, a, trust)
		}
	case "rd.break", "rdbreak":
		shellInInitramfs(r, a, trust)
	case "mount.usr":
		if generates(fstabGenerator) {
			r.Warn("unverified-mount", "%s=%s mounts over /usr of the image what nobody verifies", a.Key, a.Value)
		}
	case "rd.systemd.mount_extra":
		where := mountTarget(a.Value)
		rest, inRoot := strings.CutPrefix(where, "/sysroot")
		switch {
		case !generates(fstabGenerator):
		case inRoot && (rest == "" || rest[0] == '/'):
			checkMount(r, a, path.Join("/", rest), trust)
		case !below(where, "/run", "/mnt", "/media"):
			r.Warn("unverified-mount/early", "%s=%s mounts over %s of the initramfs what nobody verifies", a.Key, a.Value, where)
		}
	}
}

// checkInitrdUnit checks what systemd starts in the initramfs.
func checkInitrdUnit(r *Report, a bootcfg.Arg, name string) {
	written := a.Key
	if a.Assigned {
		written += "=" + a.Value
	}
	switch strings.TrimSuffix(name, ".target") {
	case "initrd", "default":
	case "rescue", "emergency", "basic", "sysinit", "halt", "poweroff", "reboot", "kexec", "exit":
		r.Stop("initrd-unit", "with %s systemd in the initramfs doesn't get to initrd.target, where the root is verified", written)
	default:
		r.Warn("initrd-unit/other", "with %s systemd in the initramfs starts that instead of initrd.target, where the root is verified", written)
	}
}

// shellInInitramfs is about a parameter that gives one, if the policy lets it.
func shellInInitramfs(r *Report, a bootcfg.Arg, trust Trust) {
	if trust.Sound && !trust.Config.AllowsShell(len(trust.Keys)) {
		r.Stop("shell/denied", "%s asks for a shell in the initramfs, for which the policy stops the boot", a.Key)
		return
	}
	r.Warn("shell/initramfs", "%s gives whoever is at the console a shell before anything is verified", a.Key)
}

// inImage looks at a parameter that systemd of the image takes.
func inImage(r *Report, a bootcfg.Arg, trust Trust) {
	key := systemdKey(a)
	switch {
	case key == "systemd.debug_shell" && !isOff(a.Value):
		r.Warn("shell/image", "%s gives whoever is at the console a shell as root", a.Key)
	case key == "systemd.confirm_spawn" && !isOff(a.Value):
		r.Warn("shell/confirm", "%s asks whoever is at the console which units to start", a.Key)
	case key == "systemd.mount_extra":
		checkMount(r, a, mountTarget(a.Value), trust)
	case a.Assigned && (strings.HasPrefix(a.Key, "SYSTEMD_") || strings.HasPrefix(a.Key, "LD_")) && !strings.Contains(a.Key, "."):
		r.Warn("variable", "the kernel puts %s=%s into the environment of the first program, which may take programs or settings from there", a.Key, a.Value)
	}
}

// mountTarget is where a mount of systemd's WHAT:WHERE[:TYPE[:OPTIONS]] is.
func mountTarget(value string) string {
	parts := strings.Split(value, ":")
	if len(parts) < 2 {
		return ""
	}
	return path.Join("/", parts[1])
}

// checkMount warns of one over what is verified.
func checkMount(r *Report, a bootcfg.Arg, where string, trust Trust) {
	over := []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt"}
	if !trust.Config.Etc.Kept() {
		over = append(over, "/etc")
	}
	if where == "/" || below(where, over...) {
		r.Warn("unverified-mount", "%s=%s mounts over %s of the image what nobody verifies", a.Key, a.Value, where)
	}
}

// below reports whether a path is one of the directories or below it.
func below(name string, dirs ...string) bool {
	return slices.ContainsFunc(dirs, func(dir string) bool { return name == dir || strings.HasPrefix(name, dir+"/") })
}
