package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/composefs-go/composefs/bootcfg/uki"
	"github.com/composefs-go/composefs/internal/artifact/ukiparts"
	"github.com/composefs-go/composefs/internal/check/doctor"
	"github.com/composefs-go/composefs/internal/testing/testutil"
)

// A trial is a remedy of doctor's that was carried out: what was done to a good
// machine, what doctor is asked about, and what is done about what it finds, to the
// letter of its advice.
type trial struct {
	kind   doctor.Kind
	says   string // pattern of the problem, where advice alone doesn't tell it from others
	before string // for the shell, after the functions of the prelude
	doctor string // its arguments; "system" is the running system, in the directory system
	remedy string // for the shell; "doctor ARGUMENTS" where it is about these
}

// untried are the remedies that can't be tried here, and why.
var untried = map[doctor.Kind]string{
	"seal/unreadable": "these tests are run by root, who may read all",
}

func remedies() []trial {
	return slices.Concat(initrdRemedies(), argumentRemedies(), cmdlineRemedies, ukiRemedies, diskRemedies, entryRemedies, storeRemedies, imageRemedies, onDiskRemedies, systemRemedies)
}

func TestEachRemedyOfDoctorIsTried(t *testing.T) {
	all := remedies()
	for _, kind := range kindsOfFindings(t) {
		n := 0
		for _, row := range all {
			if row.kind == kind {
				n++
			}
		}
		if (n > 0) == (untried[kind] != "") {
			t.Errorf("%s: %q is tried %d times, and is untried because: %q", kind, advice[kind], n, untried[kind])
		}
	}
	for _, row := range all {
		if advice[row.kind] == "" {
			t.Errorf("%s: there is no such finding", row.kind)
		}
	}
}

func TestFindingsOfDoctorGoWhenTheirRemedyIsCarriedOut(t *testing.T) {
	model := wholeMachine(t)
	for _, row := range remedies() {
		name := strings.ReplaceAll(string(row.kind), "/", "-")
		if row.says != "" {
			name += "-" + strings.ReplaceAll(row.says, " ", "-")
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			row.try(t, model)
		})
	}
}

func (row trial) try(t *testing.T, model string) {
	dir := filepath.Join(t.TempDir(), "d")
	if out, status := shell(t, ".", `cp -a --sparse=always "$1" "$2"`, model, dir); status != 0 {
		t.Fatal(out)
	}
	if out, status := shell(t, dir, prelude+row.before); status != 0 {
		t.Fatalf("%s\nstatus %d: %s", row.before, status, out)
	}
	says := row.says
	if says == "" {
		says = ".*"
	}
	said := regexp.MustCompile("(?m)^(stops the boot|warning): " + row.kind.Check() + ": .*" + says + ".*: " + regexp.QuoteMeta(advice[row.kind]) + "$")
	if out, _ := examined(t, dir, row.doctor); !said.MatchString(out) {
		t.Errorf("doctor %s\nwant %q:\n%s", row.doctor, said, out)
	}
	args, script := row.doctor, row.remedy
	if changed, ok := strings.CutPrefix(row.remedy, "doctor "); ok {
		args, script = changed, ""
	}
	if out, status := shell(t, dir, prelude+script); status != 0 {
		t.Errorf("the remedy: %s\nstatus %d: %s", script, status, out)
	}
	out, status := examined(t, dir, args)
	if said.MatchString(out) || status != 0 || strings.Contains(out, "stops the boot") {
		t.Errorf("after the remedy, %s: status %d\n%s", row.remedy, status, out)
	}
}

// examined returns what doctor prints, and its status.
func examined(t *testing.T, dir, args string) (string, int) {
	if who, ok := strings.CutPrefix(args, "system"); ok {
		system := os.DirFS(filepath.Join(dir, "system"))
		if who != " as root" {
			system = userFS{system}
		}
		r := advise(doctor.System(system))
		if r.Stops() {
			return r.String(), exitFailure
		}
		return r.String(), 0
	}
	cmd := exec.Command("sh", "-c", "mkimage doctor "+args)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// A userFS is files as somebody sees them who isn't root and whom they don't belong
// to.
type userFS struct{ fs.FS }

func (u userFS) Open(name string) (fs.File, error) {
	f, err := u.FS.Open(name)
	if err != nil {
		return nil, err
	}
	if st, err := f.Stat(); err != nil || st.Mode()&0o004 == 0 {
		f.Close()
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return f, nil
}

// prelude is the functions of a row's scripts: the readme's steps as they should be,
// each with further flags, and ways to spoil what they made.
//
// What a system leaves for everybody to read has to be so here too, whatever the umask.
const prelude = `
umask 022
initrd() { mkimage initrd --setup-root setup-root ${KEYS---keys ours.pub} --modules ${MODULES-modules/6.12.1-test} --compress none --output initrd.img "$@"; }
uki() {
	mkimage uki build --stub "$STUB" --linux kernel --initrd initrd.img ${OSREL---os-release root/usr/lib/os-release} --cmdline "root=PARTLABEL=root ro" \
		--image ${IMAGE-$(cat digest)} ${SB---sb-key db.key --sb-cert db.crt} --output linux.efi "$@"
}
build() { mkimage build --repo repo --boot --ref stable --seal ours.key --sequence ${N-8} "$@" root >digest; }
disk() { rm -f disk.img; mkimage disk --repo repo --image stable --uki linux.efi --output disk.img "$@"; }
# damage FILE OFFSET makes o, a writable copy with another byte at the offset.
damage() { cp --no-preserve=mode "$1" o; printf x | dd of=o bs=1 seek=$2 conv=notrunc; }
# rest builds what follows from the image.
rest() { build; uki; }
# kernel VERSION makes a kernel that says so; without one it says nothing.
kernel() { cp plain kernel; if test "$1"; then printf 'Linux version %s (test)\n' "$1" >>kernel; fi; }
modules() { cp -a modules/6.12.1-test modules/$1; }
# policy LINE...
policy() { printf '%s\n' "$@" >policy; initrd --policy policy; }
# edit SCRIPT changes what is in the initrd, dracut SCRIPT makes one as our dracut module does with systemd, hook SCRIPT without.
pack() { (cd "$1" && find . -mindepth 1 | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0) >initrd.img; }
edit() { mkdir tree; (cd tree; cpio --quiet -idm --no-preserve-owner '[!d]*' <../initrd.img; eval "$1"); pack tree; }
common() {
	rm -rf tree; mkdir -p tree/usr/lib/composefs/keys.d tree/usr/lib/modules
	cp setup-root tree/usr/lib/composefs/composefs-setup-root; cp ours.pub tree/usr/lib/composefs/keys.d
	cp -a modules/6.12.1-test tree/usr/lib/modules
}
dracut() {
	common
	cp "$DRACUT/composefs-init.sh" tree/init; chmod 755 tree/init
	u=tree/usr/lib/systemd/system; mkdir -p $u
	cp "$DRACUT/composefs-setup-root.service" $u
	mkdir $u/initrd-root-fs.target.wants $u/initrd-root-fs.target.requires $u/initrd-switch-root.service.d
	ln -s ../composefs-setup-root.service $u/initrd-root-fs.target.wants; ln -s ../composefs-setup-root.service $u/initrd-root-fs.target.requires
	cp "$DRACUT/composefs-switch-root.conf" $u/initrd-switch-root.service.d/composefs.conf
	printf '\177ELF' >tree/usr/lib/systemd/systemd; chmod 755 tree/usr/lib/systemd/systemd
	mkdir tree/etc; echo ID=test >tree/etc/initrd-release
	printf '[Unit]\nWants=initrd-root-fs.target\n' >$u/initrd.target
	(cd tree; eval "$1"); pack tree
}
hook() {
	common
	printf '#!/bin/sh\n' >tree/init; chmod 755 tree/init
	mkdir -p tree/usr/lib/dracut/hooks/mount tree/usr/lib/dracut/hooks/cleanup
	cp "$DRACUT/composefs-mount.sh" tree/usr/lib/dracut/hooks/mount/50composefs-mount.sh; cp "$DRACUT/composefs-verified.sh" tree/usr/lib/dracut/hooks/cleanup/99composefs-verified.sh
	(cd tree; eval "$1"); pack tree
}
# esp PATH=FILE... makes a disk with these files for its boot loader, entry LINE... one with an entry of type 1.
esp() { for file; do set -- "$@" --esp "$file"; shift; done; rm -f disk.img; mkimage --quiet disk --repo repo --image stable --output disk.img "$@"; }
entry() {
	printf '%s\n' 'title Test' "$@" >entry.conf
	esp loader/entries/a.conf=entry.conf kernel=kernel plain=plain zero=zero initrd.img=initrd.img linux.efi=linux.efi EFI/BOOT/BOOTX64.EFI=loader
}
options="options root=PARTLABEL=root ro composefs.ref=stable"
# put FILE NAME, take NAME and get NAME FILE are about the EFI system partition.
put() { mcopy -o -i disk.img@@1M "$1" "::/$2"; }
take() { mdel -i disk.img@@1M "::/$1"; }
get() { mcopy -n -i disk.img@@1M "::/$1" "$2"; }
# root COMMAND... changes the root partition of the disk.
root() {
	start=$(sfdisk --dump disk.img | sed -nE 's/.*start= *([0-9]+),.*name="root".*/\1/p')
	for command; do printf '%s\n' "$command"; done | debugfs -w -f /dev/stdin "disk.img?offset=$((start * 512))" >log 2>&1
	! grep -v '^debugfs\|^Allocated' log
}
# hex and object are where the image lies, and the object of its init program.
hex() { cat digest; }
object() { hex | sed 's,^..,&/,'; }
content() { mkimage objects repo/images/$(hex) | head -n 1; }
# store FILE puts a file into the repository as if it were an image, whatever it is.
store() {
	mkimage measure "$1" | grep -oE '[0-9a-f]{64}' >digest
	mkdir -p repo/objects/$(dirname $(object)); cp "$1" repo/objects/$(object); ln -s ../objects/$(object) repo/images/$(hex)
}
record=system/run/composefs/boot.json
secureboot=system/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c
# booted makes what a good boot leaves in the running system.
booted() {
	rm -rf system; mkdir -p system/run/composefs system/proc/self $(dirname $secureboot) system/sysroot/composefs/images
	cat >$record <<END
{"version":1,"digest":"fsverity-sha256-12:$(hex)","argument":"composefs.digest=v1-sha256-12:$(hex)","seal":{"status":"valid","key":"0123456789ABCDEF","key-name":"ours","sequence":7},"fs-verity":"require","tpm":{"status":"off"},"policy":{"root":"","etc":"transient","extensions":"forbid"}}
END
	cat >system/proc/self/mountinfo <<END
22 1 0:23 / / ro,relatime shared:1 - overlay composefs:$(hex) ro,lowerdir+=/x,datadir+=/y,redirect_dir=on,metacopy=on,verity=require
23 22 254:2 /state/deploy/$(hex)/var /var rw,relatime shared:2 - ext4 /dev/vda2 rw
24 22 0:30 / /etc rw,relatime shared:3 - overlay overlay rw,lowerdir=/a,upperdir=/b,workdir=/c
28 22 254:2 / /sysroot rw,relatime shared:7 - ext4 /dev/vda2 rw
END
	echo "root=PARTLABEL=root ro composefs.digest=v1-sha256-12:$(hex)" >system/proc/cmdline
	printf '\6\0\0\0\1' >$secureboot
	cp repo/images/$(hex) system/sysroot/composefs/images
}
mount() { echo "90 22 8:1 / $1 rw - ${2-ext4 /dev/sda1} rw" >>system/proc/self/mountinfo; }
umount() { sed -i "\\, $1 ,d" system/proc/self/mountinfo; }
`

// wholeRoot makes a machine that doctor finds nothing wrong with.
const wholeRoot = `
for d in boot dev proc run sys sysroot etc var sbin usr/lib; do mkdir -p root/$d; done
printf 'ID=test\nPRETTY_NAME=Test\n' >root/usr/lib/os-release
program=/bin/true
cp $program root/sbin/init
ldd $program | grep -oE '/[^ ]+' | while read -r l; do mkdir -p root/$(dirname $l); cp $l root/$l; done
m=modules/6.12.1-test/kernel
mkdir -p $m other
for n in erofs overlay jbd2 virtio_blk loop; do printf '\177ELF' >$m/$n.ko; printf 'kernel/%s.ko:\n' $n >>$m/../modules.dep; done
printf '\177ELF' >$m/ext4.ko; printf 'kernel/ext4.ko: kernel/jbd2.ko\n' >>$m/../modules.dep
printf 'kernel/drivers/virtio/virtio_pci.ko\n' >$m/../modules.builtin
mkdir -p root/usr/lib/modules; cp -a modules/6.12.1-test root/usr/lib/modules
mkimage key new ours
mkimage key new other/theirs
cp "$STUB" loader
objcopy --remove-section=.sbat "$STUB" plain
head -c 65536 /dev/zero >zero
kernel 6.12.1-test
N=7 build
initrd
uki
disk
booted
`

// wholeMachine makes the machine, and mkimage a program that the shell finds.
func wholeMachine(t *testing.T) (model string) {
	t.Helper()
	for _, tool := range []string{"objcopy", "mke2fs", "debugfs", "sfdisk", "mkfs.vfat", "mcopy", "mdel", "mren", "mkfs.xfs", "cpio", "ldd"} {
		testutil.RequireTool(t, tool)
	}
	if runtime.GOARCH != "amd64" {
		t.Skip("the fixtures are for amd64")
	}
	testutil.RequireFile(t, ukiparts.StubPath(uki.StubLinux, runtime.GOARCH))
	dracut, err := filepath.Abs("../../dracut/90composefs")
	if err != nil {
		t.Fatal(err)
	}
	model, bin := t.TempDir(), t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{"mkimage", "editpe"} {
		if err := os.Symlink(self, filepath.Join(bin, program)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH")+":/usr/sbin:/sbin")
	t.Setenv("STUB", ukiparts.StubPath(uki.StubLinux, runtime.GOARCH))
	t.Setenv("NEWER_STUB", filepath.Join(testutil.RequireScript(t, "../../scripts/systemd-boot", "trixie"), "usr/lib/systemd/boot/efi/linuxx64.efi.stub"))
	t.Setenv("ADDON_STUB", addonStub(t))
	t.Setenv("DRACUT", dracut)
	if out, err := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(model, "setup-root"), "../composefs-setup-root").CombinedOutput(); err != nil {
		t.Fatalf("build composefs-setup-root: %v\n%s", err, out)
	}
	writeCertificates(t, model)
	if out, status := shell(t, model, prelude+wholeRoot); status != 0 {
		t.Fatal(out)
	}
	for _, thing := range []string{"initrd.img", "linux.efi --repo repo", "disk.img", "--repo repo stable", "system"} {
		if out, status := examined(t, model, thing); status != 0 || !strings.HasSuffix(out, "nothing found that would stop the boot") && !strings.HasSuffix(out, "nothing found that would stop the boot\n") {
			t.Fatalf("doctor %s: status %d\n%s", thing, status, out)
		}
	}
	return model
}

// writeCertificates writes db.key, and certificates for it: db.crt, one that has
// expired, and one that isn't valid yet.
func writeCertificates(t *testing.T, dir string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, der []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("db.key", "PRIVATE KEY", der)
	const year = 365 * 24 * time.Hour
	for name, from := range map[string]time.Duration{"db.crt": -year, "expired.crt": -20 * year, "early.crt": year} {
		start := time.Now().Add(from)
		template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: start, NotAfter: start.Add(10 * year)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		write(name, "CERTIFICATE", der)
	}
}

// editPE is a program of the rows' scripts: editpe FILE EDIT... changes the sections of
// a UKI, and takes its signature away. NAME=FILE gives a section another content,
// +NAME=FILE adds one, and -NAME removes it.
func editPE() {
	program, err := os.ReadFile(os.Args[1])
	if err == nil {
		program, err = editSections(program, os.Args[2:])
	}
	if err == nil {
		err = os.WriteFile(os.Args[1], program, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "editpe:", err)
		os.Exit(1)
	}
}

func editSections(program []byte, edits []string) ([]byte, error) {
	f, err := uki.Parse(strings.NewReader(string(program)))
	if err != nil {
		return nil, err
	}
	stub, err := os.ReadFile(os.Getenv("STUB"))
	if err != nil {
		return nil, err
	}
	own, err := uki.Parse(strings.NewReader(string(stub)))
	if err != nil {
		return nil, err
	}
	sections := slices.DeleteFunc(slices.Clone(f.Sections), func(s uki.Section) bool {
		return slices.ContainsFunc(own.Sections, func(o uki.Section) bool { return o.Name == s.Name })
	})
	for _, edit := range edits {
		name, file, _ := strings.Cut(edit, "=")
		if gone, ok := strings.CutPrefix(name, "-"); ok {
			sections = slices.DeleteFunc(sections, func(s uki.Section) bool { return s.Name == gone })
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if more, ok := strings.CutPrefix(name, "+"); ok {
			sections = append(sections, uki.Section{Name: more, Data: data})
			continue
		}
		i := slices.IndexFunc(sections, func(s uki.Section) bool { return s.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no section %s", name)
		}
		sections[i].Data = data
	}
	return uki.Build(stub, sections)
}
