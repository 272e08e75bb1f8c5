package main

import "github.com/composefs-go/composefs/internal/check/doctor"

// microcode makes early, which has microcode alone, and late, which has a key as well.
const microcode = `mkdir -p m/kernel/x86/microcode m/usr; echo x >m/kernel/x86/microcode/GenuineIntel.bin
(cd m; find kernel | LC_ALL=C sort | cpio --quiet -o -H newc) >early; (cd m; find kernel usr | LC_ALL=C sort | cpio --quiet -o -H newc) >late; `

// argumentRemedies are about parameters that lead away from what is verified, and about
// what is unpacked before the initrd.
func argumentRemedies() []trial {
	rows := []trial{
		{"microcode", "", microcode + "editpe linux.efi +.ucode=late", "linux.efi", "uki --microcode early"},
		{"addon/microcode", "", microcode + addon + "mkimage uki addon --stub $ADDON --microcode early $SB --output a.addon.efi; editpe a.addon.efi .ucode=late; disk --esp loader/addons/a.addon.efi=a.addon.efi", "disk.img",
			addon + "mkimage uki addon --stub $ADDON --microcode early $SB --output a.addon.efi; put a.addon.efi loader/addons/a.addon.efi"},
		{"addon/rdinit", "", addon + "mkimage uki addon --stub $ADDON --cmdline quiet $SB --output a.addon.efi; echo rdinit=/x >x; editpe a.addon.efi .cmdline=x; disk --esp loader/addons/a.addon.efi=a.addon.efi", "disk.img",
			addon + "mkimage uki addon --stub $ADDON --cmdline quiet $SB --output a.addon.efi; put a.addon.efi loader/addons/a.addon.efi"},
		{"rdinit", "", `echo "root=PARTLABEL=root ro composefs.ref=stable rdinit=/bin/sh" >x; editpe linux.efi .cmdline=x`, "linux.efi", "uki"},
	}
	const line = "root=PARTLABEL=root ro composefs.ref=stable"
	generators := "for g in debug fstab run; do mkdir -p usr/lib/systemd/system-generators; echo x >usr/lib/systemd/system-generators/systemd-$g-generator; done"
	for _, a := range []struct {
		kind      doctor.Kind
		bad, good string
	}{
		{"rdinit", "rdinit=", ""},
		{"initrd-unit", "rd.systemd.unit=rescue.target", ""},
		{"initrd-unit/mask", "rd.systemd.mask=composefs-setup-root.service", ""},
		{"initrd-unit/other", "rd.systemd.unit=ours.target", ""},
		{"shell/denied", "rd.break", ""},
		{"shell/image", "init=/bin/sh", ""},
		{"shell/image", "systemd.debug_shell", ""},
		{"shell/confirm", "systemd.confirm_spawn", ""},
		{"unverified-init", "init=/var/x", "init=/usr/lib/systemd/systemd"},
		{"unverified-init", "init=/var/x", ""},
		{"unverified-mount", "mount.usr=/dev/vdb", ""},
		{"unverified-mount/early", "rd.systemd.mount-extra=/dev/vdb:/etc", "rd.systemd.mount-extra=/dev/vdb:/run/x"},
		{"credential", "systemd.set_credential=a:b", ""},
		{"variable", "systemd.setenv=LANG=C", ""},
		{"unverified-variable", "SYSTEMD_UNIT_PATH=/x", ""},
		{"unverified-variable", "rd.systemd.setenv=LD_PRELOAD=/sysroot/x", ""},
		{"unverified-run", "rd.systemd.run=/sysroot/x", ""},
		{"unverified-helper", "sysctl.kernel.modprobe=/sysroot/x", ""},
		{"unverified-pull", "systemd.pull=tar:x:http://localhost/x", ""},
		{"linked-init", "init=/home/x", "init=/usr/lib/systemd/systemd"},
		{"linked-init", "init=/home/x", ""},
		{"acpi-table", "efivar_ssdt=x", ""},
		{"firmware", "firmware_class.path=/x", ""},
		{"cmdline-asked", "rd.cmdline=ask", ""},
		{"quotes", `user.name=O"Brien x"`, `user.name="OBrien x"`},
		{"sysctl", "sysctl.kernel.printk=3", ""},
		{"volatile", "systemd.volatile=yes", ""},
		{"unverified-mount/early", "rd.systemd.mount-extra=/dev/vdb:/run/systemd", "rd.systemd.mount-extra=/dev/vdb:/run/x"},
		{"shell-unasked", "systemd.crash_shell", ""},
	} {
		doctor := "initrd.img --cmdline '" + line + " "
		rows = append(rows, trial{a.kind, "", "dracut '" + generators + "'", doctor + a.bad + "'", "doctor " + doctor + a.good + "'"})
	}
	const open = `printf '[failure]\nshell = \"allow\"\n' >usr/lib/composefs/setup-root-conf.toml`
	return append(rows,
		trial{"shell/crash", "", `dracut "` + open + `"`, "initrd.img --cmdline '" + line + " systemd.crash_shell'", "doctor initrd.img --cmdline '" + line + "'"},
		trial{"shell-unasked", "", "dracut", "initrd.img --cmdline '" + line + " systemd.crash_shell'", `dracut "` + open + `"`},
		trial{"shell/initramfs", "", `dracut "` + open + `"`, "initrd.img --cmdline '" + line + " rd.break'", "doctor initrd.img --cmdline '" + line + "'"},
		trial{"shell/denied", "", "dracut", "initrd.img --cmdline '" + line + " rd.break'", `dracut "` + open + `"`})
}
