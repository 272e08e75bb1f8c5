package doctor_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/composefs-go/composefs/internal/check/doctor"
)

const (
	secureBoot = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
	mountInfo  = `22 1 0:23 / / ro,relatime shared:1 - overlay composefs:` + hex + ` ro,lowerdir+=/x,datadir+=/y,redirect_dir=on,metacopy=on,verity=require
23 22 254:2 /state/deploy/` + hex + `/var /var rw,relatime shared:2 - ext4 /dev/vda2 rw
24 22 0:30 / /etc rw,relatime shared:3 - overlay overlay rw,lowerdir=/a,upperdir=/b,workdir=/c
25 22 0:5 / /dev rw,nosuid shared:4 - devtmpfs udev rw,size=1k
26 25 0:24 / /dev/shm rw,nosuid,nodev shared:5 - tmpfs tmpfs rw
27 22 0:25 / /run rw,nosuid shared:6 - tmpfs tmpfs rw
28 22 254:2 / /sysroot rw,relatime shared:7 - ext4 /dev/vda2 rw
29 22 0:33 / /boot rw,relatime shared:8 - autofs systemd-1 rw,fd=40
31 29 254:1 / /boot rw,relatime shared:9 - vfat /dev/vda1 rw
32 23 0:40 / /var/lib/extensions ro,relatime shared:10 - tmpfs tmpfs rw,mode=755
33 24 0:24 /machine-id /etc/machine-id ro - tmpfs tmpfs rw
34 22 8:1 / /home rw - ext4 /dev/sda1 rw
`
	bootJSON = `{"version":1,"digest":"fsverity-sha256-12:` + hex + `","argument":"` + argument + `","seal":{"status":"valid","key":"0123456789ABCDEF","key-name":"ours","sequence":7},"fs-verity":"require","tpm":{"status":"off"},"policy":{"root":"","etc":"overlay","extensions":"allow"},"kernel":"6.12","features":{},"milliseconds":{},"setup-root":{"version":"1","max-rss-kib":1}}` + "\n"
)

// goodSystem was booted with everything that there is.
func goodSystem() fstest.MapFS {
	return fstest.MapFS{
		"run/composefs/boot.json": text(bootJSON),
		"proc/self/mountinfo":     text(mountInfo),
		"proc/cmdline":            text(goodLine + "\n"),
		secureBoot:                {Data: []byte{6, 0, 0, 0, 1}},
	}
}

// What the boot has proved is a fact, what it hasn't is a finding.
func TestTheRunningSystem(t *testing.T) {
	edit := func(name, from, to string) func(fstest.MapFS) {
		return func(fsys fstest.MapFS) {
			if !bytes.Contains(fsys[name].Data, []byte(from)) {
				t.Errorf("there is no %q in %s", from, name)
			}
			fsys[name] = text(strings.Replace(string(fsys[name].Data), from, to, 1))
		}
	}
	without := func(name string) func(fstest.MapFS) { return func(fsys fstest.MapFS) { delete(fsys, name) } }
	for _, test := range []struct {
		name       string
		change     func(fstest.MapFS)
		want, says string
	}{
		{"as good as it gets", func(fstest.MapFS) {}, "", ""},
		{"not booted by us", without("run/composefs/boot.json"), "not-booted", "didn't set up this root"},
		{"a record that is none", edit("run/composefs/boot.json", "{", "["), "record", "boot.json"},
		{"an endless record", func(fsys fstest.MapFS) { fsys["run/composefs/boot.json"] = text(strings.Repeat(" ", 2<<20)) }, "record", "at most"},
		{"no room for state", edit("run/composefs/boot.json", `"policy"`, `"no-room":["etc","var"],"policy"`), "?no-room", `["etc" "var"]: what is written there is lost`},
		{"no seal", edit("run/composefs/boot.json", `"valid"`, `"none"`), "?seal", "has no seal"},
		{"seal not asked for", edit("run/composefs/boot.json", `"valid"`, `"not-required"`), "?seal", "was not asked"},
		{"content not verified", edit("run/composefs/boot.json", `"fs-verity":"require"`, `"fs-verity":"userspace"`), "?content", "the content of files is not"},
		{"nothing verified", edit("run/composefs/boot.json", `"fs-verity":"require"`, `"fs-verity":"off"`), "?content", "neither the image nor"},
		{"another root", edit("proc/self/mountinfo", "composefs:0f", "composefs:0a"), "root", "want composefs:" + hex},
		{"a root of another type", edit("proc/self/mountinfo", "overlay composefs", "ext4 composefs"), "root", "(ext4), want composefs:" + hex},
		{"no root", edit("proc/self/mountinfo", "/ / ro", "/ /mnt ro"), "root", "want composefs:" + hex},
		{"a root with an upper layer", edit("proc/self/mountinfo", ",lowerdir+=/x", ",lowerdir+=/x,upperdir=/run/x"), "root", "has an upper layer"},
		{"a root with an upper layer that the policy asked for", func(fsys fstest.MapFS) {
			edit("proc/self/mountinfo", ",lowerdir+=/x", ",lowerdir+=/x,upperdir=/run/x")(fsys)
			edit("run/composefs/boot.json", `"root":""`, `"root":"transient"`)(fsys)
		}, "", ""},
		{"a layer whose name looks like an upper one", edit("proc/self/mountinfo", "lowerdir+=/x", `lowerdir+=/x\054upperdir=`), "", ""},
		{"verity by the name of a layer", edit("proc/self/mountinfo", ",verity=require", `,datadir+=/y\054verity=require`), "root", "without verity=require"},
		{"without verity", edit("proc/self/mountinfo", ",verity=require", ""), "root", "without verity=require"},
		{"no mountinfo", without("proc/self/mountinfo"), "mounts", "mountinfo"},
		{"a mountinfo that isn't one", edit("proc/self/mountinfo", " - ext4", " ext4"), "mounts", "line 2 isn't understood"},
		{"extensions are forbidden", edit("run/composefs/boot.json", `"extensions":"allow"`, `"extensions":"forbid"`), "", ""},
		{"extensions, the only way in", edit("run/composefs/boot.json", `"etc":"overlay"`, `"etc":"transient"`), "?extensions", "/var/lib/extensions"},
		{"booted with another argument", edit("proc/cmdline", argument, "composefs.ref=other"), "?cmdline", "not on the kernel command line"},
		{"malformed command line", edit("proc/cmdline", argument, "composefs=x"), "?cmdline", "composefs=x"},
		{"no command line", without("proc/cmdline"), "", ""},
		{"Secure Boot off", func(fsys fstest.MapFS) { fsys[secureBoot].Data[4] = 0 }, "?secure-boot", "Secure Boot is off"},
		{"no Secure Boot", without(secureBoot), "?secure-boot", "no UEFI Secure Boot"},
	} {
		t.Run(test.name, func(t *testing.T) {
			fsys := goodSystem()
			test.change(fsys)
			wantOne(t, doctor.System(fsys), test.want, test.says)
		})
	}
	r := doctor.System(goodSystem())
	for _, fact := range []string{"seal        by key 0123456789ABCDEF ours, sequence 7", "/etc (overlay), /var (ext4), /home (ext4): state of this machine", "checked by the kernel at every read", "secure-boot on"} {
		if !strings.Contains(r.String(), fact) {
			t.Errorf("want %q in\n%s", fact, r)
		}
	}
}

// Whatever the files of the running system say, each finding stays one line.
func FuzzSystem(f *testing.F) {
	f.Add(bootJSON, mountInfo, goodLine)
	f.Add("{}", "1 2 3 - a", "composefs")
	f.Fuzz(func(t *testing.T, record, mounts, line string) {
		r := doctor.System(fstest.MapFS{"run/composefs/boot.json": text(record), "proc/self/mountinfo": text(mounts), "proc/cmdline": text(line)})
		for _, f := range r.Findings {
			if s := fmt.Sprint(f); strings.ContainsAny(s, "\n\x1b") {
				t.Errorf("%q", s)
			}
		}
	})
}
