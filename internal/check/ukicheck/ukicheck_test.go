package ukicheck_test

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/composefs-go/composefs/bootcfg/uki"
	"github.com/composefs-go/composefs/internal/check/ukicheck"
	"github.com/composefs-go/composefs/internal/testing/testutil"
	"github.com/composefs-go/composefs/sign"
)

const (
	amd64, arm64 = 0x8664, 0xaa64

	hex   = "0f0e0d0c0b0a09080706050403020100ffeeddccbbaa99887766554433221100"
	image = "composefs.digest=v1-sha256-12:" + hex
	line  = image + " ro root=PARTLABEL=root"

	policy = "usr/lib/composefs/setup-root-conf.toml"
	key    = "usr/lib/composefs/keys.d/ours.pub"
)

// setupRoot is what is taken for composefs-setup-root: a program with its usage in it.
func setupRoot() []byte {
	b := make([]byte, 64)
	copy(b, "\x7fELF\x02\x01\x01")
	binary.LittleEndian.PutUint16(b[16:], 2)  // an executable
	binary.LittleEndian.PutUint16(b[18:], 62) // for x86-64
	binary.LittleEndian.PutUint32(b[20:], 1)
	binary.LittleEndian.PutUint16(b[52:], 64)
	return append(b, "composefs-setup-root: verify the root image and mount it"...)
}

// tree is a good initrd, with the files put over it.
func tree(t *testing.T, over fstest.MapFS) fstest.MapFS {
	t.Helper()
	k, err := sign.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	root := fstest.MapFS{
		"init": {Data: setupRoot(), Mode: 0o755},
		key:    {Data: k.Public("").Text(), Mode: 0o644},
		policy: text("[verify]\nminimum-sequence = 3\n"),
	}
	maps.Copy(root, over)
	return root
}

func text(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s), Mode: 0o644} }

func section(name, content string) uki.Section { return uki.Section{Name: name, Data: []byte(content)} }

// good are the sections of a UKI that is as it should be.
func good(t *testing.T) []uki.Section {
	t.Helper()
	return []uki.Section{
		section(".osrel", "ID=test\nPRETTY_NAME='Test 1'\n"), section(".cmdline", line), section(".uname", "6.12.1"),
		section(".initrd", string(testutil.Cpio(tree(t, nil)))), section(".linux", "kernel"),
	}
}

// with returns the sections with another content for one, or with one more in front.
func with(sections []uki.Section, name, content string) []uki.Section {
	i := slices.IndexFunc(sections, func(s uki.Section) bool { return s.Name == name })
	if i < 0 {
		return slices.Insert(slices.Clone(sections), 0, section(name, content))
	}
	sections = slices.Clone(sections)
	sections[i].Data = []byte(content)
	return sections
}

func without(sections []uki.Section, name string) []uki.Section {
	return slices.DeleteFunc(slices.Clone(sections), func(s uki.Section) bool { return s.Name == name })
}

// read builds a program on a stub and reads it.
func read(t *testing.T, magic string, sections []uki.Section) *ukicheck.Program {
	t.Helper()
	program, err := uki.Build(testutil.EFIStub(amd64, magic), sections)
	if err != nil {
		t.Fatal(err)
	}
	p, err := ukicheck.Read(program)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A profile is read as the machine will: what it boots, and what that is verified by.
func TestWhatAProfileBoots(t *testing.T) {
	p := read(t, testutil.LinuxMagic, good(t))
	if len(p.Boots) != 1 || p.BootsErr != nil || p.DigestErr != nil {
		t.Fatalf("%d boots, errors %v, %v", len(p.Boots), p.BootsErr, p.DigestErr)
	}
	b := p.Boots[0]
	if b.Kernel != "6.12.1" || b.OS != "Test 1" || b.Cmdline != line || b.Image() != image {
		t.Errorf("found %q, %q, %q, %q", b.Kernel, b.OS, b.Cmdline, b.Image())
	}
	if len(b.Keys) != 1 || b.Keys[0].Name != "ours" || b.Policy == nil || !b.Policy.Written || b.Policy.Verify.MinimumSequence != 3 {
		t.Errorf("keys %v, policy %v", b.Keys, b.Policy)
	}
	if len(b.Problems) > 0 || len(b.Warnings) > 0 {
		t.Errorf("problems %v, warnings %q", b.Problems, b.Warnings)
	}
}

// A row is a program, and what is said of it.
type row struct {
	name       string
	magic      string // of the stub; "" for the usual one
	sections   []uki.Section
	problem    string // "" for none
	warning    string // "" for none
	unverified bool   // the problem is ErrUnverified
}

func (r row) check(t *testing.T) {
	b := read(t, r.magic, r.sections).Boots[0]
	found := errors.Join(b.Problems...)
	switch {
	case r.problem == "" && found != nil:
		t.Errorf("found the problem %v", found)
	case r.problem != "" && (found == nil || !strings.Contains(found.Error(), r.problem)):
		t.Errorf("want the problem %q, found %v", r.problem, found)
	}
	if errors.Is(found, ukicheck.ErrUnverified) != r.unverified {
		t.Errorf("that nothing would be verified is %v, want %v: %v", !r.unverified, r.unverified, found)
	}
	if warned := strings.Join(b.Warnings, "\n"); !strings.Contains(warned, r.warning) || r.warning == "" && warned != "" {
		t.Errorf("want the warning %q, found %q", r.warning, warned)
	}
}

// What nobody should vouch for is a problem, and what one should know of is a warning.
func TestWhatASignatureShouldNotVouchFor(t *testing.T) {
	g := good(t)
	initrd := func(over fstest.MapFS) []uki.Section {
		return with(g, ".initrd", string(testutil.Cpio(tree(t, over))))
	}
	cmdline := func(more string) []uki.Section { return with(g, ".cmdline", line+" "+more) }
	microcode := fstest.MapFS{"kernel/x86/microcode/GenuineIntel.bin": text("x")}
	for _, r := range []row{
		{name: "good", sections: g},
		{name: "good, with microcode", sections: with(g, ".ucode", string(testutil.Cpio(microcode)))},
		{name: "no kernel", sections: without(g, ".linux"), problem: "it has no kernel (.linux)"},
		{name: "no initrd", sections: without(g, ".initrd"), problem: "it has no initrd (.initrd)", unverified: true},
		{name: "no image", sections: with(g, ".cmdline", "quiet"), problem: `the command line names no image: "quiet"`, unverified: true},
		{name: "no initrd that can be read", sections: with(g, ".initrd", "x"), problem: ".initrd: malformed initrd"},
		{name: "a malformed command line", sections: cmdline("composefs=x"), problem: ".cmdline: malformed kernel command line"},
		{name: "the stub of addons", magic: testutil.AddonMagic, sections: g, problem: "it is built on the stub for addons, which starts no kernel"},
		{name: "another first program", sections: cmdline("rdinit=/bin/sh"), problem: ".cmdline: composefs-setup-root would not be started: rdinit=/bin/sh"},
		{name: "no initrd taken", sections: cmdline("noinitrd"), problem: "with noinitrd"},
		{name: "a shell", sections: cmdline("init=/bin/sh"), warning: ".cmdline: init=/bin/sh gives anyone at the console a shell as root"},
		{name: "a program of the disk", sections: cmdline("init=/var/x"), problem: "init=/var/x starts a program that isn't part of the image"},
		{name: "a key beside the microcode", sections: with(g, ".ucode", string(testutil.Cpio(fstest.MapFS{"kernel/x86/microcode/evil.pub": text("x")}))), problem: "is nothing that the kernel looks for"},
		{name: "a link of the initrd that leads into the microcode", sections: with(with(g, ".ucode", string(testutil.Cpio(fstest.MapFS{"kernel/x86/microcode/GenuineIntel.bin": {Data: []byte("#!/bin/sh\n"), Mode: 0o755}}))), ".initrd", string(testutil.Cpio(tree(t, fstest.MapFS{
			"kernel":                               {Data: []byte("usr/k"), Mode: fs.ModeSymlink | 0o777},
			"usr/k/x86/microcode/GenuineIntel.bin": {Data: setupRoot(), Mode: 0o755},
			"init":                                 {Data: []byte("kernel/x86/microcode/GenuineIntel.bin"), Mode: fs.ModeSymlink | 0o777},
		})))), problem: "it is a symbolic link, and already there as a directory"},
		{name: "keys in the microcode", sections: with(g, ".ucode", string(testutil.Cpio(fstest.MapFS{key: text("x")}))), problem: ".ucode, which the kernel unpacks before the initrd: not microcode alone"},
		{name: "an /init that is a script", sections: initrd(fstest.MapFS{"init": {Data: []byte("#!/bin/sh\n"), Mode: 0o755}}), problem: ".initrd doesn't start composefs-setup-root", unverified: true},
		{name: "an /init that can't be executed", sections: initrd(fstest.MapFS{"init": {Data: setupRoot(), Mode: 0o644}}), problem: ".initrd: /init is not executable"},
		{name: "a policy that can't be parsed", sections: initrd(fstest.MapFS{policy: text("[verfy]\n")}), problem: "policy in .initrd: malformed setup-root-conf.toml"},
		{name: "a policy by a link", sections: initrd(fstest.MapFS{policy: {Data: []byte("/sysroot/x"), Mode: fs.ModeSymlink | 0o777}}), problem: "policy in .initrd: /" + policy + " is a symbolic link"},
		{name: "a key that is none", sections: initrd(fstest.MapFS{"usr/lib/composefs/keys.d/x.pub": text("x")}), problem: "keys in .initrd: "},
		{name: "a command line that the policy denies", sections: with(initrd(fstest.MapFS{policy: text("[verify]\nsignature = \"off\"\n")}), ".cmdline", "ro composefs.ref=stable"), problem: "policy in .initrd: "},
		{name: "a boot loader", sections: []uki.Section{section(".osrel", "ID=x")}, problem: "it is neither a UKI nor an addon", unverified: true},
		{name: "a profile by itself", magic: testutil.AddonMagic, sections: []uki.Section{section(".profile", "ID=a"), section(".cmdline", line)}, problem: "it is a profile, which boots nothing until it is joined to a UKI", unverified: true},
	} {
		if r.magic == "" {
			r.magic = testutil.LinuxMagic
		}
		t.Run(r.name, r.check)
	}
}

// An addon is held against the same, for UKIs that aren't known.
func TestWhatASignatureOfAnAddonShouldNotVouchFor(t *testing.T) {
	cmdline := func(text string) []uki.Section { return []uki.Section{section(".cmdline", text)} }
	initrd := func(root fstest.MapFS) []uki.Section {
		return []uki.Section{section(".initrd", string(testutil.Cpio(root)))}
	}
	unit := "etc/systemd/system/composefs-setup-root.service"
	ours := tree(t, nil)
	for _, r := range []row{
		{name: "good", sections: cmdline("console=ttyS0 quiet")},
		{name: "the stub of UKIs", magic: testutil.LinuxMagic, sections: cmdline("quiet"), warning: "it is built on the stub for UKIs"},
		{name: "an image", sections: cmdline("composefs.ref=old"), problem: ".cmdline: an addon names an image, composefs.ref=old"},
		{name: "another first program", sections: cmdline("rdinit=/x"), problem: "rdinit=/x"},
		{name: "a shell", sections: cmdline("init=/bin/bash"), warning: "init=/bin/bash gives anyone at the console a shell as root"},
		{name: "a shell in the initramfs", sections: cmdline("rd.break"), warning: "rd.break gives anyone at the console a shell before anything is verified"},
		{name: "a shell after a crash", sections: cmdline("systemd.crash_shell"), warning: "if systemd crashes"},
		{name: "a debug shell, where its generator may be", sections: cmdline("rd.systemd.debug_shell"), warning: "rd.systemd.debug_shell gives"},
		{name: "a program of the disk", sections: cmdline("init=/etc/x"), problem: "init=/etc/x starts a program that isn't part of the image"},
		{name: "a mount over /usr", sections: cmdline("mount.usr=/dev/sda3"), problem: "mounts something unverified over /usr of the image"},
		{name: "microcode that is more", sections: []uki.Section{section(".ucode", string(testutil.Cpio(fstest.MapFS{key: text("x")})))}, problem: "not microcode alone"},
		{name: "firmware", sections: initrd(fstest.MapFS{"usr/lib/firmware/x": text("x")}), warning: "it puts other files over the initrd of the UKI: /usr/lib/firmware/x"},
		{name: "a newer composefs-setup-root", sections: initrd(fstest.MapFS{"init": ours["init"]}), problem: "whether the root is verified: /init"},
		{name: "another /init", sections: initrd(fstest.MapFS{"init": text("#!/bin/sh\n")}), problem: "whether the root is verified: /init"},
		{name: "a unit", sections: initrd(fstest.MapFS{unit: text("[Service]\n")}), problem: "whether the root is verified: /" + unit},
		{name: "a drop-in", sections: initrd(fstest.MapFS{unit + ".d/x.conf": text("[Service]\n")}), problem: "whether the root is verified: /" + unit + ".d/x.conf"},
		{name: "a hook of dracut", sections: initrd(fstest.MapFS{"usr/lib/dracut/hooks/mount/x.sh": text("x")}), problem: "whether the root is verified: /usr/lib/dracut/hooks/mount/x.sh"},
		{name: "a link in the place of a directory", sections: initrd(fstest.MapFS{"usr": {Data: []byte("other"), Mode: fs.ModeSymlink | 0o777}}), problem: "whether the root is verified: /usr"},
		{name: "the usual links to /usr", sections: initrd(fstest.MapFS{"lib": {Data: []byte("usr/lib"), Mode: fs.ModeSymlink | 0o777}, "sbin": {Data: []byte("/usr/sbin"), Mode: fs.ModeSymlink | 0o777}}), warning: "it puts other files over the initrd of the UKI: /lib, /sbin"},
		{name: "another link in their place", sections: initrd(fstest.MapFS{"lib": {Data: []byte("usr/lib64"), Mode: fs.ModeSymlink | 0o777}}), problem: "whether the root is verified: /lib"},
		{name: "a unit whose directory the UKI has", sections: []uki.Section{section(".initrd", string(testutil.CpioOf(testutil.Member{Name: "etc/systemd/system/x.service", Data: []byte("[Service]\n")})))}, problem: "whether the root is verified: /etc/systemd/system/x.service"},
		{name: "a key whose directory the UKI has", sections: []uki.Section{section(".initrd", string(testutil.CpioOf(testutil.Member{Name: key, Data: ours[key].Data})))}, warning: ".initrd: it puts /" + key + " over the initrd"},
		{name: "over a program: usr lib systemd systemd-executor", sections: initrd(fstest.MapFS{"usr/lib/systemd/systemd-executor": text("x")}), problem: "whether the root is verified: /usr/lib/systemd/systemd-executor"},
		{name: "over a program: etc systemd system.conf.d x.conf", sections: initrd(fstest.MapFS{"etc/systemd/system.conf.d/x.conf": text("x")}), problem: "whether the root is verified: /etc/systemd/system.conf.d/x.conf"},
		{name: "over a program: usr bin mount", sections: initrd(fstest.MapFS{"usr/bin/mount": text("x")}), problem: "whether the root is verified: /usr/bin/mount"},
		{name: "over a program: usr lib libc.so.6", sections: initrd(fstest.MapFS{"usr/lib/libc.so.6": text("x")}), problem: "whether the root is verified: /usr/lib/libc.so.6"},
		{name: "over a program: etc modprobe.d x.conf", sections: initrd(fstest.MapFS{"etc/modprobe.d/x.conf": text("x")}), problem: "whether the root is verified: /etc/modprobe.d/x.conf"},
		{name: "over a program: usr lib systemd system-environment-generators x", sections: initrd(fstest.MapFS{"usr/lib/systemd/system-environment-generators/x": text("x")}), problem: "whether the root is verified: /usr/lib/systemd/system-environment-generators/x"},
		{name: "over a program: etc fstab", sections: initrd(fstest.MapFS{"etc/fstab": text("x")}), problem: "whether the root is verified: /etc/fstab"},
		{name: "over a program: etc cmdline.d x.conf", sections: initrd(fstest.MapFS{"etc/cmdline.d/x.conf": text("x")}), problem: "whether the root is verified: /etc/cmdline.d/x.conf"},
		{name: "over a program: etc ld.so.cache", sections: initrd(fstest.MapFS{"etc/ld.so.cache": text("x")}), problem: "whether the root is verified: /etc/ld.so.cache"},
		{name: "over a program: usr lib credstore tmpfiles.extra", sections: initrd(fstest.MapFS{"usr/lib/credstore/tmpfiles.extra": text("x")}), problem: "whether the root is verified: /usr/lib/credstore/tmpfiles.extra"},
		{name: "over a program: .extra credentials x", sections: initrd(fstest.MapFS{".extra/credentials/x": text("x")}), problem: "whether the root is verified: /.extra/credentials/x"},
		{name: "over a program: usr lib systemd system-generators x.pub", sections: initrd(fstest.MapFS{"usr/lib/systemd/system-generators/x.pub": text("x")}), problem: "whether the root is verified: /usr/lib/systemd/system-generators/x.pub"},
		{name: "a program behind firmware", sections: initrd(fstest.MapFS{"readme": text("x"), "usr/lib/firmware/x": text("x"), "usr/lib/systemd/systemd": text("x")}), problem: "whether the root is verified: /readme, /usr/lib/systemd/systemd", warning: "other files over the initrd of the UKI: /usr/lib/firmware/x"},
		{name: "a link among firmware", sections: initrd(fstest.MapFS{"usr/lib/firmware/x": {Data: []byte("/etc"), Mode: fs.ModeSymlink | 0o777}}), warning: "UKI: /usr/lib/firmware/x"},
		{name: "a file behind a link to nowhere", sections: []uki.Section{section(".initrd", string(testutil.CpioOf(testutil.Member{Name: "usr/lib/firmware/l", Mode: fs.ModeSymlink, Data: []byte("/etc")}, testutil.Member{Name: "usr/lib/firmware/l/passwd"})))}, problem: "it is behind the link"},
		{name: "a key", sections: initrd(fstest.MapFS{key: ours[key]}), warning: ".initrd: it puts /" + key + " over the initrd of the UKI, where it decides which images are trusted"},
		{name: "a policy", sections: initrd(fstest.MapFS{policy: ours[policy]}), warning: ".initrd: it puts /" + policy + " over"},
		{name: "a policy whose keys the UKI has", sections: initrd(fstest.MapFS{policy: text("[verify]\nkeys = \"/etc/keys\"\n")}), warning: "it puts /" + policy},
		{name: "a policy that can't be parsed", sections: initrd(fstest.MapFS{policy: text("[verfy]\n")}), problem: "policy in .initrd: malformed", warning: "it puts /" + policy},
		{name: "an initrd that can't be read", sections: []uki.Section{section(".initrd", "x")}, problem: ".initrd: malformed initrd"},
	} {
		if r.magic == "" {
			r.magic = testutil.AddonMagic
		}
		t.Run(r.name, r.check)
	}
}

// All profiles name the image that is asked for, or else the same one.
func TestProfilesNameTheSameImage(t *testing.T) {
	other := strings.Replace(image, "0f0e", "1f0e", 1)
	p := func() *ukicheck.Program {
		return read(t, testutil.LinuxMagic, append(good(t), section(".profile", "ID=a"), section(".profile", "ID=b"), section(".cmdline", other+" ro")))
	}
	both := p()
	both.CompareImages(nil)
	var differ *ukicheck.DifferError
	if len(both.Boots) != 2 || len(both.Boots[0].Problems) > 0 || !errors.As(errors.Join(both.Boots[1].Problems...), &differ) || differ.Image != other || differ.First != image {
		t.Errorf("found %v", both.Boots[1].Problems)
	}
	wanted := p()
	wanted.CompareImages([]string{image})
	if len(wanted.Boots[0].Problems) > 0 || !errors.Is(errors.Join(wanted.Boots[1].Problems...), ukicheck.ErrOtherImage) {
		t.Errorf("found %v and %v", wanted.Boots[0].Problems, wanted.Boots[1].Problems)
	}
	meant := p()
	meant.CompareImages([]string{image, other})
	if len(meant.Boots[0].Problems)+len(meant.Boots[1].Problems) > 0 {
		t.Errorf("found %v and %v", meant.Boots[0].Problems, meant.Boots[1].Problems)
	}
	addon := read(t, testutil.AddonMagic, []uki.Section{section(".cmdline", "quiet")})
	addon.CompareImages([]string{image})
	if !errors.Is(errors.Join(addon.Boots[0].Problems...), ukicheck.ErrOtherImage) {
		t.Errorf("an addon isn't the image that was asked for: %v", addon.Boots[0].Problems)
	}
}

// A builder gets no UKI that would boot another image than was meant.
func TestWhatWasBuiltNamesWhatWasMeant(t *testing.T) {
	g := good(t)
	for _, test := range []struct {
		name     string
		sections []uki.Section
		image    string
		part     bool
		want     string
	}{
		{"as meant", g, image, false, ""},
		{"none, as meant", with(g, ".cmdline", "ro"), "", false, ""},
		{"another", g, "composefs.ref=a", false, "profile @0: its command line names the image " + image + ", want composefs.ref=a"},
		{"none", with(g, ".cmdline", "ro"), image, false, "profile @0: its command line names no image, want " + image + ": ro"},
		{"one that wasn't meant", g, "", false, "profile @0: its command line names an image, " + image + ", and none was meant"},
		{"a part without a command line", without(g, ".cmdline"), image, true, ""},
		{"rdinit=", with(g, ".cmdline", line+" rdinit=/x"), image, false, "profile @0: .cmdline: composefs-setup-root would not be started"},
		{"a malformed command line", with(g, ".cmdline", "composefs=x"), image, false, "profile @0: malformed kernel command line"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := read(t, testutil.LinuxMagic, test.sections).CheckBuilt(test.image, test.part)
			if (err == nil) != (test.want == "") || err != nil && !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("want %q, found %v", test.want, err)
			}
		})
	}
}

// An addon fits a UKI if it is for the same machine, and the kernel keeps both command lines.
func TestAnAddonFitsAUKI(t *testing.T) {
	p := read(t, testutil.LinuxMagic, good(t))
	addon := func(machine uint16) []byte { return testutil.EFIStub(machine, testutil.AddonMagic) }
	if err := p.CheckAddon(addon(amd64), "quiet"); err != nil {
		t.Error(err)
	}
	if err := p.CheckAddon(addon(arm64), "quiet"); !errors.Is(err, uki.ErrArch) {
		t.Errorf("found %v", err)
	}
	if err := p.CheckAddon(addon(amd64), strings.Repeat("x", 2047-len(line))); !errors.Is(err, uki.ErrCmdlineLength) {
		t.Errorf("found %v", err)
	}
	if err := p.CheckAddon(addon(amd64), strings.Repeat("x", 2046-len(line))); err != nil {
		t.Error(err)
	}
}

// What isn't an EFI program isn't read.
func TestReadRefuses(t *testing.T) {
	if _, err := ukicheck.Read([]byte("MZ")); !errors.Is(err, uki.ErrFormat) {
		t.Errorf("found %v", err)
	}
}
