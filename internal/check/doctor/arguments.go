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
	debugGenerator  = "usr/lib/systemd/system-generators/systemd-debug-generator"
	fstabGenerator  = "usr/lib/systemd/system-generators/systemd-fstab-generator"
	importGenerator = "usr/lib/systemd/system-generators/systemd-import-generator"
	runGenerator    = "usr/lib/systemd/system-generators/systemd-run-generator"
)

// Arguments looks for parameters that keep composefs-setup-root from being started,
// or that lead away from what it verified. What only chooses among the programs of the
// image, as systemd.unit= does, isn't looked at, unless it gives a shell.
func (i *Initrd) Arguments(r *Report, line bootcfg.Cmdline, start Start, trust Trust) {
	if err := line.CheckInit(); err != nil {
		r.Stop("rdinit", "%v", err)
	}
	i.arguments(r, line, start, trust)
}

func (i *Initrd) arguments(r *Report, line bootcfg.Cmdline, start Start, trust Trust) {
	checkQuotes(r, line)
	for _, init := range initsOf(line) {
		checkInitArgument(r, init, trust)
	}
	credentials := importsCredentials(line)
	for _, a := range everyReading(line) {
		switch start {
		case StartUnit:
			i.inSystemd(r, a, trust)
			if key := systemdKey(a); credentials && (key == "systemd.set_credential" || key == "systemd.set_credential_binary") {
				name, _, _ := strings.Cut(a.Value, ":")
				r.Warn("credential", "%s= gives systemd the credential %q before anything is verified: by some it writes files and starts programs as root", a.Key, name)
			}
		case StartHook:
			inDracut(r, a, trust)
		}
		inImage(r, a, start, trust)
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

// checkInitArgument checks that the first program is one of the image. It is started from
// the root directory, so a name without a slash at its start is one below it.
func checkInitArgument(r *Report, init string, trust Trust) {
	clean := path.Join("/", init)
	switch {
	case isWritable(clean, trust.Config):
		r.Warn("unverified-init", "init=%s starts a program that isn't part of the image, so it isn't verified", init)
	case slices.Contains(shells, path.Base(clean)):
		r.Warn("shell/image", "init=%s gives anyone at the console a shell as root", init)
	case below(clean, "/home", "/media", "/mnt", "/opt", "/root", "/srv", "/usr/local"):
		r.Warn("linked-init", "init=%s is below a directory that is a link into /var in many images, where it wouldn't be verified", init)
	}
}

// isWritable reports whether what is at a path of the booted system needn't be what the
// image has there.
func isWritable(name string, config bootcfg.Config) bool {
	return config.Etc.Kept() && below(name, "/etc") || config.Var.Kept() && below(name, "/var") ||
		below(name, "/dev", "/proc", "/run", "/sys", "/sysroot", "/tmp")
}

// inDracut looks at a parameter that dracut takes, with systemd or without.
func inDracut(r *Report, a bootcfg.Arg, trust Trust) {
	switch key := systemdKey(a); {
	case key == "rd.break" || key == "rdbreak":
		shellInInitramfs(r, a, trust)
	case key == "rd.cmdline" && a.Value == "ask":
		r.Warn("cmdline-asked", "%s=%s asks anyone at the console for more parameters", a.Key, a.Value)
	}
}

// inSystemd looks at a parameter that systemd or dracut in the initramfs takes.
func (i *Initrd) inSystemd(r *Report, a bootcfg.Arg, trust Trust) {
	generates := func(name string) bool {
		if i.Root == nil {
			return true // it may
		}
		_, err := fs.Stat(i.Root, name)
		return err == nil
	}
	inDracut(r, a, trust)
	switch key := systemdKey(a); key {
	case "rd.systemd.pull":
		if generates(importGenerator) {
			pulls(r, a)
		}
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
		if generates(debugGenerator) && givesShell(a.Value) {
			shellInInitramfs(r, a, trust)
		}
	case "rd.systemd.break":
		if generates(debugGenerator) {
			shellInInitramfs(r, a, trust)
		}
	case "rd.systemd.run":
		if generates(runGenerator) {
			runs(r, a)
		}
	case "rd.systemd.setenv":
		name, value, _ := strings.Cut(a.Value, "=")
		checkVariable(r, a, name, value)
	case "rd.systemd.crash_shell", "systemd.crash_shell":
		crashShell(r, a, trust)
	case "mount.usr", "mount.usrflags", "mount.usrfstype", "usrhash":
		// Without mount.usr= it is the root's device that is mounted there.
		if generates(fstabGenerator) {
			r.Warn("unverified-mount", "%s=%s mounts something unverified over /usr of the image", a.Key, a.Value)
		}
	case "rd.systemd.mount_extra":
		where, fstype := mountTarget(a.Value)
		rest, inRoot := strings.CutPrefix(where, "/sysroot")
		switch {
		case where == "", !generates(fstabGenerator):
		case inRoot && (rest == "" || rest[0] == '/'):
			checkMount(r, a, path.Join("/", rest), fstype, trust)
		case !free(where):
			r.Warn("unverified-mount/early", "%s=%s mounts something unverified over %s of the initramfs", a.Key, a.Value, where)
		}
	}
}

// runtime are directories of /run that somebody is told by what to run, or to believe:
// units, rules, credentials, extensions, the record of what was verified, the root of a soft
// reboot, dracut's hooks at shutdown.
var runtime = []string{"composefs", "confexts", "credentials", "credstore", "credstore.encrypted", "dracut", "extensions", "host", "initramfs", "nextroot", "portables", "systemd", "udev"}

// free reports whether nothing in the initramfs looks at what is mounted at a path.
func free(where string) bool {
	if strings.ContainsAny(where, "\"'\\") {
		return false // systemd may take it for another
	}
	rest, inRun := strings.CutPrefix(where, "/run/")
	name, _, _ := strings.Cut(rest, "/")
	return below(where, "/mnt", "/media") || inRun && !slices.Contains(runtime, name) && !strings.HasSuffix(name, ".d")
}

// givesShell reports whether a unit of the initramfs gives a shell or a login.
func givesShell(unit string) bool {
	name := strings.TrimSuffix(unit, ".service")
	instance, _, isInstance := strings.Cut(name, "@")
	switch {
	case strings.HasPrefix(name, "breakpoint-"):
		return true
	case isInstance:
		return slices.Contains([]string{"getty", "autovt", "serial-getty", "container-getty", "container-shell"}, instance)
	}
	return slices.Contains([]string{
		"debug-shell", "emergency", "rescue", "dracut-emergency", "console-getty", "console-shell", "emergency.target", "rescue.target", "getty.target",
	}, name)
}

// asksNoPassword reports whether a unit of the image gives a shell without a login.
func asksNoPassword(unit string) bool {
	name := strings.TrimSuffix(unit, ".service")
	return name == "debug-shell" || name == "console-shell" || strings.HasPrefix(name, "breakpoint-") || strings.HasPrefix(name, "container-shell@")
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
	r.Warn("shell/initramfs", "%s gives anyone at the console a shell before anything is verified", a.Key)
}

// inImage looks at a parameter that systemd of the image takes.
func inImage(r *Report, a bootcfg.Arg, start Start, trust Trust) {
	key := systemdKey(a)
	switch {
	case key == "systemd.debug_shell" && !isOff(a.Value):
		r.Warn("shell/image", "%s gives anyone at the console a shell as root", a.Key)
	case key == "systemd.confirm_spawn" && !isOff(a.Value):
		r.Warn("shell/confirm", "%s asks anyone at the console which units to start", a.Key)
	case key == "systemd.break":
		r.Warn("shell/image", "%s gives anyone at the console a shell as root", a.Key)
	case key == "systemd.crash_shell" && start != StartUnit:
		crashShell(r, a, Trust{})
	case key == "systemd.run":
		runs(r, a)
	case key == "systemd.pull":
		pulls(r, a)
	case (key == "systemd.wants" || key == "systemd.unit") && asksNoPassword(a.Value):
		r.Warn("shell/image", "%s=%s gives anyone at the console a shell as root", a.Key, a.Value)
	case key == "firmware_class.path" && a.Value != "":
		r.Warn("firmware", "%s=%s has the kernel look there first for the firmware of devices", a.Key, a.Value)
	case key == "efivar_ssdt":
		r.Warn("acpi-table", "%s=%s has the kernel run code of an ACPI table from an EFI variable, which isn't signed", a.Key, a.Value)
	case key == "systemd.volatile" && !isOff(a.Value):
		r.Warn("volatile", "%s has systemd put a file system of its own over the root, or over its /var", a.Key)
	case key == "systemd.mount_extra":
		where, fstype := mountTarget(a.Value)
		if where != "" && !free(where) {
			checkMount(r, a, where, fstype, trust)
		}
	case key == "systemd.setenv":
		name, value, _ := strings.Cut(a.Value, "=")
		checkVariable(r, a, name, value)
	case strings.HasPrefix(a.Key, "sysctl.") || strings.HasPrefix(a.Key, "sysctl/"):
		checkSysctl(r, a)
	case a.Assigned && matters(a.Key):
		r.Warn("unverified-variable", "the kernel puts %s=%s into the environment of the first program, which may take programs or settings from there", a.Key, a.Value)
	}
}

// matters reports whether a variable tells programs in general where to find programs,
// libraries or units, or what to do first.
func matters(name string) bool {
	if strings.Contains(name, ".") {
		return false // a parameter of a module to the kernel
	}
	if slices.Contains([]string{"PATH", "ENV", "BASH_ENV", "SHELLOPTS", "IFS", "GCONV_PATH", "GETCONF_DIR", "GLIBC_TUNABLES", "LOCPATH", "NLSPATH", "MODPROBE_OPTIONS", "OPENSSL_CONF", "OPENSSL_MODULES"}, name) {
		return true
	}
	return slices.ContainsFunc([]string{"LD_", "SYSTEMD_", "PYTHON", "PERL5", "DRACUT_"}, func(begin string) bool { return strings.HasPrefix(name, begin) })
}

// checkVariable is about one that systemd hands to what it starts.
func checkVariable(r *Report, a bootcfg.Arg, name, value string) {
	if matters(name) {
		r.Warn("unverified-variable", "%s puts %s=%s into the environment of what systemd starts, which may take programs or settings from there", a.Key, name, value)
		return
	}
	r.Warn("variable", "%s puts %s=%s into the environment of what systemd starts", a.Key, name, value)
}

// checkSysctl is about a setting that the kernel makes before it starts /init. Dots and
// slashes are the same to it, and several count as one.
func checkSysctl(r *Report, a bootcfg.Arg) {
	names := strings.FieldsFunc(a.Key[len("sysctl."):], func(c rune) bool { return c == '.' || c == '/' })
	if len(names) == 0 || names[0] != "kernel" {
		return
	}
	switch name := strings.Join(names[1:], "."); {
	case a.Value != "" && slices.Contains([]string{"modprobe", "core_pattern", "hotplug", "poweroff_cmd"}, name):
		r.Warn("unverified-helper", "%s=%s names a program that the kernel starts as root, and that isn't verified by that", a.Key, a.Value)
	default:
		r.Warn("sysctl", "%s=%s changes a setting of the kernel before anything is verified", a.Key, a.Value)
	}
}

// runs is about a command in the command line.
func runs(r *Report, a bootcfg.Arg) {
	r.Warn("unverified-run", "%s=%s has systemd run that command as root, which isn't verified", a.Key, a.Value)
}

// pulls is about an image that is downloaded and used.
func pulls(r *Report, a bootcfg.Arg) {
	r.Warn("unverified-pull", "%s=%s has systemd download an image, which composefs doesn't verify", a.Key, a.Value)
}

// crashShell is about the shell that systemd gives when it crashes, for which it asks no
// policy.
func crashShell(r *Report, a bootcfg.Arg, trust Trust) {
	switch {
	case isOff(a.Value):
	case trust.Sound && !trust.Config.AllowsShell(len(trust.Keys)):
		r.Warn("shell-unasked", "%s gives anyone at the console a shell as root if systemd crashes: the policy denies shells, and isn't asked for this one", a.Key)
	default:
		r.Warn("shell/crash", "%s gives anyone at the console a shell as root if systemd crashes", a.Key)
	}
}

// mountTarget is where a mount of systemd's WHAT:WHERE[:TYPE[:OPTIONS]] is, and its type.
func mountTarget(value string) (where, fstype string) {
	parts := strings.Split(value, ":")
	if len(parts) < 2 {
		return "", "" // systemd takes no notice
	}
	return path.Join("/", parts[1]), append(parts, "")[2]
}

// checkMount warns of one over what is verified: the boot's gate refuses the same.
func checkMount(r *Report, a bootcfg.Arg, where, fstype string, trust Trust) {
	if trust.Config.Covers(strings.TrimPrefix(where, "/"), fstype) || strings.ContainsAny(where, "\"'\\") {
		r.Warn("unverified-mount", "%s=%s mounts something unverified over %s of the image", a.Key, a.Value, where)
	}
}

// below reports whether a path is one of the directories or below it.
func below(name string, dirs ...string) bool {
	return slices.ContainsFunc(dirs, func(dir string) bool { return name == dir || strings.HasPrefix(name, dir+"/") })
}
