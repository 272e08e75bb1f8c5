package main

// onDiskRemedies are about what is in the UKI and the image of a disk: whoever has no
// more than the disk is told the same.
var onDiskRemedies = []trial{
	{"kernel-version", "kernel 6.1.0 is too old", "kernel 6.1.0; modules 6.1.0; MODULES=modules/6.1.0 initrd; uki; disk", "disk.img", "kernel 6.12.1-test; initrd; uki; disk"},
	{"kernel/modules", "kernel is 6.13.0", "kernel 6.13.0; uki; disk", "disk.img", "kernel 6.13.0; modules 6.13.0; MODULES=modules/6.13.0 initrd; uki; disk"},
	{"certificate/expired", "db.crt|expired.crt", "uki --sb-cert expired.crt; disk", "disk.img", "mkimage uki sign --replace --sb-key db.key --sb-cert db.crt --output linux.efi linux.efi; disk"},
	{"root/no-generator", "no root=", "dracut; uki --cmdline ro; disk", "disk.img", "uki; disk"},
	{"root/hook", "no root=", "hook; uki --cmdline ro; disk", "disk.img", "uki; disk"},
	{"cmdline-twice", "twice", "argument=composefs.digest=v1-sha256-12:$(cat digest); echo root=PARTLABEL=root ro $argument $argument >x; editpe linux.efi .cmdline=x; disk", "disk.img", "uki; disk"},
	{"uki/on-disk", "BOOTX64.EFI", "put zero EFI/BOOT/BOOTX64.EFI", "disk.img", "put linux.efi EFI/BOOT/BOOTX64.EFI"},
	{"init-interpreter/linker", "ld-linux", "rm $(find root -name 'ld-linux*'); rest; disk", "disk.img", libraries + "N=9 rest; disk"},
	{"fstab", "entry for /", "echo 'UUID=x / ext4 defaults 0 1' >root/etc/fstab; rest; disk", "disk.img", "rm root/etc/fstab; N=9 rest; disk"},
	{"host-keys", "/etc/ssh/", "mkdir root/etc/ssh; echo secret >root/etc/ssh/ssh_host_rsa_key; rest; disk", "disk.img", "rm root/etc/ssh/ssh_host_*; N=9 rest; disk"},
	{"machine-id", "/etc/machine-id", "echo 0123456789abcdef0123456789abcdef >root/etc/machine-id; rest; disk", "disk.img", ": >root/etc/machine-id; N=9 rest; disk"},
	{"random-seed", "/var/lib/systemd", "mkdir -p root/var/lib/systemd; echo x >root/var/lib/systemd/random-seed; rest; disk", "disk.img", "rm root/var/lib/systemd/random-seed; N=9 rest; disk"},
}
