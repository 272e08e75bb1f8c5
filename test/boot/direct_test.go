package boot

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/composefs-go/composefs/test/vm"
)

// limit is many times what a boot takes, for a machine that is busy.
const limit = 3 * time.Minute

// A kernel on a busy emulator may believe that its timer is broken; it isn't asked.
const machineArguments = "console=ttyS0 loglevel=5 panic=-1 no_timer_check"

const consoleArguments = machineArguments + " root=PARTLABEL=root ro "

// pin is the kernel argument for an image.
func pin(hex string) string { return "composefs.digest=v1-sha256-12:" + hex }

func theImage(b base) string       { return b.image }
func theOther(b base) string       { return b.other }
func theInit(b base) string        { return b.init }
func theLarge(b base) string       { return b.large }
func theReplacement(b base) string { return b.replacement }

// bootDirect boots a disk with a suite's kernel and our initrd, on a machine that
// may have more.
func bootDirect(t *testing.T, suite, initrd, disk, arguments string, writable bool, more ...func(*vm.Machine)) vm.Console {
	t.Helper()
	dir, _ := shared.kernel(t, suite)
	m := vm.Machine{
		Name: t.Name(), Kernel: filepath.Join(dir, "vmlinuz"), Initrd: initrd,
		CommandLine: consoleArguments + arguments, Disk: disk, Writable: writable,
	}
	for _, add := range more {
		if add != nil {
			add(&m)
		}
	}
	c, err := m.Run(t.Context(), filepath.Join(t.ArtifactDir(), "console.log"), limit, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, c.Tail(30))
	}
	t.Logf("%.1f s", c.Took.Seconds())
	return c
}

// A good disk boots on the oldest and the newest kernel that have everything,
// and the guest finds what the image promises.
func TestGood(t *testing.T) {
	b := need(t)
	for _, suite := range []string{"trixie", "sid"} {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			c := bootDirect(t, suite, shared.initrd(t, suite, ""), b.disk, pin(b.image), false)
			checkGood(t, c, b.image, "valid")
		})
	}
}

// What the policy and the command line may choose.
func TestChoices(t *testing.T) {
	b := need(t)
	cases := []struct {
		name, policy, arguments string
		fact, begins            string
		change                  change
	}{
		{"the short argument", "", "composefs=" + b.image, "mount /", "overlay composefs:" + b.image, nil},
		{"the physical root read-only", "[root]\nsysroot = \"ro\"\n", pin(b.image), "write /sysroot/written", "open /sysroot/written: read-only file system", nil},
		{"a transient root", "[root]\ntransient = true\n", pin(b.image), "write /usr/written", "written", nil},
		{"a transient /etc", "[etc]\nmount = \"transient\"\n", pin(b.image), "mount /etc", "overlay ", nil},
		{"a volatile /var", "[var]\nmount = \"volatile\"\n", pin(b.image), "mount /var", "tmpfs ", nil},
		{"/etc of the image", "[etc]\nmount = \"none\"\n", pin(b.image), "boots /etc/boots", "open /etc/boots: read-only file system", nil},
		{"an unsealed image where the policy wants no seal", "[verify]\nsignature = \"off\"\n", pin(b.image), "mount /", "overlay composefs:" + b.image, withoutSeal},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			console := bootDirect(t, "trixie", shared.initrd(t, "trixie", c.policy), changedDisk(t, b, c.change), c.arguments, false)
			facts := console.Guest()
			if facts["done"] != "yes" {
				t.Fatalf("the guest did not come to its end:\n%s", console.Tail(15))
			}
			if !strings.HasPrefix(facts[c.fact], c.begins) {
				t.Errorf("%s is %q, want it to begin with %q", c.fact, facts[c.fact], c.begins)
			}
		})
	}
}

// checkGood checks what the guest said about itself; seal is the status of its seal.
func checkGood(t *testing.T, c vm.Console, image, seal string) {
	t.Helper()
	facts := c.Guest()
	if facts["done"] != "yes" {
		t.Fatalf("the guest did not come to its end:\n%s", c.Tail(30))
	}
	root := facts["mount /"]
	for _, want := range []string{"overlay composefs:" + image + " ro", "verity=require", "metacopy=on", "redirect_dir=on"} {
		if !strings.Contains(root, want) {
			t.Errorf("/ is mounted as %q, want %q in it", root, want)
		}
	}
	wants := []struct{ fact, begins string }{
		{"mount /etc", "overlay "},
		{"mount /var", "ext4 "},
		{"mount /sysroot", "ext4 "},
		{"write /usr/written", "open /usr/written: read-only file system"},
		{"write /written", "open /written: read-only file system"},
		{"boots /etc/boots", "0"},
		{"boots /var/boots", "0"},
	}
	for _, w := range wants {
		if !strings.HasPrefix(facts[w.fact], w.begins) {
			t.Errorf("%s is %q, want it to begin with %q", w.fact, facts[w.fact], w.begins)
		}
	}
	checkRecord(t, facts["boot.json"], image, seal)
}

// checkRecord checks what composefs-setup-root left for userspace.
func checkRecord(t *testing.T, text, image, seal string) {
	t.Helper()
	var record struct {
		Version int
		Digest  string
		Seal    struct{ Status string }
		Verity  string `json:"fs-verity"`
		Program struct {
			MaxRSS int `json:"max-rss-kib"`
		} `json:"setup-root"`
		Milliseconds map[string]float64
	}
	if err := json.Unmarshal([]byte(text), &record); err != nil {
		t.Fatalf("boot.json is %q: %v", text, err)
	}
	if want := "fsverity-sha256-12:" + image; record.Digest != want {
		t.Errorf("boot.json: digest %q, want %q", record.Digest, want)
	}
	if record.Seal.Status != seal || record.Verity != "require" || record.Version != 1 {
		t.Errorf("boot.json: seal %q, fs-verity %q, version %d; want %s, require, 1", record.Seal.Status, record.Verity, record.Version, seal)
	}
	const maxRSS = 16 << 10
	if rss := record.Program.MaxRSS; rss <= 0 || rss > maxRSS {
		t.Errorf("boot.json: composefs-setup-root took %d KiB, want at most %d", rss, maxRSS)
	}
	t.Logf("composefs-setup-root: %d KiB, %v ms", record.Program.MaxRSS, record.Milliseconds)
}

// What is written to /etc and /var is there at the next boot.
func TestStateSurvives(t *testing.T) {
	t.Parallel()
	b := need(t)
	disk := changedDisk(t, b, func(*testing.T, base, string) {})
	for boots := range 2 {
		facts := bootDirect(t, "trixie", shared.initrd(t, "trixie", ""), disk, pin(b.image), true).Guest()
		for _, name := range []string{"/etc/boots", "/var/boots"} {
			if got, want := facts["boots "+name], fmt.Sprint(boots); got != want {
				t.Errorf("boot %d: %s knows of %q boots, want %s", boots, name, got, want)
			}
		}
	}
}

// The files of the image read as they were built.
func TestContents(t *testing.T) {
	t.Parallel()
	b := need(t)
	facts := bootDirect(t, "trixie", shared.initrd(t, "trixie", ""), b.disk, pin(b.image), false).Guest()
	for _, name := range []string{"/usr/share/inline", "/usr/share/small", "/usr/share/large"} {
		want := sum(t, "root-1", name)
		if got := facts["read "+name]; got != want {
			t.Errorf("%s reads as %s, want %s", name, got, want)
		}
	}
}

func withoutSeal(t *testing.T, b base, disk string) {
	t.Helper()
	debugfs(t, disk, "unlink "+seal(b.image, ""), "unlink "+seal(b.image, ".minisig"))
}

// checkRefused checks that a boot ended as it must, and shows the sentence.
func checkRefused(t *testing.T, c vm.Console, status int, says string) {
	t.Helper()
	if c.Has("GUEST init=reached") {
		t.Fatalf("the guest's init ran:\n%s", c.Tail(30))
	}
	lines := c.Composefs()
	verdict := fmt.Sprintf("boot refused, exit status %d (", status)
	i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, verdict) })
	if i < 1 {
		t.Fatalf("composefs-setup-root said %q, want a reason and %q\n%s", lines, verdict, c.Tail(15))
	}
	t.Log(lines[i-1])
	if !strings.Contains(lines[i-1], says) {
		t.Errorf("the reason is %q, want %q in it", lines[i-1], says)
	}
}

// sealByAnotherKey puts a seal on the disk that is right in all but its signer.
func sealByAnotherKey(t *testing.T, b base, disk string) {
	t.Helper()
	repo := filepath.Join(t.TempDir(), "repo")
	if _, err := run("cp", "-a", b.repo, repo); err != nil {
		t.Fatal(err)
	}
	if _, err := run("sh", "-c", `rm "$1"/seals/*`, "sh", repo); err != nil {
		t.Fatal(err)
	}
	if _, err := shared.mkimage("seal", "--repo", repo, "--key", b.wrong, "--sequence", "1", b.image); err != nil {
		t.Fatal(err)
	}
	forged := b
	forged.repo = repo
	for _, suffix := range []string{"", ".minisig"} {
		write(t, disk, seal(b.image, suffix), stored(t, forged, seal(b.image, suffix)))
	}
}

// A file that the self-test does not read is still never read wrong: its object is
// damaged, the machine boots, and reading that file is an error.
func TestDamagedFileIsNeverRead(t *testing.T) {
	b := need(t)
	cases := []struct {
		name   string
		change change
	}{
		{"flipped", func(t *testing.T, b base, disk string) { flip(t, b, disk, b.large) }},
		{"replaced by one with other content and fs-verity on", replaceObject(theLarge, theReplacement)},
		{"without fs-verity", func(t *testing.T, b base, disk string) {
			debugfs(t, disk, "set_inode_field "+object(b.large)+" flags 0x80000")
		}},
		{"missing", func(t *testing.T, b base, disk string) { debugfs(t, disk, "unlink "+object(b.large)) }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			facts := bootDirect(t, "trixie", shared.initrd(t, "trixie", ""), changedDisk(t, b, c.change), pin(b.image), false).Guest()
			if facts["done"] != "yes" {
				t.Fatal("the guest did not come to its end")
			}
			got := facts["read /usr/share/large"]
			t.Log(got)
			if !strings.Contains(got, "/usr/share/large: ") {
				t.Errorf("reading the file gave %q, want an error", got)
			}
			if !strings.HasPrefix(facts["mount /"], "overlay composefs:"+b.image) {
				t.Errorf("/ is %q", facts["mount /"])
			}
		})
	}
}
