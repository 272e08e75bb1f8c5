package boot

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/composefs-go/composefs/internal/testing/testutil"
	"github.com/composefs-go/composefs/test/vm"
)

// A Debian takes a minute to boot on an emulated processor.
const debianLimit = 6 * time.Minute

// debian is a sealed Debian with what its own dracut made for it.
type debian struct{ root, image, disk, initrd, kernel string }

func (l *lab) debian(t *testing.T) debian {
	t.Helper()
	b := need(t)
	testutil.RequireTool(t, "mmdebstrap")
	testutil.RequireRoot(t)
	root, err := run("../../scripts/debian-root")
	if err != nil {
		t.Fatalf("make a Debian root: %v", err)
	}
	d := debian{root: root}
	releases, err := filepath.Glob(filepath.Join(root, "usr/lib/modules/*"))
	if err != nil || len(releases) != 1 {
		t.Fatalf("%s has the kernels %v, want one", root, releases)
	}
	d.kernel = filepath.Join(root, "boot/vmlinuz-"+filepath.Base(releases[0]))
	d.initrd = l.once(t, "dracut.img", func(path string) error {
		_, err := run("../../scripts/dracut-initramfs", root, b.pub, l.path("composefs-setup-root"), path)
		return err
	})
	digest := l.once(t, "debian.digest", func(path string) error {
		image, err := l.mkimage("build", "--repo", l.path("debian-repo"), "--boot", "--seal", b.key, "--sequence", "1", root)
		if err != nil {
			return err
		}
		return os.WriteFile(path, []byte(image), 0o644)
	})
	text, err := os.ReadFile(digest)
	if err != nil {
		t.Fatal(err)
	}
	d.image = string(text)
	d.disk = l.once(t, "debian.img", func(path string) error {
		return l.disk(path, l.path("debian-repo"), d.image)
	})
	return d
}

// machine boots it with the systemd initramfs.
func (d debian) machine(t *testing.T, disk string) vm.Machine {
	t.Helper()
	return vm.Machine{
		Name: t.Name(), Kernel: d.kernel, Initrd: d.initrd, Disk: disk, Memory: 1024, Processors: 2,
		CommandLine: consoleArguments + "rd.emergency=poweroff " + pin(d.image),
		Credentials: []string{"composefs.proof=yes"},
		SecondPort:  filepath.Join(t.ArtifactDir(), "proof"),
	}
}

// proofLine is a line of the guest's proof for programs; see scripts/rootfs.
var proofLine = regexp.MustCompile(`(?m)^proof (\S+) ?(.*?)\r?$`)

// A Debian comes up by dracut's systemd initramfs, protected in the same way.
func TestDracut(t *testing.T) {
	d := shared.debian(t)
	m := d.machine(t, d.disk)
	c, err := m.Run(t.Context(), filepath.Join(t.ArtifactDir(), "console.log"), debianLimit, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, c.Tail(40))
	}
	t.Logf("%.1f s", c.Took.Seconds())
	text, err := os.ReadFile(m.SecondPort)
	if err != nil {
		t.Fatal(err)
	}
	proof := map[string]string{}
	for _, p := range proofLine.FindAllStringSubmatch(string(text), -1) {
		proof[p[1]] = p[2]
	}
	if _, ok := proof["done"]; !ok {
		t.Fatalf("the guest did not come to the end of its proof:\n%s\n%s", text, c.Tail(40))
	}
	if !strings.Contains(string(text), `"status":"valid"`) {
		t.Errorf("boot.json does not say that the seal is valid:\n%s", text)
	}
	root := proof["root"]
	if !strings.HasPrefix(root, "composefs:"+d.image+" overlay ro") || !strings.Contains(root, "verity=require") {
		t.Errorf("/ is %q", root)
	}
	for name, want := range map[string]string{"usr": "refused", "etc": "0", "var": "0", "failed-units": "0"} {
		if proof[name] != want {
			t.Errorf("%s is %q, want %q\n%s", name, proof[name], want, text)
		}
	}
}

// In a systemd initramfs a refusal is a failed unit: the root is never switched.
func TestDracutRefusesDamagedImage(t *testing.T) {
	d := shared.debian(t)
	b := base{repo: shared.path("debian-repo"), disk: d.disk, image: d.image}
	disk := changedDisk(t, b, func(t *testing.T, b base, disk string) { flip(t, b, disk, b.image) })
	m := d.machine(t, disk)
	c, err := m.Run(t.Context(), filepath.Join(t.ArtifactDir(), "console.log"), debianLimit, regexp.MustCompile(`boot refused, exit status`))
	if err != nil {
		t.Fatalf("%v\n%s", err, c.Tail(40))
	}
	checkRefused(t, c, 5, "image")
}
