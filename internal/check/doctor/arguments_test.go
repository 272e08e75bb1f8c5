package doctor_test

import (
	"testing"
	"testing/fstest"
)

const (
	generators     = "usr/lib/systemd/system-generators/"
	debugGenerator = generators + "systemd-debug-generator"
	fstabGenerator = generators + "systemd-fstab-generator"
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
		{"a program of /var", asInit, nil, "init=/usr/../var/x", "?unverified-init", "nobody verifies it"},
		{"a program of /etc", asUnit, nil, "init=/etc/x", "?unverified-init", "nobody verifies it"},
		{"a program of an /etc that keeps nothing", asInit, policy("[etc]\nmount = \"transient\"\n"), "init=/etc/x", "", ""},
		{"a program of the disk", asInit, nil, "init=/sysroot/x", "?unverified-init", "nobody verifies it"},

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

		{"where units are", asUnit, nil, "SYSTEMD_UNIT_PATH=/run/x", "?variable", "SYSTEMD_UNIT_PATH=/run/x"},
		{"a library", asInit, nil, "LD_PRELOAD=/var/x.so", "?variable", "environment of the first program"},
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
