package main

// diskRemedies are about what firmware and boot loaders find on a disk.
var diskRemedies = []trial{
	{"disk-size", "", "truncate -s 200M disk.img", "disk.img", "disk"},
	{"disk-size", "", "truncate -s -512 disk.img", "disk.img", "disk"},
	{"disk-size", "", "truncate -s 700 disk.img", "disk.img", "disk"},
	{"disk-size", "", "printf 'label: dos\nstart=2048, size=10000, type=ef\n' >table; truncate -s 10M old.img; sfdisk -q old.img <table; truncate -s 2M old.img; mv old.img disk.img", "disk.img", "disk"},
	{"disk-size", "", "disk --sector-size 4096 --esp-size 260; truncate -s 200M disk.img", "disk.img", "disk"},
	{"partition-table", "", "dd if=/dev/zero of=disk.img bs=512 seek=1 count=33 conv=notrunc; truncate -s -20K disk.img; truncate -s +20K disk.img", "disk.img", "disk"},
	{"esp", "", "sfdisk -q --part-type disk.img 1 L", "disk.img", "disk"},
	{"boot-partition", "", extended, "disk.img", `. ./start; mkfs.vfat -F 16 --offset $start disk.img 40000 >/dev/null`},
	{"boot-partition", "", extended, "disk.img", "sfdisk -q --delete disk.img 3"},
	{"entries", "", "esp note=digest", "disk.img", "mmd -i disk.img@@1M ::/EFI ::/EFI/Linux; put linux.efi EFI/Linux/a.efi"},
	{"entries", "", "esp note=digest", "disk.img", "disk"},
	{"loader", "", "esp EFI/Linux/a.efi=linux.efi", "disk.img", "mmd -i disk.img@@1M ::/EFI/BOOT; put loader EFI/BOOT/BOOTX64.EFI"},
	{"loader", "", "esp EFI/Linux/a.efi=linux.efi", "disk.img", "disk"},
	{"uki/on-disk", "", "esp EFI/Linux/zero.efi=zero EFI/BOOT/BOOTX64.EFI=linux.efi", "disk.img", "uki; put linux.efi EFI/Linux/zero.efi"},
	{"uki/on-disk", "", "truncate -s 5000 linux.efi; esp EFI/Linux/a.efi=linux.efi EFI/BOOT/BOOTX64.EFI=loader", "disk.img", "take EFI/Linux/a.efi; uki; put linux.efi EFI/BOOT/BOOTX64.EFI"},
	{"os-release", "", "OSREL= uki; esp EFI/Linux/a.efi=linux.efi EFI/BOOT/BOOTX64.EFI=loader", "disk.img", "uki; put linux.efi EFI/Linux/a.efi"},
	{"tries", "", "esp EFI/Linux/a+0-3.efi=linux.efi EFI/BOOT/BOOTX64.EFI=loader", "disk.img", "mren -i disk.img@@1M ::/EFI/Linux/a+0-3.efi a.efi"},
	{"entry/unreadable", "it prints more than was to be expected", "truncate -s 2M big; disk --esp loader/entries/big.conf=big", "disk.img", "take loader/entries/big.conf"},
	{"esp/names", "a name with a slash or a line end in it", `disk; mmd -i disk.img@@1M ::/EFI/Linux; put linux.efi EFI/Linux/QQden.efi; at=$(LC_ALL=C grep -aboP 'Q\x00Q\x00d\x00e\x00n' disk.img | head -1 | cut -d: -f1); printf '\012' | dd of=disk.img bs=1 seek=$at conv=notrunc status=none`, "disk.img", "disk"},
	{"addon/malformed", "", "disk --esp loader/addons/a.addon.efi=zero", "disk.img", "take loader/addons/a.addon.efi"},
	{"addon/malformed", "", "disk --esp loader/addons/a.addon.efi=zero", "disk.img", addon + "mkimage uki addon --stub $ADDON --cmdline quiet $SB --output a.addon.efi; put a.addon.efi loader/addons/a.addon.efi"},
	{"addon/machine", "", addon + `mkimage uki addon --stub $ADDON --cmdline quiet --output a.addon.efi; at=$(od -An -tu4 -j60 -N4 a.addon.efi); printf '\144\252' | dd of=a.addon.efi bs=1 seek=$((at + 4)) conv=notrunc; disk --esp loader/addons/a.addon.efi=loader; put a.addon.efi loader/addons/a.addon.efi`, "disk.img",
		addon + "mkimage uki addon --stub $ADDON --cmdline quiet $SB --output a.addon.efi; put a.addon.efi loader/addons/a.addon.efi"},
	{"addon/cmdline", "", addon + `mkimage uki addon --stub $ADDON --cmdline quiet --output a.addon.efi; printf '\377' >x; editpe a.addon.efi .cmdline=x; disk --esp loader/addons/a.addon.efi=a.addon.efi`, "disk.img",
		addon + "mkimage uki addon --stub $ADDON --cmdline quiet $SB --output a.addon.efi; put a.addon.efi loader/addons/a.addon.efi"},
	{"addon/image", "", addon + "mkimage uki addon --stub $ADDON --cmdline quiet --output a.addon.efi; echo quiet composefs.ref=other >x; editpe a.addon.efi .cmdline=x; disk --esp loader/addons/a.addon.efi=a.addon.efi", "disk.img",
		addon + "mkimage uki addon --stub $ADDON --cmdline quiet $SB --output a.addon.efi; put a.addon.efi loader/addons/a.addon.efi"},
	{"addon/unsigned", "no signature|not signed", addon + "mkimage uki addon --stub $ADDON --cmdline quiet --output a.addon.efi; disk --esp loader/addons/a.addon.efi=a.addon.efi", "disk.img",
		addon + "mkimage uki sign $SB --output a.addon.efi a.addon.efi; put a.addon.efi loader/addons/a.addon.efi"},
	{"addon/unsigned", "another program", addon + "mkimage uki addon --stub $ADDON --cmdline quiet $SB --output a.addon.efi; sed -i s/quiet/QUIET/ a.addon.efi; disk --esp loader/addons/a.addon.efi=a.addon.efi", "disk.img",
		addon + "mkimage uki sign --replace $SB --output a.addon.efi a.addon.efi; put a.addon.efi loader/addons/a.addon.efi"},
	{"addon/stub", "", addon + "mkimage uki addon --stub $ADDON --cmdline quiet --output a.addon.efi; editpe a.addon.efi; disk --esp loader/addons/a.addon.efi=a.addon.efi", "disk.img", smallAddon},
	{"addon-program", "/etc/systemd/system/x.service", addon + packed + "etc/systemd/system/x.service", "disk.img", smallAddon},
	{"addon-program", "/init", addon + packed + "init", "disk.img", smallAddon},
	{"addon-trust", "keys.d/x.pub", addon + packed + "usr/lib/composefs/keys.d/x.pub", "disk.img", smallAddon},
	{"addon-program", "/etc/x", addon + packed + "etc/x", "disk.img", smallAddon},
	{"addon-files", "/usr/lib/firmware/x", addon + packed + "usr/lib/firmware/x", "disk.img", smallAddon},
	{"repository", "", `root 'unlink /composefs/images'`, "disk.img", "disk"},
	{"repository/unreadable", "", "start=$(sfdisk --dump disk.img | sed -nE 's/.*start= *([0-9]+),.*name=\"root\".*/\\1/p'); mkfs.xfs -q -f xfs.img -d file,size=300m; dd if=xfs.img of=disk.img bs=512 seek=$start conv=notrunc status=none; printf '\\177ELF' >modules/6.12.1-test/kernel/xfs.ko; printf 'kernel/xfs.ko:\\n' >>modules/6.12.1-test/modules.dep; initrd --root-fs xfs; uki; put linux.efi EFI/BOOT/BOOTX64.EFI",
		"disk.img", "doctor disk.img --repo repo"},
}

// smallAddon makes one with an argument and nothing else.
const smallAddon = addon + "mkimage uki addon --stub $ADDON --cmdline quiet $SB --output a.addon.efi; put a.addon.efi loader/addons/a.addon.efi"

// packed makes an addon whose initrd has a public key under the name that follows.
const packed = `over() { mkdir -p over/$(dirname $1); cp ours.pub over/$1; (cd over; find . -mindepth 1 -printf '%P\n' | cpio --quiet -o -H newc) >over.cpio
mkimage uki addon --stub $ADDON --initrd over.cpio $SB --output a.addon.efi; disk --esp loader/addons/a.addon.efi=a.addon.efi; }; over `

// extended adds a partition for boot loader entries, with nothing on it.
const extended = `
truncate -s +48M disk.img
sfdisk -q --relocate gpt-bak-std disk.img
echo 'type=bc13c2ff-59e6-4262-a352-b275fd6f7172' | sfdisk -q --append disk.img
start=$(sfdisk --dump disk.img | sed -nE 's/.*start= *([0-9]+),.*type=BC13.*/\1/p'); 
echo "start=$start" >start
`

// kernelAndInitrd is a good boot loader entry of type 1.
const kernelAndInitrd = `entry 'linux /kernel' 'initrd /initrd.img' "$options"`

// entryRemedies are about boot loader entries of type 1.
var entryRemedies = []trial{
	{"entry/malformed", "", `entry 'linux /kernel' 'initrd /initrd.img' "$options"; printf 'linux \377\n' >x; put x loader/entries/a.conf`, "disk.img", kernelAndInitrd},
	{"entry/nothing", "", "entry 'version 1'", "disk.img", kernelAndInitrd},
	{"uki/entry", "", `entry 'uki /kernel' "$options"`, "disk.img", "put linux.efi kernel"},
	{"options", "", `entry 'efi /linux.efi' 'options root=PARTLABEL=root ro composefs.ref=stable'`, "disk.img", "entry 'efi /linux.efi'"},
	{"unsigned/entry", "", kernelAndInitrd, "disk.img", "disk"},
	{"initrd/entry", "", `entry 'linux /kernel' "$options"`, "disk.img", kernelAndInitrd},
	{"architecture", "", `entry 'linux /kernel' 'initrd /initrd.img' 'architecture aa64' "$options"`, "disk.img", `entry 'linux /kernel' 'initrd /initrd.img' 'architecture x64' "$options"`},
	{"kernel/entry", "", `entry 'linux /zero' 'initrd /initrd.img' "$options"`, "disk.img", "put kernel zero"},
	{"kernel-version/entry", "", `entry 'linux /plain' 'initrd /initrd.img' "$options"`, "disk.img", "uki --linux plain --uname 6.12.1-test; entry 'uki /linux.efi'"},
	{"kernel/absent", "", kernelAndInitrd + "; take kernel", "disk.img", "put kernel kernel"},
	{"initrd/absent", "", kernelAndInitrd + "; take initrd.img", "disk.img", "put initrd.img initrd.img"},
	{"uki/absent", "", `entry 'uki /absent.efi'`, "disk.img", "put linux.efi absent.efi"},
	{"efi", "", `entry 'efi /absent.efi'`, "disk.img", "entry 'efi /linux.efi'"},
	{"devicetree", "", `entry 'linux /kernel' 'initrd /initrd.img' 'devicetree /absent.dtb' "$options"`, "disk.img", "put zero absent.dtb"},
	{"devicetree-overlay", "", `entry 'linux /kernel' 'initrd /initrd.img' 'devicetree-overlay /zero /absent.dtbo' "$options"`, "disk.img", "put zero absent.dtbo"},
}

// storeRemedies are about the image and its objects, in a repository or on a disk.
var storeRemedies = []trial{
	{"digest", "", "o=repo/objects/$(object); damage $o 1200; rm -f $o; cp o $o", "linux.efi --repo repo", "build"},
	{"digest", "", "o=repo/objects/$(object); damage $o 9000; rm -f $o; cp o $o", "--repo repo stable", "build"},
	{"digest", "", "damage repo/objects/$(object) 1200; root \"unlink /composefs/objects/$(object)\" \"write o /composefs/objects/$(object)\"", "disk.img", "disk"},
	{"fs-verity/image", "", `root "sif /composefs/objects/$(object) flags 0x80000"`, "disk.img", "disk"},
	{"image/none", "", "rm repo/images/$(hex)", "linux.efi --repo repo", "build"},
	{"image/none", "", "IMAGE=$(tr a-f b-fa <digest) uki", "linux.efi --repo repo", "uki"},
	{"image/none", "", `root "unlink /composefs/images/$(hex)"`, "disk.img", "disk"},
	{"image/ref", "", "IMAGE=composefs.ref=unstable uki", "linux.efi --repo repo", "build --ref unstable"},
	{"image/ref", "", "IMAGE=composefs.ref=unstable uki", "linux.efi --repo repo", "IMAGE=composefs.ref=stable uki"},
	{"image/unreadable", "", "o=repo/objects/$(object); rm -f $o; mkdir $o", "linux.efi --repo repo", "rmdir repo/objects/$(object); build"},
	{"image/stored", "", "store zero; uki", "linux.efi --repo repo", "rest"},
	{"image/tree", "", `cp repo/images/$(hex) bad; chmod u+w bad; tr "\0" "\377" <zero | dd of=bad bs=1 count=400 seek=1280 conv=notrunc; store bad; uki`, "linux.efi --repo repo", "rest"},
	{"image/malformed", "", "cp repo/images/$(hex) bad; chmod u+w bad; truncate -s 1500 bad", "bad", "mkimage build --boot --output bad root"},
	{"seal", "", "rm repo/seals/*", "linux.efi --repo repo", "mkimage seal --repo repo --key ours.key --sequence 8 stable"},
	{"seal", "", "mkimage seal --repo repo --key other/theirs.key --sequence 8 stable", "linux.efi --repo repo", "mkimage seal --repo repo --key ours.key --sequence 9 stable"},
	{"seal", "", `root "unlink /composefs/seals/$(hex).seal"`, "disk.img", "mkimage seal --repo repo --key ours.key --sequence 8 stable; disk"},
	{"objects", "", "rm -f repo/objects/$(content)", "linux.efi --repo repo", "build"},
	{"objects", "", "rm -f repo/objects/$(content)", "--repo repo stable", "build"},
	{"objects", "", `root "unlink /composefs/objects/$(content)"`, "disk.img", "disk"},
	{"objects", "", `o=$(content); root "link /composefs/objects/$o /composefs/moved" "unlink /composefs/objects/$o" "symlink /composefs/objects/$o ../../moved"`, "disk.img", "disk"},
	{"objects", "", `o=$(content); d=${o%/*}; root "link /composefs/objects/$d /composefs/moved" "unlink /composefs/objects/$d" "symlink /composefs/objects/$d ../moved"`, "disk.img", "disk"},
	{"objects/unreadable", "", "o=repo/objects/$(mkimage objects repo/images/$(hex) | tail -n 1); rm -f $o; mkdir $o", "linux.efi --repo repo", "o=repo/objects/$(mkimage objects repo/images/$(hex) | tail -n 1); rmdir $o; build"},
}
