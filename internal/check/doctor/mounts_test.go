package doctor_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/dumpfile"
	"github.com/composefs-go/composefs/internal/check/doctor"
	"github.com/composefs-go/composefs/verity"
)

// machineIDMount is systemd's, where it can't write to /etc.
const machineIDMount = "33 24 0:24 /machine-id /etc/machine-id ro - tmpfs tmpfs rw\n"

// What lies over the image is a finding, wherever it lies and however it came there;
// what a good boot mounts is none.
func TestMountsOverTheImage(t *testing.T) {
	const (
		usr  = "90 22 " + "8:1 / /usr rw - ext4 /dev/sda1 rw\n"
		usr2 = "91 90 8:2 / /usr rw - ext4 /dev/sda2 rw\n"
	)
	at := func(place string) string { return "90 22 8:1 / " + place + " rw - ext4 /dev/sda1 rw\n" }
	for _, test := range []struct {
		name, etc string // the policy's, "overlay" if ""
		lines     string
		want      []string // beginnings of "CHECK: PROBLEM"
	}{
		{"an overlay on /usr", "", "90 22 0:99 / /usr ro - overlay overlay rw,lowerdir=/a:/usr\n", []string{"mount: /usr (overlay) is mounted over the image"}},
		{"a device below /usr", "", at("/usr/lib/systemd"), []string{"mount: /usr/lib/systemd (ext4, /dev/sda1) "}},
		{"one over the other", "", usr + usr2, []string{"mount: /usr (ext4, /dev/sda1) ", "mount: /usr (ext4, /dev/sda2) "}},
		{"one over the other, in another order", "", usr2 + usr, []string{"mount: /usr (ext4, /dev/sda2) ", "mount: /usr (ext4, /dev/sda1) "}},
		{"one over a file", "", "90 22 0:24 /x /usr/bin/login ro - tmpfs tmpfs rw\n", []string{"mount: /usr/bin/login (tmpfs) "}},
		{"one over /bin", "", at("/bin"), []string{"mount: /bin "}},
		{"system extensions", "", "90 22 0:99 / /usr ro - overlay sysext ro,lowerdir=/run/systemd/sysext/meta/usr:/usr\n", []string{"mount: /usr (overlay, sysext) "}},
		{"system extensions for /opt", "", "90 22 0:99 / /opt ro - overlay sysext ro,lowerdir=/a\n", []string{"mount: /opt (overlay, sysext) "}},
		{"configuration extensions", "", "90 24 0:99 / /etc ro - overlay confext ro,lowerdir=/a\n", []string{"mount: /etc (overlay, confext) "}},
		{"another root", "", "90 22 254:3 / / rw - ext4 /dev/vdb rw\n", []string{"mount: / (ext4, /dev/vdb) "}},
		{"the same root", "", "90 22 0:23 / / ro - overlay composefs:" + hex + " ro,verity=require\n", []string{"mount: / (overlay, composefs:"}},
		{"a place that is fine over the root", "", at("/proc") + at("/var"), nil},

		{"something on /etc", "", "90 24 8:1 / /etc rw - ext4 /dev/sda1 rw\n", []string{"mount: /etc (ext4"}},
		{"something below an /etc that is kept", "", at("/etc/pki"), nil},
		{"something below an /etc that isn't", "transient", at("/etc/pki"), []string{"mount: /etc/pki "}},
		{"a machine-id that isn't systemd's", "transient", at("/etc/machine-id"), []string{"mount: /etc/machine-id "}},
		{"an /etc where none is to be", "none", "", []string{"mount: /etc (overlay"}},
		{"an /etc of another kind", "volatile", "", []string{"mount: /etc (overlay"}},

		{"data", "", at("/srv") + at(`/srv/a\040b`) + at("/opt") + at("/home/x/usr"), nil},
		{"a name with a slash that is none", "", at(`/usr/\057var`), []string{"mount: /usr//var "}},
		{"a name with spaces of all kinds", "", at("/usr/a\\040b\u00a0\u2003\\011c\\012d\\134\\043"), []string{`mount: /usr/a b\u00a0\u2003\tc\nd\# `}},
		{"a name with escapes that are none", "", at(`/usr/\9\477\04`), []string{`mount: /usr/\9\477\04 `}},
		{"a name that only begins like one that is fine", "", at("/variant"), []string{"mount: /variant "}},
		{"a name that only begins like the programs'", "", at("/usr2"), []string{"mount: /usr2 "}},
		{"a place that is no path", "", at("net:[4026532]"), []string{"mount: net:[4026532] "}},
		{"no name of a device", "", "90 22 0:99 / /usr rw - tmpfs  rw\n", []string{"mount: /usr (tmpfs) "}},
		{"hostile words", "", "90 22 0:99 / /usr/\x1b[2J rw - fuse.\x1b]0;x\x07 a\rb rw\n", []string{`mount: /usr/\x1b[2J (fuse.\x1b]0;x\a, a\rb) `}},
	} {
		t.Run(test.name, func(t *testing.T) {
			fsys := goodSystem()
			fsys["proc/self/mountinfo"] = text(mountInfo + test.lines)
			if test.etc != "" {
				fsys["run/composefs/boot.json"] = text(strings.NewReplacer(`"etc":"overlay"`, `"etc":"`+test.etc+`"`, `"allow"`, `"forbid"`).Replace(bootJSON))
			}
			if test.etc == "none" {
				fsys["proc/self/mountinfo"] = text(strings.Replace(mountInfo, machineIDMount, "", 1))
			}
			wantFindings(t, doctor.System(fsys), test.want)
		})
	}
}

// wantFindings wants these and no others, in this order.
func wantFindings(t *testing.T, r *doctor.Report, want []string) {
	t.Helper()
	for i := range max(len(want), len(r.Findings)) {
		if i >= len(want) || i >= len(r.Findings) || !strings.HasPrefix(r.Findings[i].Check+": "+r.Findings[i].Problem, want[i]) {
			t.Errorf("want %q, found\n%s", want, r)
			return
		}
	}
}

// At a place that no list has, the image decides: what it left empty hides nothing.
func TestMountsElsewhereAreHeldAgainstTheImage(t *testing.T) {
	tree, err := dumpfile.C.Parse(strings.NewReader("/ 0 40755 2 0 0 0 0.0 - - -\n/data 0 40755 2 0 0 0 0.0 - - -\n" +
		"/opt 0 40755 2 0 0 0 0.0 - - -\n/opt/app 0 40755 2 0 0 0 0.0 - - -\n/opt/app/x 1 100755 1 0 0 0 0.0 - x -\n/srv 0 40755 2 0 0 0 0.0 - - -\n/srv/a 0 40755 2 0 0 0 0.0 - - -\n" +
		"/nix 0 40755 2 0 0 0 0.0 - - -\n/nix/store 0 40755 2 0 0 0 0.0 - - -\n/nix/store/x 1 100644 1 0 0 0 0.0 - x -\n/file 1 100644 1 0 0 0 0.0 - x -\n"))
	if err != nil {
		t.Fatal(err)
	}
	var image bytes.Buffer
	if err := erofs.Write(&image, tree, erofs.V1); err != nil {
		t.Fatal(err)
	}
	digest := verity.Sum(verity.SHA256, image.Bytes()).Hex()
	for _, test := range []struct {
		name, at string
		image    string
		want     []string
	}{
		{"over an empty directory", "/data", image.String(), nil},
		{"over what isn't in the image", "/elsewhere", image.String(), nil},
		{"over files", "/nix/store", image.String(), []string{"mount: /nix/store (tmpfs) is mounted over the image"}},
		{"over a directory of files", "/nix", image.String(), []string{"mount: /nix "}},
		{"over a file", "/file", image.String(), []string{"mount: /file "}},
		{"over a program below /opt", "/opt/app/x", image.String(), []string{"mount: /opt/app/x (tmpfs) is mounted over the image"}},
		{"over programs below /opt", "/opt/app", image.String(), []string{"mount: /opt/app "}},
		{"over an empty directory below /srv", "/srv/a", image.String(), nil},
		{"below /var, which isn't the image's", "/var/lib/x", "", nil},
		{"at what is no path", "/data/../nix", image.String(), []string{"mount: /data/../nix "}},
		{"with an image that was changed", "/data", image.String() + "x", []string{"mount: /data (tmpfs) is mounted over the image, and whether it hides anything can't be told"}},
		{"without the image", "/data", "", []string{"mount: /data (tmpfs) is mounted over the image, and whether it hides anything can't be told"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			fsys := fstest.MapFS{}
			for name, file := range goodSystem() {
				fsys[name] = text(strings.ReplaceAll(string(file.Data), hex, digest))
			}
			fsys["proc/self/mountinfo"].Data = fmt.Appendf(fsys["proc/self/mountinfo"].Data, "90 22 0:99 / %s rw - tmpfs tmpfs rw\n", test.at)
			if test.image != "" {
				fsys["sysroot/composefs/images/"+digest] = text(test.image)
			}
			wantFindings(t, doctor.System(fsys), test.want)
		})
	}
}

// Whatever else is mounted, in whatever words, does not keep a mount over /usr from
// being found.
func FuzzMounts(f *testing.F) {
	f.Add(mountInfo)
	f.Add("1 1 0:1 / / rw - rootfs rootfs rw\n")
	f.Add("22 1 0:2 / /\\040 rw shared:1 - a b c d\n\\\n")
	f.Fuzz(func(t *testing.T, mounts string) {
		if mounts != "" && !strings.HasSuffix(mounts, "\n") {
			mounts += "\n"
		}
		fsys := goodSystem()
		fsys["proc/self/mountinfo"] = text(mounts + "4294967295 22 8:1 / /usr/lib/systemd rw - ext4 /dev/sda1 rw\n")
		r := doctor.System(fsys)
		found := false
		for _, f := range r.Findings {
			found = found || f.Stops && (strings.HasPrefix(f.Problem, "/usr/lib/systemd (ext4, /dev/sda1) ") || f.Check == "mounts")
			if s := f.String(); strings.ContainsAny(s, "\n\x1b") {
				t.Errorf("%q", s)
			}
		}
		if !found {
			t.Errorf("the mount over /usr/lib/systemd is not found in\n%s\n%s", mounts, r)
		}
	})
}
