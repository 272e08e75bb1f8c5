package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/bootcfg/uki"
	"github.com/composefs-go/composefs/internal/artifact/ukiparts"
	"github.com/composefs-go/composefs/internal/boot/kernel"
	"github.com/composefs-go/composefs/internal/imagemount"
	"github.com/composefs-go/composefs/internal/testing/testutil"
)

// A mistake is a command line that goes wrong, what is said about it, and what is then
// done, which must go well: a remedy that nobody has tried is worse than none.
type mistake struct {
	name   string
	before string // for the shell
	wrong  string
	status int
	says   string // pattern of the message
	remedy string // for the shell
}

// rightInitrd, rightUKI and rightDisk are the readme's steps as they should be.
const (
	rightInitrd = "mkimage initrd --setup-root setup-root --keys mykey.pub --modules root/usr/lib/modules/6.12.1-test --compress none --output initrd.img"
	rightUKI    = `mkimage uki build --stub "$STUB" --linux kernel --uname 6.12.1-test --initrd initrd.img --cmdline "root=PARTLABEL=root ro" --image $(cat digest) --output linux.efi`
	rightSeal   = "mkimage seal --repo repo --key mykey.key --sequence 1 stable"
)

var mistakes = []mistake{
	// Keys.
	{"the public half seals", "", "mkimage seal --repo repo --key mykey.pub --sequence 1 stable", 1,
		`mykey\.pub: want a minisign private key, found a public key: name mykey\.key`, rightSeal},
	{"the public half seals a build", "", "mkimage build --repo repo --boot --seal mykey.pub --sequence 1 root", 1,
		`mykey\.pub: want a minisign private key, found a public key: name mykey\.key`, "mkimage build --repo repo --boot --seal mykey.key --sequence 1 root"},
	{"the public half without the other", "mv mykey.key elsewhere.key", "mkimage seal --repo repo --key mykey.pub --sequence 1 stable", 1,
		"found a public key: name the other half of the pair", "mkimage seal --repo repo --key elsewhere.key --sequence 1 stable"},
	{"the secret half is trusted", "", strings.Replace(rightInitrd, "mykey.pub", "mykey.key", 1), 1,
		`mykey\.key: want a minisign public key, found a private key: name mykey\.pub`, rightInitrd},
	{"an SSH key seals", "printf -- '-----BEGIN OPENSSH PRIVATE KEY-----\\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ' >id", "mkimage seal --repo repo --key id --sequence 1 stable", 1,
		"id: want a minisign private key, found a private key of OpenSSH: make a pair with `mkimage key new NAME`, and name NAME.key", "mkimage key new other && mkimage seal --repo repo --key other.key --sequence 1 stable"},
	{"an SSH key is trusted", "echo ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO me@here >id.pub", strings.Replace(rightInitrd, "mykey.pub", "id.pub", 1), 1,
		"found a public key of OpenSSH: make a pair", rightInitrd},
	{"a key of openssl", "(echo -----BEGIN PRIVATE KEY-----; head -c 3000 /dev/zero | base64) >db.key", "mkimage seal --repo repo --key db.key --sequence 1 stable", 1,
		"found a private key in PEM, as of openssl", rightSeal},
	{"a public key of signify", "cp signify.pub keys.pub", strings.Replace(rightInitrd, "mykey.pub", "signify.pub", 1), 1,
		"found a file of signify: make a pair", rightInitrd},
	{"a public key of signify in a directory", "mkdir keys && cp mykey.pub signify.pub keys", strings.Replace(rightInitrd, "mykey.pub", "keys", 1), 1,
		`keys/signify\.pub: .*found a file of signify`, "rm keys/signify.pub && " + strings.Replace(rightInitrd, "mykey.pub", "keys", 1)},
	{"a directory without a key", "mkdir keys && cp mykey.pub keys/mykey.txt", strings.Replace(rightInitrd, "mykey.pub", "keys", 1), 2,
		`--keys: keys has no file \*\.pub, and without a key the boot asks for no seal: put a public key there`, "cp mykey.pub keys && " + strings.Replace(rightInitrd, "mykey.pub", "keys", 1)},
	{"a directory with a broken key", "mkdir keys && cp mykey.pub keys && echo broken >keys/a.pub", strings.Replace(rightInitrd, "mykey.pub", "keys", 1), 1,
		`a\.pub.*want a minisign public key`, "rm keys/a.pub && " + strings.Replace(rightInitrd, "mykey.pub", "keys", 1)},
	{"two keys of one name", "mkdir keys && cp other/mykey.pub keys", rightInitrd + " --keys keys", 2,
		`--keys: two different keys have the same name, mykey\.pub: rename one`, "mv keys/mykey.pub keys/second.pub && " + rightInitrd + " --keys keys --keys mykey.pub"},
	{"an unset variable for a key", "", strings.Replace(rightInitrd, "mykey.pub", `"$UNSET"`, 1), 2,
		`--keys: want FILE, found an empty text`, rightInitrd},
	{"an unset variable for a policy", "", rightInitrd + ` --policy "$UNSET"`, 2, `--policy: want FILE, found an empty text`, rightInitrd},
	{"an empty password", ": >password", "mkimage key new --password-file password secret", 1,
		"password: want a password in its first line, found none: write one there", "echo secret >password && mkimage key new --password-file password secret && mkimage key show secret.key | grep encrypted"},
	{"a key that is there", "", "mkimage key new mykey", 1, `mykey\.key: file exists; choose another name`, "mkimage key new mykey2"},
	{"a one-use key in place of a private one", "", "mkimage seal --repo repo --one-use-key mykey.key stable", 1,
		`write mykey\.key: there is a private key, which is never replaced\nhint: name another file, or remove that one first if the key is no longer needed\n`, "mkimage seal --repo repo --one-use-key once.pub stable && mkimage key show mykey.key"},
	{"a one-use key of a build in place of a private one", "cp locked.key away.key", "mkimage build --repo repo --boot --one-use-key away.key root", 1, `write away\.key: there is a private key, which is never replaced`, "cmp locked.key away.key && mkimage build --repo repo --boot --one-use-key once.pub root"},
	{"an image in place of a private key", "openssl genpkey -algorithm RSA -out db.key 2>/dev/null", "mkimage build --output db.key root", 1, `write db\.key: there is a private key, which is never replaced`, "openssl pkey -in db.key -noout && rm db.key && mkimage build --output db.key root"},
	{"what is to be signed in place of a private key", "(echo x; openssl genpkey -algorithm RSA) >db.key 2>/dev/null; ln -s db.key link", "mkimage uki sign --to-be-signed link linux.efi", 1, `write link: there is a private key, which is never replaced`, "grep -q PRIVATE db.key && mkimage uki sign --to-be-signed tbs linux.efi"},
	{"no password and no terminal", "echo secret >password", "mkimage seal --repo repo --key locked.key --sequence 1 stable </dev/null", 1,
		"key locked.key is encrypted and there is no terminal to ask for its password: use --password-file", "mkimage seal --repo repo --key locked.key --password-file password --sequence 1 stable"},
	{"a key with the line ends of Windows", "sed 's/$/\\r/' mykey.pub >windows.pub", strings.Replace(rightInitrd, "mykey.pub", "windows.pub", 1), 1,
		`windows\.pub.*its lines end with CR LF, as Windows writes them; want LF alone`, "tr -d '\\r' <windows.pub >unix.pub && " + strings.Replace(rightInitrd, "mykey.pub", "unix.pub", 1)},
	// Command lines.
	{"a sequence in letters", "", "mkimage seal --repo repo --key mykey.key --sequence abc stable", 2, `--sequence: want a whole number that isn't negative, found "abc"`, rightSeal},
	{"a seal without a sequence", "", "mkimage build --repo repo --boot --seal mykey.key root", 2, "sealing needs --sequence N", "mkimage build --repo repo --boot --seal mykey.key --sequence 1 root"},
	{"a stray argument", "", "mkimage build --repo repo --boot root stray", 2, `want one argument, found 2: "root" "stray"`, "mkimage build --repo repo --boot root"},
	{"a stray argument to flags", "", rightInitrd + " stray", 2, `want flags only, found "stray"`, rightInitrd},
	{"no argument", "", "mkimage build --repo repo", 2, "want an argument, found none; usage: mkimage build SOURCE", "mkimage build --repo repo root"},
	{"one argument of two", "", "mkimage diff root", 2, `want another argument after "root"; usage: mkimage diff A B`, "mkimage diff root root"},
	{"a flag for a ref", "", "mkimage build --repo repo --ref -q root", 2, "--ref: want NAME after it, found -q; if that is meant, say --ref=-q", "mkimage build --repo repo --ref=-q root && mkimage verify --repo repo -- -q"},
	{"a flag for an output", "", "mkimage build -o --repo root", 2, "--output: want FILE after it, found --repo; if that is meant, say --output=--repo", "mkimage build -o image root && mkimage build --output=--repo root && test -f ./--repo"},
	{"a misspelt flag for a key", "", "mkimage seal --repo repo --key --sequense=1 stable", 2, "--key: want FILE after it, found --sequense=1", rightSeal},
	{"a flag for one of several", "", rightInitrd + " --keys --quiet", 2, "--keys: want FILE after it, found --quiet", rightInitrd + " --quiet"},
	{"a flag after short flags", "", "mkimage build -qo -q root", 2, "--output: want FILE after it, found -q", "mkimage build -qo image root"},
	{"a misspelt flag", "", "mkimage build --repo repo --sequense 1 root", 2, "there is no flag --sequense; did you mean --sequence?", "mkimage build --repo repo --seal mykey.key --sequence 1 root"},
	{"a misspelt command", "", "mkimage biuld root", 2, `unknown command "biuld"; did you mean build\?`, "mkimage build root"},
	// What an image is made of.
	{"an archive without tar:", "tar -cf root.tar -C root .", "mkimage build root.tar", 1, `root\.tar is a file: want a directory, or tar:root\.tar`, "mkimage build tar:root.tar"},
	{"an archive packed with lz4", "tar -cf - -C root . | lz4 -c >root.tar.lz4", "mkimage build tar:root.tar.lz4", 1,
		`packed with lz4: want plain, gzip or zstd; unpack it on the way: lz4 -dc root.tar.lz4 \| mkimage build tar:-$`, "lz4 -dc root.tar.lz4 | mkimage build tar:-"},
	{"a layer through a link of another", "mkdir -p low/usr/lib up/lib && ln -s usr/lib low/lib && echo x >up/lib/new && tar -cf low.tar -C low . && tar -cf up.tar -C up lib/new", "mkimage build tar:low.tar,up.tar", 1,
		`want a directory at "lib", found a symbolic link to "usr/lib"; .*say --follow-layer-links$`, "mkimage build --follow-layer-links tar:low.tar,up.tar"},
	{"an archive of many entries", "tar -cf root.tar -C root .", "mkimage build --max-entries 3 tar:root.tar", 1, "too many entries, more than 3; if you trust the archive, raise the limit with --max-entries N", "mkimage build --max-entries 100 tar:root.tar"},
	{"an archive that becomes large", "truncate -s 100M root/large && tar --sparse -cf root.tar -C root .", "mkimage build --max-expansion 1000000 tar:root.tar", 1, "it unpacks to more than 1000000 bytes; if you trust the archive, raise the limit with --max-expansion BYTES", "mkimage build --max-expansion 200000000 tar:root.tar"},
	{"an archive without its end, refused", "tar -cf whole.tar -C root sbin && head -c 4096 whole.tar >root.tar", "mkimage build --strict tar:root.tar", 1, "the archive ends here without two blocks of zeros: it may be truncated", "mkimage build tar:root.tar"},
	{"a dump without dump:", "mkimage build --output i root && mkimage dump i >root.txt", "mkimage build root.txt", 1, `root\.txt is a file: want a directory, or dump:root\.txt`, "mkimage build dump:root.txt"},
	{"an unset variable for an archive", "", `mkimage build "tar:$UNSET"`, 2, `SOURCE: want tar:FILE\[,FILE…\], found an empty name in "tar:"`, "tar -cf root.tar -C root . && mkimage build tar:root.tar"},
	{"an unset variable for a directory", "", `mkimage build "$UNSET"`, 2, `SOURCE: want a directory, found an empty text`, "mkimage build root"},
	{"an unset variable among layers", "", `mkimage diff root "tar:a,,b"`, 2, `SOURCE: want tar:FILE.*, found an empty name in "tar:a,,b"`, "mkimage diff root root"},
	{"standard input without a kind", "", "tar -cC root . | mkimage build -", 2, "SOURCE: for standard input say what is in it: tar:-, dump:- or crfs:-", "tar -cC root . | mkimage build tar:-"},
	{"a text for an archive", "", "mkimage build tar:digest", 1, "digest is a text: want a tar archive$", "mkimage build root"},
	{"a UKI for an archive", "", "mkimage build tar:linux.efi", 1, "linux.efi is an EFI program: want a tar archive$", "mkimage build root"},
	{"a directory for an archive", "", "mkimage build tar:root", 1, "root is a directory: want a tar archive, or the name of the directory alone", "mkimage build root"},
	{"an archive for a dump", "tar -cf root.tar -C root .", "mkimage build dump:root.tar", 1, "root.tar is a tar archive: want a dump$", "mkimage build tar:root.tar"},
	{"bytes for a dump", "head -c 5000 /dev/zero | tr '\\0' '\\377' >bytes", "mkimage build dump:bytes", 1, "bytes is no text: want a dump$", "mkimage build root"},
	{"a text for CRFS", "", "mkimage build crfs:digest", 1, "digest is no JSON object: want JSON as composefs-from-json took it", "mkimage build root"},
	{"a device for a directory", "", "mkimage build /dev/null", 1, "/dev/null is a character device: want a directory, or one of tar:FILE", "mkimage build root"},
	{"an image of an image", "mkimage build --output i root", "mkimage build i", 1, "i is an image already: want a directory", "mkimage build root"},
	{"a repository that is something else", "", "mkimage build --repo root root", 2, `--repo: root is SOURCE itself: name another directory`, "mkimage build --repo new root"},
	{"no such directory for the output", "", "mkimage build --output nowhere/image root", 1, "write nowhere/image: .*no such file or directory", "mkdir nowhere && mkimage build --output nowhere/image root"},
	{"the output is a directory", "mkdir out", "mkimage build --output out root", 1, "write out: want a regular file or a new name, found a directory$", "mkimage build --output out/image root"},
	{"an output where the kernel makes the files", "", "mkimage build --output /proc/image root", 1, "write /proc/image: /proc is in the kernel's proc file system, where no file can be made", "mkimage build --output image root"},
	{"an output inside the tree", "", "mkimage build --output root/image root", 2, "--output: root/image is inside root, and would be in the next image made of it: name a place outside", "mkimage build --output image root"},
	{"a repository that is a tree", "", "mkimage build --repo other root", 1, "make repository other: the directory isn't a repository and isn't empty: it has no meta\\.json, and \".*\" is in it\nhint: use a new directory\n", "mkimage build --repo new root"},
	{"a repository inside the tree", "", "cd root && mkimage build --repo var/repo .", 2, `--repo: var/repo is inside \., and would be in the next image made of it`, "mkimage build --repo new root && test ! -e root/var/repo"},
	{"a key for a cache", "", "mkimage build --cache mykey.key root", 1, "write mykey.key: there is a private key, which is never replaced", "mkimage key show mykey.key && mkimage build --cache cache root"},
	{"a cache inside the tree", "ln -s root link", "mkimage build --cache link/cache root", 2, "--cache: link/cache is inside root", "mkimage build --cache cache root"},
	{"a one-use key inside the tree", "", "mkimage build --repo repo --one-use-key root/etc/key.pub root", 2, "--one-use-key: root/etc/key.pub is inside root", "mkimage build --repo repo --one-use-key key.pub root"},
	{"an output in place of the source", "tar -cf root.tar -C root .", "mkimage build --output root.tar tar:root.tar", 2, "--output: root.tar is SOURCE too: name another file", "mkimage build --output image tar:root.tar"},
	{"an output where nothing is read", "", "mkimage build --boot --output root/etc/image root", 2, "--output: root/etc/image is inside root", "mkimage build --boot --output root/boot/image root"},
	{"a ref that looks like a digest", "", "mkimage build --repo repo --ref $(cat digest) root", 2, `--ref: .*"[0-9a-f]{64}": it looks like the digest of an image`, "mkimage build --repo repo --ref stable root"},
	{"a ref below a ref", "", "mkimage build --repo repo --ref stable/2 root", 1, "set ref stable/2: one ref's name can't begin with another's and a slash: there is a ref stable", "mkimage build --repo repo --ref stable-2 root"},
	{"a ref above a ref", "mkimage build --repo repo --ref debian/13 root", "mkimage build --repo repo --ref debian root", 1, "set ref debian: one ref's name can't begin with another's and a slash: there is a ref debian/13", "rm repo/images/refs/debian/13 && mkimage build --repo repo --ref debian root"},
	{"other settings", "", "mkimage build --repo repo --digest sha512 root", 1, "the repository was made with other settings: .*is wanted\nhint: use another directory, or the settings that it has\n", "mkimage build --repo new --digest sha512 root"},
	// The initrd.
	{"the modules of all kernels", "", strings.Replace(rightInitrd, "/6.12.1-test", "", 1), 2,
		`--modules root/usr/lib/modules: want the modules of one kernel version, found a directory with 1 of them: name one, as in .*/root/usr/lib/modules/6\.12\.1-test`, rightInitrd},
	{"the root for its modules", "", strings.Replace(rightInitrd, "/usr/lib/modules/6.12.1-test", "", 1), 2, `name one, as in .*/6\.12\.1-test`, rightInitrd},
	{"another program", "", strings.Replace(rightInitrd, "setup-root setup-root", "setup-root /bin/ls", 1), 1, "/bin/ls: want composefs-setup-root, a static program, found something else", rightInitrd},
	{"another program of ours", "", strings.Replace(rightInitrd, "setup-root setup-root", "setup-root \"$(which go)\"", 1), 1, "want composefs-setup-root, a static program, found the program go", rightInitrd},
	{"a policy that can't be parsed", "echo '[verify' >policy", rightInitrd + " --policy policy", 1, `policy: malformed setup-root-conf\.toml`, "printf '[verify]\\nminimum-sequence = 1\\n' >policy && " + rightInitrd + " --policy policy"},
	// Outputs in the place of inputs, and other losses.
	{"a UKI over its kernel", "cp kernel before", strings.Replace(rightUKI, "--output linux.efi", "--output kernel", 1), 2, "--output: kernel is what --linux names too, and would be replaced: name another file", "cmp kernel before && " + rightUKI},
	{"a disk over its UKI", "", "mkimage disk --repo repo --image stable --uki linux.efi --output linux.efi", 2, "--output: linux.efi is what --uki names too", "mkimage disk --repo repo --image stable --uki linux.efi --output disk.img"},
	{"an initrd over its key", "", rightInitrd + " --keys mykey.pub --output mykey.pub", 2, "--output: mykey.pub is what --keys names too", rightInitrd},
	{"an image over the repository's own file", "", "mkimage build --repo repo --boot --output repo/meta.json root", 2, "--output: repo/meta.json is in the repository, which has its own files: name one outside of it", "mkimage build --repo repo --boot --output image root"},
	{"a one-use key over a kept one", "", "mkimage build --repo repo --boot --one-use-key mykey.pub root", 2, "--one-use-key: mykey.pub is the public half of mykey.key, as mkimage key new names them, and would be overwritten", "mkimage build --repo repo --boot --one-use-key once.pub root"},
	// Names.
	{"a command that doesn't exist, with --help", "", "mkimage inspect --help", 2, `unknown command "inspect"; there are: `, "mkimage uki inspect --help"},
	{"help for a command that doesn't exist", "", "mkimage help uki nosuch", 2, `unknown command "nosuch"; there are: `, "mkimage help uki inspect"},
	{"a shell that isn't known", "", "mkimage completion csh", 2, `want bash or zsh or fish, found "csh"`, "mkimage completion bash"},
	{"flags that exclude each other", "mkdir layout", "mkimage oci inspect --config --manifest oci:layout", 2, "--config and --manifest exclude each other", "true"},
	{"a sequence with too many digits", "", "mkimage seal --repo repo --key mykey.key --sequence 99999999999999999999 stable", 2, "--sequence: want a whole number that isn't negative with fewer digits", rightSeal},
	{"a hash that isn't known", "", "mkimage build --digest sha384 root", 2, `want sha256 or sha512 .*, found "sha384"`, "mkimage build --digest sha512 root"},
	{"a compression that isn't known", "", rightInitrd + " --compress gzip", 2, `--compress: want zstd or none, found "gzip"`, rightInitrd + " --compress none"},
	{"doctor's repository without a thing", "", "mkimage doctor --repo repo", 2, "--repo is about a THING, and without one doctor examines the running system", "mkimage doctor --repo repo stable || test $? = 1"},
	{"an image's way of being named that isn't known", "", "mkimage build docker:debian", 1, "a source that isn't a directory begins with tar:, oci:, .* or crfs:", "true"},
	// The UKI.
	{"a UKI for a kernel", "", strings.Replace(strings.Replace(rightUKI, "--linux kernel", "--linux linux.efi", 1), "--output linux.efi", "--output other.efi", 1), 1, "--linux: linux.efi is a UKI already: want the kernel alone", rightUKI},
	{"an initrd for a kernel", "", strings.Replace(rightUKI, "--linux kernel", "--linux initrd.img", 1), 1, "--linux: initrd.img is an initrd: want a kernel", rightUKI},
	{"a kernel for an initrd", "", strings.Replace(rightUKI, "--initrd initrd.img", "--initrd kernel", 1), 1, "--initrd: kernel is an EFI program, perhaps a kernel: want an initrd", rightUKI},
	{"two images on the command line", "", strings.Replace(rightUKI, "ro\"", "composefs=$(cat digest) composefs=$(cat digest)\"", 1), 2, `--cmdline: malformed kernel command line: composefs= is there more than once: leave only one, or give several composefs\.digest=`, rightUKI},
	{"a ref beside a digest", "", strings.Replace(rightUKI, "ro\"", "composefs.ref=stable composefs=$(cat digest)\"", 1), 2, `--cmdline: malformed kernel command line: composefs\.ref=stable and composefs=[0-9a-f]+ contradict each other: leave one of them out`, rightUKI},
	{"a stub that is signed", secureBootKeys + "mkimage uki sign --sb-key db.key --sb-cert db.crt --output stub $STUB", strings.Replace(rightUKI, "$STUB", "stub", 1), 1, "the stub is signed: adding sections would break its signature\nhint: take the stub as it is in systemd's package", rightUKI + " --sb-key db.key --sb-cert db.crt"},
	{"more SBAT than the stub has room for", "{ echo sbat,1; for i in $(seq 500); do echo ours,1,us$i; done; } >sbat", rightUKI + " --sbat sbat", 1, "no room in the stub: want [0-9]+ bytes, found [0-9]+ in the stub's own section\nhint: take the stub of a newer systemd, or leave out", rightUKI},
	{"a key for Secure Boot that is encrypted", secureBootKeys + "openssl rsa -aes128 -passout pass:x -in db.key -out locked.key", "mkimage uki sign --sb-key locked.key --sb-cert db.crt --output signed.efi linux.efi", 1, "locked.key: not a key for Secure Boot: the private key is encrypted\nhint: have what mkimage uki sign --to-be-signed FILE writes signed",
		"mkimage uki sign --to-be-signed tbs linux.efi && openssl dgst -sha256 -passin pass:x -sign locked.key -out signature tbs && mkimage uki sign --add-signature signature --sb-cert db.crt --output signed.efi linux.efi"},
	{"a ref for a digest", "", strings.Replace(rightUKI, "$(cat digest)", "stable", 1), 2, `--image: want a digest, found "stable": for the ref of that name say --image composefs\.ref=stable`, strings.Replace(rightUKI, "$(cat digest)", "composefs.ref=stable", 1)},
	{"half a digest", "", strings.Replace(rightUKI, "$(cat digest)", "0f0e0f0e", 1), 2, `--image: .*want 64 or 128 hex digits, found 8`, rightUKI},
	{"a digest that an unset variable has", "", strings.Replace(rightUKI, "$(cat digest)", `"$UNSET"`, 1), 2, "--image: want DIGEST, found an empty text", rightUKI},
	// The disk.
	{"nothing to boot", "", "mkimage disk --repo repo --image stable --output disk.img", 2, "nothing to boot: say --uki FILE", "mkimage disk --repo repo --image stable --uki linux.efi --output disk.img"},
	{"a file outside of the EFI system partition", "", "mkimage disk --repo repo --image stable --uki linux.efi --esp ../x=digest --output disk.img", 1,
		`--esp "\.\./x": .*want the path of a file below the root of the partition`, "mkimage disk --repo repo --image stable --uki linux.efi --esp x=digest --output disk.img"},
	{"a directory for a file of the EFI system partition", "", "mkimage disk --repo repo --image stable --uki linux.efi --esp loader/=digest --output disk.img", 1,
		`--esp "loader/": .*want the path of a file`, "mkimage disk --repo repo --image stable --uki linux.efi --esp loader/digest=digest --output disk.img"},
	{"a program is missing", "mkdir few && ln -s $(command -v mkimage) few", "PATH=$PWD/few mkimage disk --repo repo --image stable --uki linux.efi --output disk.img", 1,
		"the program m[a-z]+ is not installed\nhint: install the package mtools", "mkimage disk --repo repo --image stable --uki linux.efi --output disk.img"},
	{"a program is missing to read a disk", "mkdir few && ln -s $(command -v mkimage) few && mkimage disk --repo repo --image stable --uki linux.efi --output disk.img", "PATH=$PWD/few mkimage doctor disk.img", 1,
		"the program m[a-z]+ is not installed\nhint: install the package mtools", "mkimage doctor --json disk.img >report || grep -q '\"kind\": \"disk\"' report"},
	{"no such image", "", "mkimage disk --repo repo --image unstable --uki linux.efi --output disk.img", 4, `no such image: there is no ref "unstable"`, "find repo/images -type l | grep stable && mkimage disk --repo repo --image stable --uki linux.efi --output disk.img"},
	{"no such repository", "", "mkimage verify --repo nowhere stable", 1, "not a repository: open nowhere: no such file or directory\nhint: if the name is right, make it with: mkimage repo init nowhere\n", "mkimage repo init nowhere && mkimage build --repo nowhere --ref stable root && mkimage verify --repo nowhere stable"},
	// Looking at things.
	{"doctor of a key", "", "mkimage doctor mykey.pub", 1, `mykey\.pub is a public key, which doctor can't examine: want a UKI, an initrd, an image or a disk`, "mkimage doctor initrd.img"},
	{"doctor of a directory", "", "mkimage doctor root", 1, "root is a directory: want a UKI, an initrd, an image or a disk; make an image of it with mkimage build", "mkimage build -o image root && mkimage doctor image || test $? = 1"},
	{"doctor of a repository", "", "mkimage doctor repo", 1, "repo is a repository: name one of its images, as in mkimage doctor --repo repo IMAGE", "mkimage doctor --repo repo stable || test $? = 1"},
	{"doctor of a device", "", "mkimage doctor /dev/null", 1, "/dev/null is a character device: want a UKI", "mkimage doctor linux.efi"},
	{"doctor of an empty file", ": >empty", "mkimage doctor empty", 1, "empty is empty: want a UKI", "mkimage doctor linux.efi"},
	{"ls of a UKI", "", "mkimage ls linux.efi", 1, "linux.efi is an EFI program: want an image$", "mkimage ls --repo repo stable"},
	{"ls of an empty file", ": >empty", "mkimage ls empty", 1, "empty is empty: want an image$", "mkimage ls --repo repo stable"},
	{"diff of a key", "", "mkimage diff mykey.pub root", 2, "mykey.pub is a public key: want an image$", "mkimage diff root root"},
	{"ls of a directory", "", "mkimage ls root", 1, "root is a directory: want a regular file$", "mkimage ls --repo repo stable"},
	{"ls of a pipe", "mkfifo pipe", "mkimage ls pipe", 1, "pipe is a pipe: want a regular file$", "mkimage ls --repo repo stable"},
	{"keys that aren't there", "", "mkimage verify --repo repo --keys nokeys stable", 2, "nokeys: read the trusted keys: no such file or directory$", "mkimage verify --repo repo --keys mykey.pub stable"},
	{"modules without an index", "ln -s usr/lib root/lib && rm root/usr/lib/modules/6.12.1-test/modules.dep", rightInitrd, 1,
		`has no modules\.dep\nhint: make it with: depmod -b \S+/root 6\.12\.1-test\n`, "depmod -b root 6.12.1-test 2>log && " + rightInitrd},
	{"a module that isn't in the index", "ln -s usr/lib root/lib && sed -i /erofs/d root/usr/lib/modules/6.12.1-test/modules.dep", rightInitrd, 1,
		`lacks "erofs", which is neither .*\nhint: install .* run: depmod -b \S+/root 6\.12\.1-test\n`, "depmod -b root 6.12.1-test 2>log && " + rightInitrd},
	{"a policy that wants a key", "printf '[verify]\\nsignature = \"require\"\\n' >policy", "mkimage verify --repo repo --policy policy stable", 2, "the policy requires a signature, but there is no \\*\\.pub key in .*\nhint: add the .pub file of the signing key\n", "mkimage verify --repo repo --policy policy --keys mykey.pub stable"},
	{"a policy about seals that nobody checks", "printf '[verify]\\nsignature = \"off\"\\nminimum-sequence = 1\\n' >policy", "mkimage verify --repo repo --policy policy --keys mykey.pub stable", 2, "with signature = \"off\" no seal is checked for them\nhint: leave out the one or the other\n", "sed -i /signature/d policy && mkimage verify --repo repo --policy policy --keys mykey.pub stable"},
	{"a file for modules", "", "mkimage doctor --modules digest initrd.img", 1, "--modules: digest is a file: want a directory", "mkimage doctor --modules root/usr/lib/modules/6.12.1-test initrd.img"},
	{"doctor of a pipe", "mkfifo pipe", "mkimage doctor pipe", 1, "pipe is a pipe: want a UKI", "mkimage doctor linux.efi"},
	{"doctor of zeros", "head -c 70000 /dev/zero >zero.efi", "mkimage doctor zero.efi", 1, "zero.efi is a file of zeros, which doctor can't examine: want a UKI", "mkimage doctor linux.efi"},
	{"doctor of a program", "", "mkimage doctor setup-root", 1, "setup-root is a program, which doctor can't examine", "mkimage doctor initrd.img"},
	{"doctor of a partition", "mkfs.vfat -C esp.img 2000 >/dev/null", "mkimage doctor esp.img", 1, "esp.img is a FAT file system without a disk around it", "mkimage doctor linux.efi"},
	{"doctor of an addon", "mkimage uki addon --stub $ADDON_STUB --cmdline quiet --output q.addon.efi", "mkimage doctor q.addon.efi", 1, "q.addon.efi is an addon, which boots nothing by itself: examine a disk that has it beside its UKI, or check it with mkimage uki verify$",
		"mkimage disk --repo repo --image stable --uki linux.efi --esp loader/addons/q.addon.efi=q.addon.efi --output disk.img && mkimage doctor disk.img || test $? = 1"},
	{"doctor of a profile", "mkimage uki build --stub $ADDON_STUB --profile ID=p --output p.profile", "mkimage doctor p.profile", 1, "p.profile is a profile, which boots nothing by itself: examine the UKI that it is joined to, with mkimage uki build --join p.profile$",
		strings.Replace(rightUKI, "$STUB", "$NEWER_STUB", 1) + " --join p.profile && mkimage doctor linux.efi || test $? = 1"},
	{"doctor of a boot loader", "", "mkimage doctor $STUB", 1, "is an EFI program and no UKI, such as a kernel or a boot loader: want a UKI", "mkimage doctor linux.efi"},
	{"doctor of a text", "", "mkimage doctor digest", 1, "digest is a text, which doctor can't examine", "mkimage doctor linux.efi"},
	// Damage.
	{"an object is damaged", damage("printf x | dd of=$o conv=notrunc"), "mkimage verify --repo repo --objects stable", 5, "object .*digest mismatch: .*restore it, or build the image again", rebuildAndVerify},
	{"an object is a link", "o=repo/objects/$(mkimage objects repo/images/$(cat digest) | head -n 1); mv $o o; ln -s $PWD/o $o", "mkimage verify --repo repo --objects stable", 5, "open object .*: repo/objects/.*: want a regular file, found a symbolic link; overlayfs reads only that: remove what is there, and build the image again", "test $(mkimage missing --repo repo stable | wc -l) = 1 && rm $(find repo/objects -type l) && " + rebuildAndVerify},
	{"the objects are behind a link", "mv repo/objects objects; ln -s ../objects repo/objects", "mkimage build --repo repo root", 1, "repo/objects: want a directory, found a symbolic link\nhint: neither the boot nor overlayfs follows a link there: move what it leads to into its place\n", "rm repo/objects && mv objects repo/objects && " + rebuildAndVerify},
	{"an object is missing", damage("rm $o"), "mkimage verify --repo repo --objects stable", 4, `no such object: repo/objects/[0-9a-f]{2}/[0-9a-f]{62}\nhint: .*build the image into repo again`, rebuildAndVerify},
	{"an object is damaged for a disk", damage("printf x | dd of=$o conv=notrunc"), "mkimage disk --repo repo --image stable --uki linux.efi --output disk.img", 5,
		"digest mismatch: .*\nhint: build the image into repo again: that replaces what is damaged\n", "mkimage build --repo repo --boot --ref stable root && mkimage disk --repo repo --image stable --uki linux.efi --output disk.img"},
	{"an object is missing for a disk", damage("rm $o"), "mkimage disk --repo repo --image stable --uki linux.efi --output disk.img", 4, `no such object: repo/objects/[0-9a-f]{2}/[0-9a-f]{62}\nhint: .*build the image into repo again`, rebuildAndVerify},
	{"an object is cut short", damage("truncate -s -1 $o"), "mkimage verify --repo repo --objects stable", 5, "digest mismatch", rebuildAndVerify},
	{"the image is damaged", "i=repo/images/$(cat digest); cp $i i; rm -f $(readlink -f $i); cp i $(readlink -m $i) && chmod u+w $i && printf x | dd of=$i conv=notrunc seek=1200 bs=1", "mkimage verify --repo repo stable", 5, "mismatch", rebuildAndVerify},
	{"the image is missing", "rm $(readlink -f repo/images/$(cat digest))", "mkimage verify --repo repo stable", 4,
		`no such image: the object of image [0-9a-f]{64} is gone, repo/objects/[0-9a-f]{2}/[0-9a-f]{62}\nhint: .*build the image into repo again`, rebuildAndVerify},
	{"the image is missing for ls", "rm $(readlink -f repo/images/$(cat digest))", "mkimage ls --repo repo stable", 4,
		`no such image: the object of image [0-9a-f]{64} is gone, repo/objects/[0-9a-f]{2}/[0-9a-f]{62}\nhint: .*build the image into repo again`, rebuildAndVerify},
	{"the image's name is missing", "rm repo/images/$(cat digest)", "mkimage verify --repo repo stable", 4, `no such image: there is no repo/images/[0-9a-f]{64}\nhint: list what there is with: find repo/images -type l`, rebuildAndVerify},
	{"a repository with a space", "mv repo 'my repo'", "mkimage verify --repo 'my repo' nothing", 4, "\nhint: list what there is with: find 'my repo'/images -type l", "find 'my repo'/images -type l"},
	{"a repository that lost its meta.json", "rm repo/meta.json", "mkimage verify --repo repo stable", 1, "the repository repo has lost its meta.json\nhint: write that file again with: mkimage repo init repo\n", "mkimage repo init repo && mkimage verify --repo repo --objects stable"},
	{"a build into one that lost its meta.json", "rm repo/meta.json", "mkimage build --repo repo --boot root", 1, "the repository repo has lost its meta.json\nhint: write that file again with: mkimage repo init repo\n", "mkimage repo init repo && " + rebuildAndVerify},
	{"a repository of SHA-512 that lost its meta.json", "mkimage build --repo big --digest sha512 --format v2 --ref stable root; truncate -s 0 big/meta.json", "mkimage repo init --digest sha256 big", 1,
		"restore meta.json of big: .*/[0-9a-f/]{126,128} shows that it has fsverity-sha512-12, wanted is fsverity-sha256-12", "mkimage repo init big && mkimage verify --repo big --objects stable && grep sha512 big/meta.json && grep '\"default\": 2' big/meta.json"},
	{"another default for one that lost its meta.json", "rm repo/meta.json", "mkimage repo init --format v0 repo", 1,
		"restore meta.json of repo: .*images/[0-9a-f]{64} shows that it has images of format v1, wanted is v0", "mkimage repo init repo && mkimage verify --repo repo --objects stable && grep '\"default\": 1' repo/meta.json || grep v1_erofs repo/meta.json"},
	{"a meta.json that was cut", "truncate -s 100 repo/meta.json", "mkimage verify --repo repo stable", 1, "the repository repo has an unusable meta.json: it stops being JSON at byte 100 of 100\nhint: write that file again with: mkimage repo init repo\n", "mkimage repo init repo && mkimage verify --repo repo --objects stable"},
	{"a meta.json of a newer program", "sed -i 's/\"version\": 1/\"version\": 2/' repo/meta.json", "mkimage repo init repo", 1, "want version 1, found 2: a newer program made it\nhint: use a newer mkimage\n", "sed -i 's/\"version\": 2/\"version\": 1/' repo/meta.json && mkimage verify --repo repo stable"},
	{"there is no seal", "rm repo/seals/*", "mkimage verify --repo repo --keys mykey.pub stable", 6, `want a statement in the file [0-9a-f]{64}\.seal\nhint: seal it with: mkimage seal --repo repo --key KEY --sequence N [0-9a-f]{64}\n`, rightSeal + " && mkimage verify --repo repo --keys mykey.pub stable"},
	{"the image is damaged, and measured", "i=repo/images/$(cat digest); cp $i i; rm -f $(readlink -f $i); cp i $(readlink -m $i) && chmod u+w $i && printf x | dd of=$i conv=notrunc seek=1200 bs=1", "mkimage measure --repo repo --pcr --root-uuid unknown stable", 5, "mismatch", rebuildAndVerify},
	{"the seal is damaged", "printf X | dd of=repo/seals/$(cat digest).seal conv=notrunc seek=20 bs=1", "mkimage verify --repo repo --keys mykey.pub stable", 6, "was changed or cut off\nhint: seal the image again: mkimage seal --repo repo --key KEY --sequence N [0-9a-f]{64}\n", rightSeal + " && mkimage verify --repo repo --keys mykey.pub stable"},
	{"a seal without a signature", "rm repo/seals/*.minisig", "mkimage verify --repo repo --keys mykey.pub stable", 6, `want a signature in the file .*\nhint: sign it with: mkimage seal`, rightSeal + " && mkimage verify --repo repo --keys mykey.pub stable"},
	{"a seal of another image", "printf x >root/etc/x && mkimage build --repo repo --ref next --seal mykey.key --sequence 9 root >next && for s in seal seal.minisig; do cp repo/seals/$(cat next).$s repo/seals/$(cat digest).$s; done", "mkimage verify --repo repo --keys mykey.pub stable", 6,
		"seal is for another image: .*\nhint: each image needs a seal of its own: mkimage seal", "mkimage seal --repo repo --key mykey.key --sequence 9 stable && mkimage verify --repo repo --keys mykey.pub stable"},
	{"a signature of the old form", "minisign -S -l -W -s plain.key -m repo/seals/$(cat digest).seal", "mkimage verify --repo repo --keys plain.pub stable", 6,
		"in the legacy form, without prehashing: .*\nhint: sign with minisign 0.10 or later, without -l\n", "minisign -S -W -s plain.key -m repo/seals/$(cat digest).seal && mkimage verify --repo repo --keys plain.pub stable"},
	{"a signature held against no key", "mkdir keys && cp repo/seals/$(cat digest).seal new && cp repo/seals/$(cat digest).seal.minisig new.minisig", "mkimage seal --repo repo --add-signature new.minisig --keys keys stable", 6,
		"no key is trusted\nhint: name the .pub file of the signing key, or a directory that has it\n", "mkimage seal --repo repo --add-signature new.minisig --keys mykey.pub stable"},
	{"an image that is too old", "", "mkimage verify --repo repo --keys mykey.pub --minimum-sequence 2 stable", 6, "want sequence 2 or higher, found 1\nhint: take a newer image; or, if this one is to be accepted, seal it with a higher number: mkimage seal --repo repo --key KEY --sequence N [0-9a-f]{64}\n", "mkimage build --repo repo --boot --ref newer --seal mykey.key --sequence 2 root && mkimage verify --repo repo --keys mykey.pub --minimum-sequence 2 newer"},
	{"an image of another system", "printf '[verify]\nos-id = [\"debian\"]\n' >policy", "mkimage verify --repo repo --keys mykey.pub --policy policy stable", 6, "want os-id debian, found none\nhint: take an image that was sealed with this --os-id\n", "mkimage seal --repo repo --key mykey.key --sequence 2 --os-id debian stable && mkimage verify --repo repo --keys mykey.pub --policy policy stable"},
	{"an image for another ref", "mkimage build --repo repo --boot --ref b --seal mykey.key --sequence 2 --for-ref b root && cp -P repo/images/refs/b repo/images/refs/a", "mkimage verify --repo repo --keys mykey.pub a", 6, "want a, found b\nhint: let the ref point to an image that was sealed for it\n", "printf x >root/etc/x && mkimage build --repo repo --boot --ref a --seal mykey.key --sequence 3 --for-ref a root && mkimage verify --repo repo --keys mykey.pub a"},
	{"an image that is revoked", "printf '[verify]\nrevoked = [\"%s\"]\n' $(cat digest) >policy", "mkimage verify --repo repo --keys mykey.pub --policy policy stable", 6, "the policy lists .*\nhint: take another image\n", "printf x >root/etc/x && mkimage build --repo repo --boot --ref next --seal mykey.key --sequence 2 root && mkimage verify --repo repo --keys mykey.pub --policy policy next"},
	{"an image without fs-verity", "cp -r repo copy && printf '[verify]\nfs-verity = \"require\"\n' >policy", "mkimage verify --in-place --repo copy --policy policy --keys mykey.pub stable", 5, "has no fs-verity.*\nhint: .*or set \\[verify\\] fs-verity = \"userspace\" in the policy\n", "sed -i s/require/userspace/ policy && mkimage verify --in-place --repo copy --policy policy --keys mykey.pub stable"},
	{"a policy behind a link", "touch real && ln -s real policy", "mkimage verify --repo repo --keys mykey.pub --policy policy stable", 2, "policy: want a regular file, found a symbolic link\nhint: put the file itself there", "rm policy && mv real policy && mkimage verify --repo repo --keys mykey.pub --policy policy stable"},
	{"a lower sequence", "mkimage seal --repo repo --key mykey.key --sequence 5 stable", "mkimage seal --repo repo --key mykey.key --sequence 4 stable", 6, "sealed with sequence 5: want that or a higher one, found 4", "mkimage seal --repo repo --key mykey.key --sequence 6 stable && mkimage seal --repo repo --key mykey.key --sequence 4 --force stable"},
	{"a sealing that was interrupted", interruptedSealing, "mkimage --quiet seal --repo repo --add-signature new.minisig stable", 6, "refused: the image has another seal, by [0-9A-F]{16}, and without the public key it can't be checked that this signature is any good: name the key with --keys", "mkimage seal --repo repo --add-signature new.minisig --keys mykey.pub stable && mkimage verify --repo repo --keys mykey.pub --minimum-sequence 4 stable"},
	{"no such tag", "mkimage oci pull --repo repo \"oci:$LAYOUTS/basic-gzip\" os", "mkimage oci dump --repo repo os:stable", 4, "no such tag: \"os:stable\"\nhint: list what there is with: mkimage oci list --repo repo\n", "mkimage oci list --repo repo | grep ^os && mkimage oci dump --repo repo os"},
	{"a container image that is incomplete", "mkimage oci pull --repo repo \"oci:$LAYOUTS/basic-gzip\" os && rm repo/streams/oci-manifest-*", "mkimage oci dump --repo repo os", 5, "the stored container image is incomplete or damaged: .*\nhint: pull it again: mkimage oci pull --repo repo REF TAG\n", "mkimage oci pull --repo repo \"oci:$LAYOUTS/basic-gzip\" os && mkimage oci dump --repo repo os"},
	{"a release without its seal", "mkimage oci push --repo repo --platform linux/amd64 stable oci:layout:1", "mkimage oci pull --repo new --platform linux/amd64 --bootable --keys mykey.pub oci:layout:1", 4, "oci:layout:1: it has no sealed composefs image that is bootable .*\nhint: put it there with: mkimage oci push --sealed\n", "mkimage oci push --repo repo --sealed --bootable --platform linux/amd64 stable oci:layout:1 && mkimage oci pull --repo new --platform linux/amd64 --bootable --keys mykey.pub oci:layout:1 && mkimage verify --repo new --keys mykey.pub --objects $(cat digest)"},
	{"a release of an image that isn't sealed", "rm repo/seals/*", "mkimage oci push --repo repo --sealed --platform linux/amd64 stable oci:layout:1", 6, "image [0-9a-f]{64}: it isn't sealed\nhint: seal it with: mkimage seal --repo repo --key KEY --sequence N [0-9a-f]{64}\n", rightSeal + " && mkimage oci push --repo repo --sealed --platform linux/amd64 stable oci:layout:1"},
	{"a file that no layer can have", "touch root/etc/.wh.x && mkimage build --repo repo --ref x root", "mkimage oci push --repo repo --platform linux/amd64 x oci:layout:1", 1, "layer 1: /etc/.wh.x: unfit for a layer of a container image: names that begin with .wh. hide other files there\nhint: leave it out of the tree, or send the image in another way: mkimage fetch\n", "mkimage fetch --repo new --from repo $(readlink repo/images/refs/x | sed s,.*/,,) && rm root/etc/.wh.x && mkimage build --repo repo --ref x root && mkimage oci push --repo repo --platform linux/amd64 x oci:layout:1"},
	{"a container image of which no image to boot was made", "mkimage oci pull --repo repo \"oci:$LAYOUTS/bootable\" os", "mkimage oci mount --repo repo --bootable os root", 4, "sha256:[0-9a-f]{64}: no such composefs image was made of it\nhint: make it with: mkimage oci pull --repo repo REF TAG, with --bootable for one to boot\n", "mkimage oci pull --repo repo --bootable \"oci:$LAYOUTS/bootable\" os && mkimage oci list --repo repo | grep bootable"},
	{"an image that no program makes", "mkimage dump repo/images/$(cat digest) | sed 's# [0-9a-f][0-9a-f]/[0-9a-f]* # else/where #' >dump && d=$(mkimage build --output bad dump:dump) && o=objects/$(printf %.2s $d)/${d#??} && mkdir -p repo/${o%/*} && cp bad repo/$o && ln -s ../$o repo/images/$d && echo $d >bad", "mkimage verify --repo repo --objects $(cat bad)", 5, "unsound image: /.*: its content is \"else/where\", and has the digest of [0-9a-f]{2}/[0-9a-f]{62}\nhint: take another image: this one was made by an unknown program, perhaps to deceive\n", "mkimage seal --repo repo --key mykey.key --sequence 9 $(cat bad) || mkimage verify --repo repo --objects stable"},
	{"collecting where nothing is needed", "mkimage build --repo new root >image", "mkimage repo gc new", 1, "no ref, seal or tag leads to anything: everything would be removed\nhint: name the images that are needed with --keep, or say --everything if none is\n", "mkimage repo gc --keep $(cat image) new && mkimage verify --repo new $(cat image) && mkimage repo gc --everything new"},
	{"collecting while a tag leads nowhere", "mkimage oci pull --repo repo \"oci:$LAYOUTS/basic-gzip\" os && rm repo/streams/oci-manifest-*", "mkimage repo gc repo", 5, "tag os: nothing is removed, as it isn't known what is needed: no such stream: .*\nhint: build or pull it again; or if it isn't needed, remove what leads to it: a tag with mkimage oci untag, a seal with mkimage repo gc --unseal, a ref in repo/images/refs\n", "mkimage oci untag --repo repo os && mkimage repo gc repo"},
	{"a repository with a missing object", "rm -f repo/objects/$(mkimage objects repo/images/$(cat digest) | head -n 1)", "mkimage --quiet repo fsck repo >findings", 5, "repo: the repository is damaged or incomplete: 1 finding\n", "grep 'needed by ' findings && mkimage build --repo repo --boot --ref stable root && mkimage repo fsck repo"},
	{"a repository with a missing object, and a good copy of it", "cp -a repo good; rm -f repo/objects/$(mkimage objects repo/images/$(cat digest) | head -n 1)", "mkimage --quiet repo fsck repo >findings", 5, "1 finding\n", "mkimage repo fsck --repair-from good repo && mkimage verify --repo repo --objects stable"},
	{"an origin without the image", "cp -a repo origin && rm origin/objects/$(mkimage objects repo/images/$(cat digest) | head -n 1)", "mkimage fetch --repo new --from origin $(cat digest)", 4, "object [0-9a-f]{64} from origin: the origin hasn't got it\nhint: take an origin that has it all\n", "mkimage fetch --repo new --from repo --ref stable $(cat digest) && mkimage verify --repo new --objects stable"},
	{"an origin with a damaged object", "cp -a repo origin && o=origin/objects/$(mkimage objects repo/images/$(cat digest) | head -n 1) && rm -f $o && echo x >$o", "mkimage fetch --repo new --from origin $(cat digest)", 5, "object [0-9a-f]{64} from origin: the origin has other content under its name: .*\nhint: tell the people who run the origin, or take another one\n", "mkimage fetch --repo new --from repo $(cat digest)"},
	{"a seal whose image lost its name", "rm repo/images/$(cat digest) repo/images/refs/stable", "mkimage repo gc repo", 5, "seal [0-9a-f]{64}: nothing is removed, as it isn't known what is needed: no such image: .*\nhint: build or pull it again; ", "mkimage repo gc --everything --unseal $(cat digest) repo && mkimage repo fsck repo"},
	{"a file among the links", "touch repo/images/junk", "mkimage repo gc repo", 1, "repo/images/junk isn't a symbolic link, and so no work of this program\nhint: remove it, or move it out of repo\n", "rm repo/images/junk && mkimage repo gc repo"},
	{"a directory in the place of an object", "o=repo/objects/$(mkimage objects repo/images/$(cat digest) | head -n 1) && rm -f $o && mkdir $o && echo $o >where", "mkimage --quiet build --repo repo --boot --ref stable root", 1, "add object: repo/objects/[0-9a-f/]*: want a regular file, found a directory\nhint: remove that directory\n", "rmdir $(cat where) && mkimage build --repo repo --boot --ref stable root && mkimage repo fsck repo"},
	{"the seal is by another key", "", "mkimage verify --repo repo --keys other/mykey.pub stable", 6, "trusted are .*\nhint: seal it with a key that is trusted: mkimage seal --repo repo --key KEY --sequence N [0-9a-f]{64}; or trust the other's .pub file\n", "mkimage seal --repo repo --key other/mykey.key --sequence 1 stable && mkimage verify --repo repo --keys other/mykey.pub stable"},
}

// secureBootKeys makes a key for Secure Boot, and its certificate.
const secureBootKeys = "openssl req -new -x509 -newkey rsa:2048 -nodes -keyout db.key -out db.crt -days 2 -subj /CN=ours; "

// damage is a script that finds the object of a file, in a file that can be written
// to: with fs-verity the old one can't.
func damage(how string) string {
	return "o=repo/objects/$(mkimage objects repo/images/$(cat digest) | head -n 1); cp $o o; rm -f $o; cp o $o; chmod u+w $o; " + how
}

// interruptedSealing leaves signatures of other texts in every place.
const interruptedSealing = `
d=$(cat digest)
id=$(mkimage key show mykey.pub | grep -oE '[0-9A-F]{16}')
for n in 2 3 4; do
	cp -a repo repo$n
	mkimage seal --repo repo$n --key mykey.key --sequence $n stable
done
cp repo2/seals/$d.seal.minisig repo/seals/$d.seal.$id.minisig
cp repo3/seals/$d.seal.minisig repo/seals/$d.seal.$id.next.minisig
cp repo4/seals/$d.seal new
cp repo4/seals/$d.seal.minisig new.minisig
`

const rebuildAndVerify = "mkimage build --repo repo --boot --ref stable root && mkimage verify --repo repo --objects stable"

// machine makes, where it is run, what the mistakes are made with.
const machine = `
for d in boot dev proc run sys sysroot etc var sbin usr/lib; do mkdir -p root/$d; done
printf 'ID=test\n' >root/usr/lib/os-release
head -c 3000 /dev/zero | tr '\0' x >root/sbin/init
m=root/usr/lib/modules/6.12.1-test/kernel
mkdir -p $m other
for n in erofs overlay ext4 virtio_blk; do printf '\177ELF' >$m/$n.ko; printf 'kernel/%s.ko:\n' $n >>$m/../modules.dep; done
printf 'kernel/drivers/virtio/virtio_pci.ko\n' >$m/../modules.builtin
printf 'untrusted comment: signify public key\nRWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\n' >signify.pub
printf 'untrusted comment: minisign encrypted secret key\nRWRTY0IyswIKycoFtlthvweDU5ZlJrW+1cmBDW3MTfuQfwijR+kAAAACAAAAAAAAAEAAAAAA8shIEbCTdGekiHEFAgIw+jhueXX78ILM/fWlshunfwaDvtw26/wjRG3RRJ53w9PfCJC2iUUhH02sH36Dp0RSLfWhk28/uc8mzZs0iJMOsxkomY5ehUd6Mu2iDATy5z/mns6S+Ap48Yk=\n' >locked.key
mkimage key new mykey
mkimage key new other/mykey
minisign -G -W -p plain.pub -s plain.key
mkimage build --repo repo --boot --ref stable --seal mykey.key --sequence 1 root >digest
objcopy --remove-section=.sbat "$STUB" kernel
` + rightInitrd + "\n" + rightUKI + "\n"

// goesWrong are words of Go's or of a library's, which say nothing to a user.
var goesWrong = regexp.MustCompile(`strconv|invalid syntax|accepts \d+ arg|\.tmp-|parsing "|%!|<nil>|0x[0-9a-f]{8}`)

// userMachine makes the machine, and mkimage a program that the shell finds.
func userMachine(t *testing.T) (model string) {
	t.Helper()
	for _, tool := range []string{"objcopy", "mke2fs", "debugfs", "sfdisk", "mkfs.vfat", "mcopy", "tar", "openssl", "lz4", "depmod", "minisign"} {
		testutil.RequireTool(t, tool)
	}
	testutil.RequireFile(t, ukiparts.StubPath(uki.StubLinux, runtime.GOARCH))
	bin := t.TempDir()
	model = t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(bin, "mkimage")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Setenv("ADDON_STUB", addonStub(t))
	images, err := filepath.Abs(layouts)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("LAYOUTS", images)
	t.Setenv("NEWER_STUB", filepath.Join(testutil.RequireScript(t, "../../scripts/systemd-boot", "trixie"), "usr/lib/systemd/boot/efi/linuxx64.efi.stub"))
	t.Setenv("STUB", ukiparts.StubPath(uki.StubLinux, runtime.GOARCH))
	if out, err := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(model, "setup-root"), "../composefs-setup-root").CombinedOutput(); err != nil {
		t.Fatalf("build composefs-setup-root: %v\n%s", err, out)
	}
	if out, status := shell(t, model, machine); status != 0 {
		t.Fatal(out)
	}
	return model
}

func TestMistakesAreNamedWithARemedyThatWorks(t *testing.T) {
	model := userMachine(t)
	hints := map[string]bool{}
	rows := mistakes
	if os.Geteuid() == 0 {
		rows = slices.Concat(mistakes, mistakesOfRoot)
	} else {
		triedElsewhere[hintPlanted] = "the same test, if root runs it"
	}
	for _, m := range rows {
		t.Run(strings.ReplaceAll(m.name, " ", "-"), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "d")
			if out, status := shell(t, ".", `cp -a --reflink=auto "$1" "$2"`, model, dir); status != 0 {
				t.Fatal(out)
			}
			if out, status := shell(t, dir, m.before); status != 0 {
				t.Fatal(out)
			}
			out, status := shell(t, dir, m.wrong)
			message, rest, _ := strings.Cut(out, "\n")
			if status != m.status || !regexp.MustCompile("(?m)^mkimage: .*"+m.says).MatchString(message+"\n"+rest) || !strings.HasPrefix(message, "mkimage: ") {
				t.Errorf("%s\nstatus %d, want %d and %q: %s", m.wrong, status, m.status, m.says, out)
			}
			for line := range strings.Lines(rest) {
				if !strings.HasPrefix(line, "see: ") && !strings.HasPrefix(line, "hint: ") {
					t.Errorf("%s\nmore than one message: %s", m.wrong, out)
				}
				hints[strings.TrimSpace(strings.TrimPrefix(line, "hint: "))] = true
				if strings.Contains(line, "REPO") {
					t.Errorf("%s\na hint that says nothing of what was given: %s", m.wrong, out)
				}
			}
			if bad := goesWrong.FindString(out); bad != "" {
				t.Errorf("%s\nsays %q: %s", m.wrong, bad, out)
			}
			if out, status := shell(t, dir, m.remedy); status != 0 {
				t.Errorf("the remedy: %s\nstatus %d: %s", m.remedy, status, out)
			}
		})
	}
	for _, e := range exits {
		if e.hint != "" && !tried(hints, e.hint) && triedElsewhere[e.hint] == "" {
			t.Errorf("no row tries: %s", e.hint)
		}
	}
}

// mistakesOfRoot are the ones that only root can set up.
var mistakesOfRoot = []mistake{
	{"the pipe of another user takes the output", "mkdir -m 1777 t; chmod 1777 t; mkfifo t/p; chown 12345 t/p", "mkimage build root --output t/p", 1,
		"write t/p: it is a pipe that user 12345 made in a directory that everybody may write to", "mkimage build root --output out"},
	{"the link of another user takes the output", "mkdir -m 1777 t; chmod 1777 t; ln -s ../out t/l; chown -h 12345 t/l", "mkimage build root --output t/l", 1,
		"write t/l: .*it is a symbolic link that user 12345 made", "mkimage build root --output out"},
}

// triedElsewhere are the hints to which only other kernels and file systems lead, and what
// test/mount does with them.
var triedElsewhere = map[string]string{
	hintOf(lacksErr(imagemount.NotEnabled)):                     "a copied image is built again",
	hintOf(lacksErr(imagemount.FeatureOff)):                     "a repository on ext4 without the feature is mounted with --verity off",
	hintOf(lacksErr(imagemount.KernelLacks)):                    "nothing: all of its kernels have fs-verity",
	hintOf(lacksErr(imagemount.FileSystemLacks)):                "a repository on tmpfs is mounted on ext4",
	hintOf(&kernel.MissingError{Feature: kernel.OverlayVerity}): "what Linux 6.1 refuses is mounted by 6.12",
	hintOf(&kernel.MissingError{Feature: kernel.OverlayData}):   "the same",
}

func lacksErr(lack imagemount.Lack) error { return &imagemount.NoVerityError{Lack: lack} }

// hintOf returns the hint for an error, without what is put into it.
func hintOf(err error) string {
	for _, e := range exits {
		if e.is(err) {
			return e.hint
		}
	}
	return ""
}

// tried reports whether a hint is among those that were said, for some repository.
func tried(said map[string]bool, hint string) bool {
	form := regexp.MustCompile("^" + strings.NewReplacer("REPO", `\S+`, "IMAGE", "[0-9a-f]{64}", "PACKAGE", ".+", "ROOT", `\S+`, "VERSION", `\S+`).Replace(regexp.QuoteMeta(hint)) + "$")
	for text := range said {
		if form.MatchString(text) {
			return true
		}
	}
	return false
}

// shell runs a script in a directory, with args as its $1, $2, …, and returns its
// standard error. Paths go in args, as they may have spaces.
func shell(t *testing.T, dir, script string, args ...string) (stderr string, status int) {
	t.Helper()
	cmd := exec.Command("sh", append([]string{"-ec", script, "sh"}, args...)...)
	cmd.Dir = dir
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return errs.String(), cmd.ProcessState.ExitCode()
}
