package programs

import "strings"

// everywhere are packages that every Debian has because their priority is "required",
// and the ones that README installs first.
var everywhere = strings.Fields(`bash coreutils dash diffutils dpkg findutils grep gzip libc-bin login mount ncurses-bin sed tar util-linux
	apt git make sudo mawk`)

// rows has the programs of each package.
var rows = []struct{ pkg, programs string }{
	{"bash", "bash"},
	{"coreutils", `basename cat chmod chown chroot cp cut dd df dirname du env expand fold head id install ln ls mkdir mkfifo mknod
		mktemp mv nice od readlink realpath rm seq sha256sum shuf sleep sort stat sync tail tee timeout touch tr truncate uniq wc`},
	{"dash", "sh"},
	{"diffutils", "cmp diff"},
	{"dpkg", "dpkg dpkg-query"},
	{"findutils", "find xargs"},
	{"grep", "grep"},
	{"gzip", "gzip"},
	{"libc-bin", "ldconfig ldd"},
	{"mawk", "awk"},
	{"mount", "losetup mount swapoff swapon umount"},
	{"ncurses-bin", "tput"},
	{"sed", "sed"},
	{"tar", "tar"},
	{"util-linux", "blockdev flock mkswap setpriv unshare"},
	{"apt", "apt-cache apt-config apt-get"},
	{"git", "git"},
	{"make", "make"},
	{"sudo", "sudo"},

	{"acl", "getfacl setfacl"},
	{"attr", "setfattr"},
	{"binutils", "objcopy objdump"},
	{"btrfs-progs", "mkfs.btrfs"},
	{"busybox-static", "busybox"},
	{"bzip2", "bzip2"},
	{"cpio", "cpio"},
	{"dosfstools", "fsck.fat fsck.vfat mkfs.vfat"},
	{"e2fsprogs", "chattr debugfs dumpe2fs e2fsck filefrag mke2fs mkfs.ext4 tune2fs"},
	{"erofs-utils", "fsck.erofs"},
	{"fdisk", "sfdisk"},
	{"fsverity", "fsverity"},
	{"gdisk", "sgdisk"},
	{"golang-go", "go gofmt"},
	{"kmod", "depmod modprobe"},
	{"libarchive-tools", "bsdtar"},
	{"lz4", "lz4"},
	{"mandoc", "mandoc"},
	{"minisign", "minisign"},
	{"osslsigncode", "osslsigncode"},
	{"mmdebstrap", "mmdebstrap"},
	{"mtools", "mcopy mdel mdir mmd mren mtype"},
	{"openssl", "openssl"},
	{"procps", "pgrep"},
	{"python3", "python3"},
	{"qemu-system-x86", "qemu-system-x86_64"},
	{"sbsigntool", "sbattach sbsign sbverify"},
	{"skopeo", "skopeo"},
	{"shellcheck", "shellcheck"},
	{"strace", "strace"},
	{"swtpm", "swtpm"},
	{"xfsprogs", "mkfs.xfs"},
	{"xz-utils", "xz"},
	{"zstd", "zstd"},
}

// others are programs that setup doesn't install, with their origin.
var others = map[string]string{
	"cargo":                "make interop builds cfsctl with it, and says what to do without",
	"cfsctl":               "make interop builds it",
	"composefs-info":       "ours",
	"composefs-setup-root": "ours",
	"mkcomposefs":          "ours",
	"mkimage":              "ours",
	"mount.composefs":      "ours",
	"dracut":               "of the root directory that scripts/dracut-initramfs works in",
}

// builtins are commands of the shell itself.
var builtins = strings.Fields(`. : [ break cd continue declare echo eval exec exit export false getopts hash kill local mapfile
	popd printf pushd pwd read readarray readonly return set shift shopt source test trap true type ulimit umask unset wait`)

// table maps a program to its package.
func table() map[string]string {
	m := map[string]string{}
	for _, row := range rows {
		for program := range strings.FieldsSeq(row.programs) {
			m[program] = row.pkg
		}
	}
	return m
}
