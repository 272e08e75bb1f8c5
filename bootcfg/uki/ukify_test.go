package uki_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/bootcfg/uki"
	"github.com/composefs-go/composefs/internal/testing/testutil"
)

// systemd is systemd's own programs of Debian 13, unpacked: those of the machine
// may be older than addons and ukify.
type systemd struct{ stub, addon, ukify string }

func requireSystemd(t *testing.T) systemd {
	t.Helper()
	testutil.RequireFile(t, "/usr/lib/python3/dist-packages/pefile.py") // ukify needs it
	root := testutil.RequireScript(t, "../../scripts/systemd-boot", "trixie")
	efi := filepath.Join(root, "usr/lib/systemd/boot/efi")
	return systemd{filepath.Join(efi, "linuxx64.efi.stub"), filepath.Join(efi, "addonx64.efi.stub"), filepath.Join(root, "usr/bin/ukify")}
}

// run runs ukify and returns its standard output. The python is the distribution's,
// which has the modules that ukify needs.
func (s systemd) run(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("/usr/bin/python3", append([]string{s.ukify}, args...)...)
	var says bytes.Buffer
	cmd.Stderr = &says
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("ukify %s: %v: %s", args, err, &says)
	}
	return out
}

func mustRead(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// put writes the content into a new file.
func put(t *testing.T, content []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// flags returns name, address flags and sizes of all sections, sorted, from objdump.
func flags(t *testing.T, name string) []string {
	t.Helper()
	out, err := exec.Command(testutil.RequireTool(t, "objdump"), "-h", "-w", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for line := range strings.Lines(string(out)) {
		// Idx Name Size VMA LMA File-off Algn Flags
		if f := strings.Fields(line); len(f) > 7 && strings.HasPrefix(f[1], ".") {
			rows = append(rows, f[1]+" "+f[2]+" "+strings.Join(f[7:], " "))
		}
	}
	slices.Sort(rows)
	return rows
}

// sameSections compares what two programs hold, whatever the order.
func sameSections(t *testing.T, ours, theirs []byte) {
	t.Helper()
	a, err := uki.Parse(bytes.NewReader(ours))
	if err != nil {
		t.Fatal(err)
	}
	b, err := uki.Parse(bytes.NewReader(theirs))
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Sections) != len(b.Sections) {
		t.Errorf("it has %d sections, that of ukify %d", len(a.Sections), len(b.Sections))
	}
	for _, s := range b.Sections {
		if got, ok := a.Section(s.Name); !ok || !bytes.Equal(got, s.Data) {
			t.Errorf("%s is %.200q, ukify makes %.200q", s.Name, got, s.Data)
		}
	}
	if x, y := flags(t, put(t, ours)), flags(t, put(t, theirs)); !slices.Equal(x, y) {
		t.Errorf("objdump shows %q, of ukify's %q", x, y)
	}
}

// The same parts make the same sections as with ukify, with the same flags.
func TestUkifyAgrees(t *testing.T) {
	s := requireSystemd(t)
	full := uki.Options{
		Stub: mustRead(t, s.stub), Linux: kernel("6.12.0-1-amd64"), Initrd: uki.JoinInitrds([]byte("first"), []byte("second..")),
		Cmdline: "root=PARTLABEL=root ro quiet", OSRelease: []byte("ID=debian\nPRETTY_NAME=\"Debian\"\n"),
		Splash: []byte("BM"), DeviceTree: []byte("\xd0\x0d\xfe\xed"), Microcode: []byte("microcode"), PCRPKey: []byte("-----BEGIN PUBLIC KEY-----\n"),
	}
	own := full
	own.SBAT, own.Uname = []byte("sbat,1\nours,7,us\n"), "6.99-ours"
	least := uki.Options{Stub: full.Stub, Linux: full.Linux, Initrd: []byte("initrd")}
	for _, test := range []struct {
		name string
		o    uki.Options
		args []string
	}{
		{"all parts", full, []string{"--initrd", put(t, []byte("first")), "--initrd", put(t, []byte("second.."))}},
		{"own SBAT and version", own, []string{"--initrd", put(t, own.Initrd), "--sbat", string(own.SBAT), "--uname", own.Uname}},
		{"least", least, []string{"--initrd", put(t, least.Initrd)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			ours, err := uki.Assemble(test.o)
			if err != nil {
				t.Fatal(err)
			}
			out := filepath.Join(t.TempDir(), "theirs.efi")
			args := append([]string{"build", "--stub", s.stub, "--linux", put(t, test.o.Linux), "--output", out}, test.args...)
			for _, part := range []struct {
				flag string
				data []byte
			}{
				{"--splash", test.o.Splash}, {"--devicetree", test.o.DeviceTree}, {"--microcode", test.o.Microcode}, {"--pcrpkey", test.o.PCRPKey},
			} {
				if len(part.data) > 0 {
					args = append(args, part.flag, put(t, part.data))
				}
			}
			// Without this ukify takes the machine's os-release.
			args = append(args, "--os-release", string(test.o.OSRelease))
			if test.o.Cmdline != "" {
				args = append(args, "--cmdline", test.o.Cmdline)
			}
			s.run(t, args...)
			sameSections(t, ours, mustRead(t, out))
		})
	}
}

// ukify makes the same addon, and its inspection reads ours.
func TestUkifyAgreesOnAddon(t *testing.T) {
	s := requireSystemd(t)
	for _, test := range []struct{ name, sbat, uname string }{{"its SBAT", "", ""}, {"own SBAT", "sbat,1\nours,7,us\n", "6.12"}} {
		t.Run(test.name, func(t *testing.T) {
			o := uki.Options{Stub: mustRead(t, s.addon), Cmdline: "console=ttyS0 debug", Uname: test.uname}
			out := filepath.Join(t.TempDir(), "theirs.efi")
			args := []string{"build", "--stub", s.addon, "--cmdline", o.Cmdline, "--output", out}
			if test.sbat != "" {
				o.SBAT = []byte(test.sbat)
				args = append(args, "--sbat", test.sbat, "--uname", test.uname)
			}
			ours, err := uki.AssembleAddon(o)
			if err != nil {
				t.Fatal(err)
			}
			s.run(t, args...)
			sameSections(t, ours, mustRead(t, out))
		})
	}
}

// ukify inspect reads what we make, text and hashes of sections.
func TestUkifyInspects(t *testing.T) {
	s := requireSystemd(t)
	ours, err := uki.Assemble(uki.Options{Stub: mustRead(t, s.stub), Linux: kernel("6.12.7"), Initrd: []byte("initrd"), Cmdline: "quiet"})
	if err != nil {
		t.Fatal(err)
	}
	var found map[string]struct {
		Size int
		Text string
	}
	if err := json.Unmarshal(s.run(t, "inspect", put(t, ours), "--json", "short"), &found); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{".cmdline": "quiet", ".uname": "6.12.7"} {
		if found[name].Text != want {
			t.Errorf("%s reads %q, want %q", name, found[name].Text, want)
		}
	}
	if found[".initrd"].Size != 6 {
		t.Errorf(".initrd has %d bytes, want 6", found[".initrd"].Size)
	}
}

// With a real kernel too, and the result can be signed: its digest is told.
func TestRealKernel(t *testing.T) {
	s := requireSystemd(t)
	dir := testutil.RequireScript(t, "../../scripts/kernel", "trixie")
	linux := filepath.Join(dir, "vmlinuz")
	ours, err := uki.Assemble(uki.Options{Stub: mustRead(t, s.stub), Linux: mustRead(t, linux), Initrd: []byte("initrd")})
	if err != nil {
		t.Fatal(err)
	}
	theirs := filepath.Join(t.TempDir(), "theirs.efi")
	s.run(t, "build", "--stub", s.stub, "--linux", linux, "--initrd", put(t, []byte("initrd")), "--os-release", "", "--output", theirs)
	sameSections(t, ours, mustRead(t, theirs))
	f, err := uki.Parse(bytes.NewReader(ours))
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := f.Section(".uname"); string(got) != strings.TrimSpace(string(mustRead(t, filepath.Join(dir, "version")))) {
		t.Errorf(".uname is %q", got)
	}
	if _, err := uki.Digest(ours); err != nil {
		t.Error(err)
	}
}

// sameProfiles compares what each profile of two programs boots.
func sameProfiles(t *testing.T, ours, theirs []byte) {
	t.Helper()
	list := func(b []byte) (out []string) {
		all, err := profiles(t, b)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range all {
			for _, s := range p.Sections {
				if s.Name[1] != 't' && s.Name[1] != 'r' && s.Name != ".data" && s.Name != ".sdmagic" { // the stub's own
					out = append(out, fmt.Sprintf("%s %s %q", p, s.Name, s.Data))
				}
			}
		}
		slices.Sort(out)
		return out
	}
	if a, b := list(ours), list(theirs); !slices.Equal(a, b) {
		t.Errorf("we make\n%.3000s\nukify makes\n%.3000s", strings.Join(a, "\n"), strings.Join(b, "\n"))
	}
	if x, y := flags(t, put(t, ours)), flags(t, put(t, theirs)); !slices.Equal(x, y) {
		t.Errorf("objdump shows %q, of ukify's %q", x, y)
	}
}

// Profiles that ukify makes and joins are those that we make, join and read.
func TestUkifyAgreesOnProfiles(t *testing.T) {
	s := requireSystemd(t)
	base := uki.Options{
		Stub: mustRead(t, s.stub), Linux: kernel("6.12.0-1-amd64"), Initrd: []byte("initrd"), Cmdline: "base", OSRelease: []byte("ID=debian\n"),
	}
	others := []uki.Options{
		{Stub: mustRead(t, s.addon), Profile: []byte("ID=rescue\nTITLE=\"Rescue\"\n"), Cmdline: "rescue"},
		{Stub: mustRead(t, s.addon), Profile: []byte("ID=plain"), Initrd: []byte("other"), OSRelease: []byte("ID=other\n"), Splash: []byte("BM"), DeviceTree: []byte("dtb")},
	}
	dir := t.TempDir()
	args := []string{"build", "--stub", s.stub, "--linux", put(t, base.Linux), "--initrd", put(t, base.Initrd), "--cmdline", base.Cmdline,
		"--os-release", string(base.OSRelease), "--profile", "ID=first", "--output", filepath.Join(dir, "uki")}
	base.Profile = []byte("ID=first")
	for i, o := range others {
		ours, err := uki.AssembleProfile(o)
		if err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(dir, fmt.Sprint("profile", i))
		build := []string{"build", "--stub", s.addon, "--profile", string(o.Profile), "--output", out}
		for flag, data := range map[string][]byte{"--cmdline": []byte(o.Cmdline), "--os-release": o.OSRelease} {
			if len(data) > 0 {
				build = append(build, flag, string(data))
			}
		}
		for flag, data := range map[string][]byte{"--initrd": o.Initrd, "--splash": o.Splash, "--devicetree": o.DeviceTree} {
			if len(data) > 0 {
				build = append(build, flag, put(t, data))
			}
		}
		s.run(t, build...)
		theirs := mustRead(t, out)
		sameSections(t, ours, theirs)
		// Each joins what the other made.
		args = append(args, "--join-profile", put(t, ours))
		base.Join = append(base.Join, theirs)
	}
	ours, err := uki.Assemble(base)
	if err != nil {
		t.Fatal(err)
	}
	s.run(t, args...)
	sameProfiles(t, ours, mustRead(t, filepath.Join(dir, "uki")))
}

// A device tree for each machine, and the table by which the stub chooses.
func TestUkifyAgreesOnDeviceTrees(t *testing.T) {
	s := requireSystemd(t)
	dir, out := t.TempDir(), filepath.Join(t.TempDir(), "uki")
	for name, text := range map[string]string{
		"b/one.json":   `{"type": "devicetree", "name": "One, ü", "compatible": "acme,one", "hwids": ["ff5d0d1c-9b3e-5b55-b2a4-0d1c0c2b6d5e", "05d4f1a6-1111-2222-3333-0102030405ff"]}`,
		"b/two.json":   `{"name": "Two", "compatible": "acme,two", "hwids": ["{6DE5D951-D755-576B-BD09-C5CF66B27234}", "ff5d0d1c-9b3e-5b55-b2a4-0d1c0c2b6d5e"]}`,
		"b.json":       `{"name": "One, ü", "compatible": "acme,one", "hwids": ["05d4f1a6-1111-2222-3333-0102030405ff", "00000000-0000-0000-0000-000000000001"]}`,
		"a/README.txt": `not one`,
	} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	table, err := uki.PackHWIDs(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	o := uki.Options{
		Stub: mustRead(t, s.stub), Linux: kernel("6.12.7"), Initrd: []byte("initrd"), HWIDs: table,
		DeviceTree: []byte("all"), DeviceTreeAuto: [][]byte{[]byte("first"), []byte("second")},
	}
	ours, err := uki.Assemble(o)
	if err != nil {
		t.Fatal(err)
	}
	s.run(t, "build", "--stub", s.stub, "--linux", put(t, o.Linux), "--initrd", put(t, o.Initrd), "--os-release", "", "--hwids", dir,
		"--devicetree", put(t, o.DeviceTree), "--devicetree-auto", put(t, o.DeviceTreeAuto[0]), "--devicetree-auto", put(t, o.DeviceTreeAuto[1]), "--output", out)
	sameProfiles(t, ours, mustRead(t, out))
}
