package main

// systemRemedies are about the running system. What it takes a boot to show is what
// composefs-setup-root and the kernel leave after one, which test/boot compares.
var systemRemedies = []trial{
	{"not-booted", "", "rm $record", "system", "booted"},
	{"record", "", "echo [ >$record", "system", "booted"},
	{"record/unreadable", "", "chmod 400 $record", "system", "doctor system as root"},
	{"seal/none", "", `sed -i 's/"valid"/"none"/' $record`, "system", "mkimage seal --repo repo --key ours.key --sequence 8 stable; booted"},
	{"seal/unasked", "", `sed -i 's/"valid"/"not-required"/' $record`, "system", "initrd; mkimage seal --repo repo --key ours.key --sequence 8 stable; booted"},
	{"content/names-only", "", `sed -i 's/"require"/"userspace"/' $record`, "system", `policy '[verify]' 'fs-verity = "require"'; booted`},
	{"content/nothing", "", `sed -i 's/"require"/"off"/' $record`, "system", `policy '[verify]' 'fs-verity = "require"'; booted`},
	{"no-room", "", `sed -i 's/"policy"/"no-room":["etc"],"policy"/' $record`, "system", "booted"},
	{"extensions/running", "", `sed -i 's/"forbid"/"allow"/' $record`, "system", `policy '[etc]' 'transient = true' '[verify]' 'extensions = "forbid"'; booted`},
	{"cmdline/running", "", "echo composefs=x >system/proc/cmdline", "system", "booted"},
	{"cmdline/other-boot", "", "echo composefs.ref=other >system/proc/cmdline", "system", "booted"},
	{"secure-boot/none", "", "rm $secureboot", "system", `printf '\6\0\0\0\1' >$secureboot`},
	{"secure-boot/off", "", `printf '\6\0\0\0\0' >$secureboot`, "system", `printf '\6\0\0\0\1' >$secureboot`},
	{"secure-boot/unreadable", "", "chmod 400 $secureboot", "system", "doctor system as root"},
	{"mounts/none", "", "rm system/proc/self/mountinfo", "system", "booted"},
	{"mounts/malformed", "", "echo x >system/proc/self/mountinfo", "system", "booted"},
	{"root/other", "", "sed -i 's/overlay composefs:.* ro,/ext4 x ro,/' system/proc/self/mountinfo", "system", "booted"},
	{"root/verity", "", "sed -i 's/,verity=require//' system/proc/self/mountinfo", "system", "booted"},
	{"root/upper", "", "sed -i 's,lowerdir+=/x,lowerdir+=/x%upperdir=/y,; y/%/,/' system/proc/self/mountinfo", "system", "booted"},
	{"mount", "", "mount /usr/lib/systemd", "system", "umount /usr/lib/systemd"},
	{"mount", "is mounted over the image: what", "mount /usr", "system", "umount /usr"},
	{"mount/extension", "", "mount /usr 'overlay sysext'", "system", "umount /usr"},
	{"mount/extension", "", "mount /usr 'overlay sysext'", "system", `policy '[etc]' 'transient = true' '[verify]' 'extensions = "forbid"'; booted`},
	{"mount/unknown", "", "mount /data; chmod 400 system/sysroot/composefs/images/*", "system", "doctor system as root"},
	{"mount/unknown", "", "mount /data; rm system/sysroot/composefs/images/*", "system", "cp repo/images/$(hex) system/sysroot/composefs/images"},
}
