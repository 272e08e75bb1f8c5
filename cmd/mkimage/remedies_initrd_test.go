package main

import (
	"strings"

	"github.com/composefs-go/composefs/internal/check/doctor"
)

// initrdRemedies are about what is in an initrd.
func initrdRemedies() []trial {
	rows := []trial{
		{"initrd/malformed", "", "truncate -s 100000 initrd.img", "initrd.img", "initrd"},
		{"init", "", "edit 'rm init'", "initrd.img", "initrd"},
		{"setup-root", "", "edit 'echo x >init'", "initrd.img", "initrd"},
		{"setup-root/unreadable", "", "dracut 'rm usr/lib/composefs/composefs-setup-root; mkdir usr/lib/composefs/composefs-setup-root'", "initrd.img", "initrd"},
		{"setup-root/other", "", "dracut 'cp /bin/true usr/lib/composefs/composefs-setup-root'", "initrd.img", "dracut"},
		{"unit", "", "dracut 'rm usr/lib/systemd/system/composefs-setup-root.service'", "initrd.img", "dracut"},
		{"unit-command", "", "dracut 'echo ExecStart=/bin/other >usr/lib/systemd/system/composefs-setup-root.service'", "initrd.img", "dracut"},
		{"init/other", "", "dracut 'rm init; ln -s bin/sh init; mkdir bin; printf \"#!/bin/sh\\\\n\" >bin/sh'", "initrd.img", "dracut"},
		{"init/other", "is no program", "dracut 'echo >usr/lib/systemd/systemd'", "initrd.img", "initrd"},
		{"initrd-release", "", "dracut 'rm etc/initrd-release'", "initrd.img", "dracut"},
		{"unit-alias", "", "dracut 'mkdir -p etc/systemd/system; ln -s /usr/lib/systemd/system/composefs-setup-root.service etc/systemd/system/other.service'", "initrd.img", "dracut"},
		{"unit-text", "", "dracut 'printf \"X=1 \\\\\\\\\n\" >>usr/lib/systemd/system/composefs-setup-root.service'", "initrd.img", "dracut"},
		{"unit-wanted", "", "dracut 'rm -r usr/lib/systemd/system/initrd-root-fs.target.*'", "initrd.img", "initrd"},
		{"unit-masked", "", "dracut 'mkdir -p etc/systemd/system; ln -s /dev/null etc/systemd/system/composefs-setup-root.service'", "initrd.img", "dracut"},
		{"unit-skipped", "", `dracut 'printf "[Unit]\nConditionPathExists=/absent\n" >>usr/lib/systemd/system/composefs-setup-root.service'`, "initrd.img", "dracut"},
		{"unit-status", "", `dracut 'printf "[Service]\nSuccessExitStatus=6\n" >>usr/lib/systemd/system/composefs-setup-root.service'`, "initrd.img", "initrd"},
		{"extra", "", "dracut 'ln -s /.extra/x etc/x'", "initrd.img", "dracut"},
		{"manager-environment", "", `dracut 'mkdir -p etc/systemd; printf "[Manager]\nManagerEnvironment=X=1\n" >>etc/systemd/system.conf'`, "initrd.img", "dracut"},
		{"unit-setting", "", `dracut 'printf "[Service]\nPrivateMounts=yes\n" >>usr/lib/systemd/system/composefs-setup-root.service'`, "initrd.img", "dracut"},
		{"unit-elsewhere", "", `dracut 'printf "[Service]\nRootDirectory=/evil\n" >>usr/lib/systemd/system/composefs-setup-root.service'`, "initrd.img", "dracut"},
		{"gate", "initrd-switch-root", "dracut 'rm -r usr/lib/systemd/system/initrd-switch-root.service.d'", "initrd.img", "dracut"},
		{"gate", "hooks/cleanup", "hook 'rm usr/lib/dracut/hooks/cleanup/*'", "initrd.img", "hook"},
		{"gate", "initrd-switch-root", "dracut 'rm -r usr/lib/systemd/system/initrd-switch-root.service.d'", "initrd.img", "initrd"},
		{"executable", "", "dracut 'echo text >usr/lib/composefs/composefs-setup-root'", "initrd.img", "initrd"},
		{"executable/mode", "", "edit 'chmod 644 init'", "initrd.img", "initrd"},
		{"machine/setup-root", "EM_AARCH64", `edit "printf '\267' | dd of=init bs=1 seek=18 conv=notrunc"; editpe linux.efi .initrd=initrd.img`, "linux.efi", "initrd; uki"},
		{"policy", "", "edit 'echo [verify >usr/lib/composefs/setup-root-conf.toml'", "initrd.img", "policy '[verify]'"},
		{"policy/link", "", "edit 'ln -sf /sysroot/policy usr/lib/composefs/setup-root-conf.toml'", "initrd.img", "policy '[verify]'"},
		{"keys/link", "", "edit 'mv usr/lib/composefs/keys.d usr/lib/keys; ln -s ../keys usr/lib/composefs/keys.d'", "initrd.img", "initrd"},
		{"keys/bad", "", "edit 'echo x >usr/lib/composefs/keys.d/ours.pub'", "initrd.img", "initrd"},
		{"keys/missing", "", `edit "rm usr/lib/composefs/keys.d/*; printf '[verify]\nsignature = \"require\"\n' >usr/lib/composefs/setup-root-conf.toml"`, "initrd.img", `policy '[verify]' 'signature = "require"'`},
		{"no-seal", "", "KEYS= initrd; uki", "linux.efi --repo repo", "initrd; uki"},
		{"no-seal/policy", "", `policy '[verify]' 'signature = "off"'; uki`, "linux.efi --repo repo", "policy '[verify]'; uki"},
		{"fs-verity/policy", "", `policy '[verify]' 'allow-insecure = true' 'fs-verity = "userspace"'; uki; disk`, "disk.img", `policy '[verify]' 'fs-verity = "require"'; uki; disk`},
		{"extensions/policy", "", `policy '[etc]' 'transient = true' '[verify]' 'extensions = "allow"'`, "initrd.img", "sed -i /extensions/d policy; initrd --policy policy"},
		{"esp-files", "", "dracut 'ln -sf usr/lib/systemd/systemd init'; uki", "linux.efi", "dracut; uki"},
		{"esp-files", "", "dracut 'ln -sf usr/lib/systemd/systemd init'; uki", "linux.efi", `uki --cmdline "root=PARTLABEL=root ro systemd.import_credentials=no"`},

		{"kernel/modules", "6.13.0", "kernel 6.13.0; uki", "linux.efi", "modules 6.13.0; MODULES=modules/6.13.0 initrd; uki"},
		{"module-version", "", `edit "printf '\177ELFvermagic=6.1.0 SMP ' >usr/lib/modules/6.12.1-test/kernel/erofs.ko"; uki`, "linux.efi", "initrd; uki"},
		{"module-list", "jbd2.ko", "edit 'rm usr/lib/modules/6.12.1-test/kernel/jbd2.ko'", "initrd.img", "initrd"},
		{"kernel-version", "too old", "kernel 6.1.0; modules 6.1.0; MODULES=modules/6.1.0 initrd; uki", "linux.efi", "kernel 6.12.1-test; initrd; uki"},
		{"kernel-version", "too old", "kernel 5.14.0-427.el9; modules 5.14.0-427.el9; MODULES=modules/5.14.0-427.el9 initrd; uki", "linux.efi", "kernel 6.12.1-test; initrd; uki"},
	}
	return append(rows, moduleRemedies()...)
}

// moduleRemedies are about each module that it takes, on an older kernel if need be:
// it is gone, it lacks another one, or nobody knows whether it is in the kernel.
func moduleRemedies() (rows []trial) {
	for _, m := range []struct {
		kind doctor.Kind
		name string
	}{{"erofs", "erofs"}, {"overlay", "overlay"}, {"root-fs", "ext4"}, {"loop", "loop"}, {"root-device", "virtio_blk"}} {
		make := strings.NewReplacer("NAME", m.name).Replace
		older := "mv modules/6.12.1-test modules/6.11.2-test; sed -i s,6.12.1-test,6.11.2-test,g modules/*/modules.dep; export MODULES=modules/6.11.2-test; initrd; cd modules && ln -s 6.11.2-test 6.12.1-test && cd ..; "
		again := "export MODULES=modules/6.11.2-test; "
		in := "cd usr/lib/modules/6.11.2-test; sed -i '/NAME.ko/d' ../../composefs/modules; "
		rows = append(rows,
			trial{m.kind, "in the kernel", make(older + `edit "` + in + `rm kernel/NAME.ko"`), "initrd.img", again + "initrd"},
			trial{m.kind + "/needs", "needs kernel/other.ko", make(older + `edit "` + in + `echo kernel/NAME.ko: kernel/other.ko >modules.dep"`), "initrd.img", again + "initrd"},
			trial{m.kind + "/unknown", "may or may not", make(older + `edit "` + in + `rm kernel/NAME.ko modules.builtin"; printf 'kernel/%s.ko\n' NAME virtio_pci >modules/6.11.2-test/modules.builtin`),
				"initrd.img", "doctor initrd.img --modules modules/6.11.2-test"},
		)
	}
	return rows
}

// cmdlineRemedies are about the kernel command line.
var cmdlineRemedies = []trial{
	{"cmdline/malformed", "", `echo root=PARTLABEL=root composefs=x >x; editpe linux.efi .cmdline=x`, "linux.efi", "uki"},
	{"cmdline/malformed", "", "", "initrd.img --cmdline 'root=PARTLABEL=root ro composefs=x'", "doctor initrd.img --cmdline \"root=PARTLABEL=root ro composefs=$(cat digest)\""},
	{"cmdline/no-image", "", "echo root=PARTLABEL=root ro >x; editpe linux.efi .cmdline=x", "linux.efi", "uki --image $(build)$(cat digest)"},
	{"cmdline/no-image", "", "entry 'linux /kernel' 'initrd /initrd.img' 'options root=PARTLABEL=root ro'", "disk.img", `build; entry 'linux /kernel' 'initrd /initrd.img' "options root=PARTLABEL=root ro composefs.digest=v1-sha256-12:$(cat digest)"`},
	{"permitted", "", `policy '[verify]' 'signature = "optional"'; IMAGE=composefs.ref=stable uki`, "linux.efi --repo repo", "uki"},
	{"permitted", "", `policy '[verify]' 'signature = "optional"'; IMAGE=composefs.ref=stable uki`, "linux.efi --repo repo", "policy '[verify]' 'signature = \"require\"'; IMAGE=composefs.ref=stable uki"},
	{"ro", "", "", "initrd.img --cmdline 'root=PARTLABEL=root composefs.ref=stable'", "doctor initrd.img --cmdline 'root=PARTLABEL=root ro composefs.ref=stable'"},
	{"cmdline-twice", "", "", `initrd.img --cmdline "root=PARTLABEL=root ro composefs.digest=v1-sha256-12:$(cat digest) composefs.digest=v1-sha256-12:$(cat digest)"`, `doctor initrd.img --cmdline "root=PARTLABEL=root ro composefs=$(cat digest)"`},
	{"cmdline-twice/other", "", "", `initrd.img --cmdline "root=PARTLABEL=root ro composefs.digest=v1-sha256-12:$(cat digest) composefs.digest=v1-sha256-12:$(tr a-f b-fa <digest)"`, `doctor initrd.img --cmdline "root=PARTLABEL=root ro composefs=$(cat digest)"`},
	{"root/malformed", "", "uki --cmdline 'root=live ro'", "linux.efi", "uki"},
	{"root/by-type", "", "uki --cmdline ro", "linux.efi", "uki"},
	{"root/no-generator", "", "dracut; uki --cmdline ro", "linux.efi", "uki"},
	{"root/hook", "", "hook; uki --cmdline ro", "linux.efi", "uki"},
	{"root/not-on-disk", "", "sfdisk -q --part-label disk.img 2 other", "disk.img", "sfdisk -q --part-label disk.img 2 root"},
	{"root/not-on-disk", "", "sfdisk -q --part-label disk.img 2 other", "disk.img", "uki --cmdline 'root=PARTLABEL=other ro'; put linux.efi EFI/BOOT/BOOTX64.EFI"},
	{"cmdline/given", "", "", "repo/images/$(cat digest) --repo repo --cmdline composefs=x", `doctor repo/images/$(cat digest) --repo repo --cmdline "composefs=$(cat digest)"`},
	{"cmdline-length", "", "printf 'root=PARTLABEL=root ro %02100d' 1 >x; editpe linux.efi .cmdline=x", "linux.efi", "uki"},
	{"cmdline-length", "", addon + "x=$(printf %01800d 1); mkimage uki addon --stub $ADDON --cmdline $x $SB --output a.addon.efi; uki --cmdline \"root=PARTLABEL=root ro $x\"; disk --esp loader/addons/a.addon.efi=a.addon.efi", "disk.img",
		addon + "mkimage uki addon --stub $ADDON --cmdline quiet $SB --output a.addon.efi; put a.addon.efi loader/addons/a.addon.efi"},
}

// addon names what addons are made with.
const addon = `ADDON=$ADDON_STUB; SB="--sb-key db.key --sb-cert db.crt"; `
