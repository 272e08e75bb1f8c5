package boot

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/test/vm"
)

// A row is a disk, an initrd and a command line of which one thing isn't as it was
// made, and what must come of it: a refusal with that exit status and those words,
// or, with status 0, a good boot. Each row that is refused has a twin beside it
// that boots, and the twin differs only in what the row is about; where it would be
// the untouched disk, TestGood is the twin.
type row struct {
	name      string
	policy    string
	keys      func(base) []string // files, that are trusted; default: the one that sealed
	arguments func(base) string   // default: pin the image
	change    change              // of the root partition
	initrd    []entry             // put over the files of the initrd, unchecked
	status    int
	boots     func(base) string // with status 0: which image; default: the first
	machine   func(*vm.Machine) // what else it has
	says      string            // in the reason, or with status 0 in boot.json or on the console
}

// An entry is a file of an initrd that the kernel unpacks over another one.
type entry struct {
	path     string
	content  string
	template string // the same, with {image} and {other} for their digests
	link     bool   // content is where a symbolic link leads
	program  string // content is the file of this name in the lab, to be executed
}

const (
	keysDir    = "usr/lib/composefs/keys.d/"
	policyPath = "usr/lib/composefs/setup-root-conf.toml"
)

// runRows boots every row, with the kernel and without firmware: seconds each.
func runRows(t *testing.T, rows []row) {
	b := need(t)
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			r.check(t, b, r.boot(t, b))
		})
	}
}

func (r row) boot(t *testing.T, b base) vm.Console {
	t.Helper()
	arguments := pin(b.image)
	if r.arguments != nil {
		arguments = r.arguments(b)
	}
	keys := []string{b.pub}
	if r.keys != nil {
		keys = r.keys(b)
	}
	initrd := overlaid(t, shared.initrdWith(t, "trixie", r.policy, keys), b.fill(r.initrd))
	return bootDirect(t, "trixie", initrd, changedDisk(t, b, r.change), arguments, false, r.machine)
}

func (r row) check(t *testing.T, b base, c vm.Console) {
	t.Helper()
	if r.status != 0 {
		checkRefused(t, c, r.status, r.says)
		return
	}
	image := b.image
	if r.boots != nil {
		image = r.boots(b)
	}
	checkBoots(t, c, image)
	if !strings.Contains(c.Guest()["boot.json"], r.says) && !strings.Contains(strings.Join(c.Composefs(), "\n"), r.says) {
		t.Errorf("neither boot.json nor the console says %q:\n%s\n%q", r.says, c.Guest()["boot.json"], c.Composefs())
	}
}

// checkBoots checks that a machine came up, and from which image.
func checkBoots(t *testing.T, c vm.Console, image string) {
	t.Helper()
	facts := c.Guest()
	if facts["done"] != "yes" {
		t.Fatalf("the guest did not come to its end:\n%s", c.Tail(30))
	}
	if want := "overlay composefs:" + image + " ro"; !strings.HasPrefix(facts["mount /"], want) {
		t.Errorf("/ is mounted as %q, want it to begin with %q", facts["mount /"], want)
	}
}

// overlaid is an initrd with an archive of the entries behind it: of two archives
// with the same file the kernel takes the later one's. It looks for the next at
// multiples of 4.
func overlaid(t *testing.T, initrd string, entries []entry) string {
	t.Helper()
	if len(entries) == 0 {
		return initrd
	}
	tree := t.TempDir()
	for _, e := range entries {
		e.put(t, tree)
	}
	both := filepath.Join(t.TempDir(), "initrd.img")
	if _, err := run("sh", "-c", `cp "$2" "$3" && truncate --size=%4 "$3" && cd "$1" && find . -mindepth 1 | sort | cpio --quiet -o -H newc >>"$3"`, "sh", tree, initrd, both); err != nil {
		t.Fatal(err)
	}
	return both
}

// put puts the file into a tree.
func (e entry) put(t *testing.T, tree string) {
	t.Helper()
	path := filepath.Join(tree, e.path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	var err error
	switch {
	case e.program != "":
		_, err = run("cp", shared.path(e.program), path)
	case e.link:
		err = os.Symlink(e.content, path)
	case strings.HasSuffix(e.path, "/"):
		err = os.MkdirAll(path, 0o755)
	case strings.HasPrefix(e.content, "#!"):
		err = os.WriteFile(path, []byte(e.content), 0o755)
	default:
		err = os.WriteFile(path, []byte(e.content), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// digests fills in {image} and {other}.
func (b base) digests(template string) string {
	return strings.NewReplacer("{image}", b.image, "{other}", b.other).Replace(template)
}

// fill fills in what the entries leave open.
func (b base) fill(entries []entry) (filled []entry) {
	for _, e := range entries {
		if e.template != "" {
			e.content = b.digests(e.template)
		}
		filled = append(filled, e)
	}
	return filled
}
