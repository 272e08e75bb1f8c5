package doctor_test

import (
	"slices"
	"testing"
	"testing/fstest"

	"github.com/composefs-go/composefs/internal/check/doctor"
)

const (
	generators      = "usr/lib/systemd/system-generators/"
	debugGenerator  = generators + "systemd-debug-generator"
	fstabGenerator  = generators + "systemd-fstab-generator"
	runGenerator    = generators + "systemd-run-generator"
	importGenerator = generators + "systemd-import-generator"
)

// What takes the boot away from composefs-setup-root, or leads away from what it
// verified, is said; and the same where it does nothing is not.
func TestArgumentsThatLeadAway(t *testing.T) {
	binary := setupRoot(t, "GOARCH=amd64")
	with := func(names ...string) func(fstest.MapFS) {
		return func(root fstest.MapFS) {
			for _, name := range names {
				root[name] = &fstest.MapFile{Mode: 0o755}
			}
		}
	}
	policy := func(content string) func(fstest.MapFS) {
		return func(root fstest.MapFS) { root[configPath] = text(content) }
	}
	both := with(debugGenerator, fstabGenerator)
	allowed := func(root fstest.MapFS) { both(root); policy("[failure]\nshell = \"allow\"\n")(root) }
	volatile := policy("[etc]\nmount = \"transient\"\n[var]\nmount = \"volatile\"\n")
	for _, test := range []struct {
		name   string
		root   func(*testing.T, []byte) fstest.MapFS
		change func(fstest.MapFS)
		add    string
		want   string // as in TestWhatABootNeeds
		says   string
	}{
		{"another first program", asInit, nil, "rdinit=/bin/sh", "rdinit", "rdinit=/bin/sh has the kernel start that"},
		{"no first program", asUnit, nil, "rdinit=", "rdinit", "would not be started"},
		{"the usual first program", asInit, nil, "rdinit=/sbin/x rdinit=/init", "", ""},

		{"an init of the image", asInit, nil, "init=/usr/lib/systemd/systemd", "", ""},
		{"a shell", asInit, nil, "init=/bin/bash", "?shell", "a shell as root"},
		{"a program of /var", asInit, nil, "init=/usr/../var/x", "?unverified-init", "it isn't verified"},
		{"a program of /etc", asUnit, nil, "init=/etc/x", "?unverified-init", "it isn't verified"},
		{"a program of an /etc that keeps nothing", asInit, policy("[etc]\nmount = \"transient\"\n"), "init=/etc/x", "", ""},
		{"a program of the disk", asInit, nil, "init=/sysroot/x", "?unverified-init", "it isn't verified"},

		{"a relative program of /var", asInit, nil, "init=var/x", "?unverified-init", "it isn't verified"},
		{"a relative program of /var with a dot", asInit, nil, "init=./var/x", "?unverified-init", "it isn't verified"},
		{"a program of /home", asInit, nil, "init=/home/x", "?linked-init", "a link into /var in many images"},
		{"a program of /usr/local", asInit, nil, "init=/usr/local/sbin/x", "?linked-init", "a link into /var in many images"},

		{"another target of the initramfs", asUnit, nil, "rd.systemd.unit=emergency.target", "initrd-unit", "doesn't get to initrd.target"},
		{"its rescue mode", asUnit, nil, "rd.rescue", "initrd-unit", "with rd.rescue"},
		{"a target of its own", asUnit, nil, "rd.systemd.unit=ours.target", "?initrd-unit", "starts that instead"},
		{"the usual target of the initramfs", asUnit, nil, "rd.systemd.unit=initrd.target", "", ""},
		{"a target of the image", asUnit, nil, "systemd.unit=rescue.target emergency", "", ""},
		{"a target, where systemd isn't", asInit, nil, "rd.systemd.unit=emergency.target rd.break", "", ""},
		{"our unit masked", asUnit, both, "rd.systemd.mask=composefs-setup-root.service", "initrd-unit", "from verifying the root"},
		{"our unit masked, without who masks", asUnit, nil, "rd.systemd.mask=composefs-setup-root.service", "", ""},
		{"another unit masked", asUnit, both, "rd.systemd.mask=systemd-pcrphase-initrd.service systemd.mask=composefs-setup-root.service", "", ""},

		{"a shell in the initramfs", asUnit, both, "rd.systemd.debug-shell", "shell", "for which the policy stops the boot"},
		{"a shell in the initramfs, turned off", asUnit, both, "rd.systemd.debug_shell=no", "", ""},
		{"a shell in the initramfs, without who starts it", asUnit, nil, "rd.systemd.debug_shell", "", ""},
		{"a shell that is wanted", asUnit, both, "rd.systemd.wants=debug-shell.service", "shell", "for which the policy stops the boot"},
		{"a break", asUnit, nil, "rd.break=pre-mount", "shell", "for which the policy stops the boot"},
		{"a break of a hook", asHook, nil, "rd.break", "shell", "for which the policy stops the boot"},
		{"a break that is allowed", asHook, policy("[failure]\nshell = \"allow\"\n"), "rd.break", "?shell", "before anything is verified"},
		{"a shell in the image", asInit, nil, "systemd.debug-shell=1", "?shell", "a shell as root"},
		{"a console that is asked", asUnit, nil, "systemd.confirm_spawn", "?shell", "which units to start"},

		{"a credential", asUnit, nil, "systemd.set_credential_binary=tmpfiles.extra:Zg==", "?credential", `"tmpfiles.extra"`},
		{"a credential that nobody takes", asUnit, nil, "systemd.set-credential=a:b systemd.import_credentials=no", "", ""},
		{"a credential for the image", asInit, nil, "systemd.set_credential=a:b", "", ""},

		{"a mount over /usr", asInit, nil, "systemd.mount-extra=/dev/vdb:/usr/lib", "?unverified-mount", "over /usr/lib of the image"},
		{"a mount over the root", asInit, nil, "systemd.mount_extra=/dev/vdb:/var/..:ext4", "?unverified-mount", "over / of the image"},
		{"a mount of data", asUnit, both, "systemd.mount-extra=/dev/vdb:/var/data:ext4:noexec", "", ""},
		{"a mount over the initramfs", asUnit, both, "rd.systemd.mount-extra=/dev/vdb:/usr", "?unverified-mount", "of the initramfs"},
		{"a mount over the image, in the initramfs", asUnit, both, "rd.systemd.mount-extra=/dev/vdb:/sysroot/usr", "?unverified-mount", "over /usr of the image"},
		{"a mount in the initramfs", asUnit, both, "rd.systemd.mount-extra=/dev/vdb:/run/x", "", ""},
		{"another /usr", asUnit, both, "mount.usr=/dev/vdb", "?unverified-mount", "over /usr"},
		{"another /usr, without who mounts it", asUnit, nil, "mount.usr=/dev/vdb", "", ""},

		{"the root's device at /usr, by its flags", asUnit, both, "mount.usrflags=subvol=x", "?unverified-mount", "over /usr"},
		{"the root's device at /usr, by its type", asUnit, both, "mount.usrfstype=btrfs", "?unverified-mount", "over /usr"},
		{"a /usr with verity", asUnit, both, "usrhash=00", "?unverified-mount", "over /usr"},
		{"a type of /usr, where nobody mounts it", asInit, nil, "mount.usrfstype=btrfs usrhash=00", "", ""},
		{"a mount where units are", asUnit, both, "rd.systemd.mount-extra=x:/run/systemd/system", "?unverified-mount", "over /run/systemd/system of the initramfs"},
		{"a mount where rules are", asUnit, both, "rd.systemd.mount-extra=x:/run/udev:ext4", "?unverified-mount", "over /run/udev"},
		{"a mount of the record", asUnit, both, "rd.systemd.mount-extra=x:/run/composefs", "?unverified-mount", "over /run/composefs"},
		{"a mount of credentials", asUnit, both, "rd.systemd.mount-extra=x:/run/credstore", "?unverified-mount", "over /run/credstore"},
		{"a mount of extensions", asUnit, both, "rd.systemd.mount-extra=x:/run/confexts", "?unverified-mount", "over /run/confexts"},
		{"a mount of configuration", asUnit, both, "rd.systemd.mount-extra=x:/run/modprobe.d", "?unverified-mount", "over /run/modprobe.d"},
		{"a mount over /run", asUnit, both, "rd.systemd.mount-extra=x:/run", "?unverified-mount", "over /run of the initramfs"},
		{"a mount with quotes in it", asUnit, both, `rd.systemd.mount-extra="x:/run/'systemd'"`, "?unverified-mount", "of the initramfs"},
		{"mounts of media", asUnit, both, "rd.systemd.mount-extra=x:/media/x rd.systemd.mount-extra=x:/mnt", "", ""},
		{"a mount over the image's /run", asUnit, both, "rd.systemd.mount-extra=x:/sysroot/run", "?unverified-mount", "over /run of the image"},
		{"a mount over the image's /nix", asUnit, both, "rd.systemd.mount-extra=x:/sysroot/nix", "?unverified-mount", "over /nix of the image"},
		{"a tmpfs at the image's /run", asUnit, both, "rd.systemd.mount-extra=x:/sysroot/run:tmpfs", "", ""},
		{"a mount over the image's /home", asUnit, both, "rd.systemd.mount-extra=x:/sysroot/home", "", ""},
		{"a mount over a /var that keeps nothing", asInit, volatile, "systemd.mount-extra=x:/var", "?unverified-mount", "over /var of the image"},
		{"a mount over units of the image's system", asInit, nil, "systemd.mount-extra=x:/run/systemd", "?unverified-mount", "over /run/systemd"},
		{"a mount in /run of the image's system", asInit, nil, "systemd.mount-extra=x:/run/x", "", ""},
		{"a mount without a place", asUnit, both, "systemd.mount-extra=x rd.systemd.mount-extra=x", "", ""},

		{"a library for all", asInit, nil, "systemd.setenv=LD_PRELOAD=/var/x.so", "?unverified-variable", "LD_PRELOAD=/var/x.so"},
		{"a path for all in the initramfs", asUnit, nil, "rd.systemd.setenv=PATH=/sysroot", "?unverified-variable", "PATH=/sysroot"},
		{"another variable for all", asInit, nil, "systemd.setenv=LANG=C", "?variable", "LANG=C"},
		{"a variable for an initramfs without systemd", asInit, nil, "rd.systemd.setenv=LD_PRELOAD=/x", "", ""},
		{"a loader of modules", asInit, nil, "sysctl.kernel.modprobe=/sysroot/x", "?unverified-helper", "the kernel starts as root"},
		{"a loader of modules, with slashes", asInit, nil, "sysctl/kernel/modprobe=/sysroot/x", "?unverified-helper", "the kernel starts as root"},
		{"a reader of core dumps", asInit, nil, "sysctl.kernel.core_pattern=|/sysroot/x", "?unverified-helper", "the kernel starts as root"},
		{"a reader of core dumps, behind two dots", asInit, nil, "sysctl..kernel.core_pattern=|/var/x", "?unverified-helper", "the kernel starts as root"},
		{"a loader of modules, with dots and slashes", asInit, nil, "sysctl./kernel/modprobe=/var/x", "?unverified-helper", "the kernel starts as root"},
		{"a loader of modules, behind two dots", asInit, nil, "sysctl.kernel..modprobe=/var/x", "?unverified-helper", "the kernel starts as root"},
		{"a sysctl without a name", asInit, nil, "sysctl.=1", "", ""},
		{"no loader of modules", asInit, nil, "sysctl.kernel.modprobe=", "?sysctl", "sysctl.kernel.modprobe="},
		{"another setting of the kernel", asInit, nil, "sysctl.kernel.printk=3", "?sysctl", "sysctl.kernel.printk=3"},
		{"a setting of its memory", asInit, nil, "sysctl.vm.swappiness=10", "", ""},
		{"a command", asInit, nil, "systemd.run=/var/x", "?unverified-run", "run that command as root"},
		{"a command in the initramfs", asUnit, with(runGenerator), "rd.systemd.run=/sysroot/x", "?unverified-run", "run that command as root"},
		{"a command in the initramfs, without who runs it", asUnit, nil, "rd.systemd.run=/sysroot/x", "", ""},
		{"a download", asInit, nil, "systemd.pull=tar:x:http://x/y", "?unverified-pull", "download an image"},
		{"a download in the initramfs", asUnit, with(importGenerator), "rd.systemd.pull=tar:x:http://x/y", "?unverified-pull", "download an image"},
		{"a download in an initramfs that can't", asUnit, nil, "rd.systemd.pull=tar:x:http://x/y", "", ""},
		{"parameters from the console", asUnit, nil, "rd.cmdline=ask", "?cmdline-asked", "asks anyone at the console"},
		{"parameters from the console, for a hook", asHook, nil, "rd.cmdline=ask", "?cmdline-asked", "asks anyone at the console"},
		{"a shell of the image that is wanted", asInit, nil, "systemd.wants=debug-shell.service", "?shell", "a shell as root"},
		{"a login of the image that is wanted", asInit, nil, "systemd.wants=serial-getty@ttyS0.service", "", ""},
		{"a shell of the image for a target", asInit, nil, "systemd.unit=debug-shell.service", "?shell", "a shell as root"},
		{"firmware of the disk", asInit, nil, "firmware_class.path=/var/x", "?firmware", "look there first"},
		{"a table of the firmware", asInit, nil, "efivar_ssdt=x", "?acpi-table", "isn't signed"},
		{"a volatile root", asInit, nil, "systemd.volatile=yes", "?volatile", "over the root"},
		{"no volatile root", asInit, nil, "systemd.volatile=no", "", ""},
		{"a login that is wanted", asUnit, both, "rd.systemd.wants=getty@tty1.service", "shell", "for which the policy stops the boot"},
		{"a breakpoint that is wanted", asUnit, both, "rd.systemd.wants=breakpoint-pre-mount.service", "shell", "for which the policy stops the boot"},
		{"a login that is wanted and allowed", asUnit, allowed, "rd.systemd.wants=serial-getty@ttyS0.service", "?shell", "before anything is verified"},
		{"another unit that is wanted", asUnit, both, "rd.systemd.wants=network.target", "", ""},
		{"a break of systemd", asUnit, both, "rd.systemd.break=pre-mount", "shell", "for which the policy stops the boot"},
		{"a break of systemd that is allowed", asUnit, allowed, "rd.systemd.break", "?shell", "before anything is verified"},
		{"a break of systemd, without who makes it", asUnit, nil, "rd.systemd.break", "", ""},
		{"a break in the image", asInit, nil, "systemd.break", "?shell", "a shell as root"},
		{"a shell after a crash", asUnit, nil, "systemd.crash_shell", "?shell-unasked", "isn't asked for this one"},
		{"a shell after a crash that is allowed", asUnit, allowed, "rd.systemd.crash_shell=yes", "?shell", "if systemd crashes"},
		{"a shell after a crash of the image's systemd", asInit, nil, "systemd.crash-shell", "?shell", "if systemd crashes"},
		{"no shell after a crash", asUnit, nil, "systemd.crash_shell=no", "", ""},

		{"where units are", asUnit, nil, "SYSTEMD_UNIT_PATH=/run/x", "?unverified-variable", "SYSTEMD_UNIT_PATH=/run/x"},
		{"a library", asInit, nil, "LD_PRELOAD=/var/x.so", "?unverified-variable", "environment of the first program"},
		{"another variable", asInit, nil, "TERM=linux", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := test.root(t, binary)
			if test.change != nil {
				test.change(root)
			}
			wantOne(t, examine(root, goodLine+" "+test.add), test.want, test.says)
		})
	}
}

// A parameter counts if the kernel, systemd or a script finds it, however it is quoted.
func TestArgumentsInQuotes(t *testing.T) {
	binary := setupRoot(t, "GOARCH=amd64")
	for _, test := range []struct {
		add         string
		want, quote bool // the argument is found, and that the readers differ
	}{
		{"systemd.run=/var/x", true, false},
		{`"systemd.run=/var/x"`, true, false},
		{`systemd.run="/var/x y"`, true, false},
		{`'systemd.run=/var/x'`, true, true},
		{`s"ystemd.run=/var/x"`, true, true},
		{`systemd.run='/var/x'`, true, true},
		{`x='"' systemd.run=/var/x y='"'`, true, true},
		{`x="'" systemd.run=/var/x y="'"`, true, false},
		{`x='"' y='"' systemd.run=/var/x`, true, true},
		{"-- systemd.run=/var/x", true, false},
		{"x\vsystemd.run=/var/x", true, true},
		{`x="a systemd.run=/var/x b"`, true, false}, // to a script
		{`x='a systemd.run=/var/x b'`, true, true},  // to the kernel
		{`dyndbg="file x +p" y="'"`, false, false},
		{"-- single", false, false},
		{"user=O'Brien", false, true},
	} {
		r := examine(asInit(t, binary), goodLine+" "+test.add)
		if got := slices.ContainsFunc(r.Findings, func(f doctor.Finding) bool { return f.Check == "unverified-run" }); got != test.want {
			t.Errorf("%s: found the command: %v, want %v", test.add, got, test.want)
		}
		if got := slices.ContainsFunc(r.Findings, func(f doctor.Finding) bool { return f.Check == "quotes" }); got != test.quote {
			t.Errorf("%s: said that readers differ: %v, want %v", test.add, got, test.quote)
		}
	}
}
