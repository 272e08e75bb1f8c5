package main

// imageRemedies are about the tree that an image is made of.
var imageRemedies = []trial{
	{"mount-point", "", "mkdir -p bare/usr && mkimage build --output image bare", "image", "mkimage build --boot --output image root"},
	{"init-program/none", "", "rm root/sbin/init; build", "--repo repo stable", whole},
	{"init-program/mode", "", "chmod 644 root/sbin/init; build", "--repo repo stable", "chmod 755 root/sbin/init; N=9 build"},
	{"init-program/unfit", "", "rm root/sbin/init; mkdir root/sbin/init; build", "--repo repo stable", whole},
	{"init-program/unreadable", "mismatch", "o=repo/objects/$(mkimage measure root/sbin/init | grep -oE '[0-9a-f]{64}' | sed 's,^..,&/,'); damage $o 100; rm -f $o; cp o $o", "--repo repo stable", "build"},
	{"init-program/unreadable", "mismatch", "o=objects/$(mkimage measure root/sbin/init | grep -oE '[0-9a-f]{64}' | sed 's,^..,&/,'); damage repo/$o 100; root \"unlink /composefs/$o\" \"write o /composefs/$o\"", "disk.img", "disk"},
	{"init-program/script", "", "echo '#!' >root/sbin/init; build", "--repo repo stable", whole},
	{"init-program/loop", "", "echo '#!/sbin/init' >root/sbin/init; build", "--repo repo stable", whole},
	{"init-program/format", "", "echo text >root/sbin/init; build", "--repo repo stable", whole},
	{"init-interpreter/script", "", "echo '#!/bin/none' >root/sbin/init; build", "--repo repo stable", whole},
	{"init-interpreter/linker", "", "rm $(find root -name 'ld-linux*'); build", "--repo repo stable", libraries + "N=9 build"},
	{"init-library", "", "rm $(find root -name 'libc.so*'); build", "--repo repo stable", libraries + "N=9 build"},
	{"init-library/unreadable", "", "l=$(find root -name 'libc.so*'); o=repo/objects/$(mkimage measure $l | grep -oE '[0-9a-f]{64}' | sed 's,^..,&/,'); damage $o 100; rm -f $o; cp o $o", "--repo repo stable", "build"},
	{"init-library/elsewhere", "", "mkdir -p root/opt/lib; mv $(find root -name 'libc.so*') root/opt/lib; build", "--repo repo stable", "echo /opt/lib >root/etc/ld.so.conf; ldconfig -r root; N=9 build"},

	{"fstab", "", "echo 'UUID=x / ext4 defaults 0 1' >root/etc/fstab; build", "--repo repo stable", `sed -i '\, / ,d' root/etc/fstab; N=9 build`},
	{"fstab/over", "", "echo '/dev/sda3 /usr/local ext4 ro' >root/etc/fstab; build", "--repo repo stable", `sed -i '\, /usr/local ,d' root/etc/fstab; N=9 build`},
	{"host-keys", "", "mkdir root/etc/ssh; echo secret >root/etc/ssh/ssh_host_rsa_key; build", "--repo repo stable", "rm root/etc/ssh/ssh_host_*; N=9 build"},
	{"host-keys/dropbear", "", "mkdir root/etc/dropbear; echo secret >root/etc/dropbear/dropbear_rsa_host_key; build", "--repo repo stable", "rm root/etc/dropbear/dropbear_*; N=9 build"},
	{"machine-id", "", "echo 0123456789abcdef0123456789abcdef >root/etc/machine-id; build", "--repo repo stable", ": >root/etc/machine-id; N=9 build"},
	{"machine-id/dbus", "", dbus, "--repo repo stable", "rm root/var/lib/dbus/machine-id; N=9 build"},
	{"machine-id/dbus", "", dbus, "--repo repo stable", "ln -sf /etc/machine-id root/var/lib/dbus/machine-id; N=9 build"},
	{"random-seed", "systemd", "mkdir -p root/var/lib/systemd; echo x >root/var/lib/systemd/random-seed; build", "--repo repo stable", "rm root/var/lib/systemd/random-seed; N=9 build"},
	{"random-seed", "urandom", "mkdir -p root/var/lib/urandom; echo x >root/var/lib/urandom/random-seed; build", "--repo repo stable", "rm root/var/lib/urandom/random-seed; N=9 build"},
	{"random-seed", "/var/lib/random-seed", "mkdir -p root/var/lib; echo x >root/var/lib/random-seed; build", "--repo repo stable", "rm root/var/lib/random-seed; N=9 build"},
	{"credential-secret", "", "mkdir -p root/var/lib/systemd; echo x >root/var/lib/systemd/credential.secret; build", "--repo repo stable", "rm root/var/lib/systemd/credential.secret; N=9 build"},
}

// whole puts back the init program, libraries all that it is linked with.
const (
	whole     = "rm -rf root/sbin/init; cp /bin/true root/sbin/init; N=9 build"
	libraries = "ldd root/sbin/init | grep -oE '/[^ ]+' | while read -r l; do cp $l root/$l; done; "
	dbus      = "mkdir -p root/var/lib/dbus; echo 0123456789abcdef0123456789abcdef >root/var/lib/dbus/machine-id; build"
)
