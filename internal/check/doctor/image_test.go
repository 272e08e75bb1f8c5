package doctor_test

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/check/doctor"
	"github.com/composefs-go/composefs/internal/testing/testutil"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// A system is the tree of an image: a name that ends in a slash is a directory, a
// content that begins with "->" is a link, one of "#!" or ELF can be executed.
type system map[string]string

// objects is a store that has the contents of files, and nothing else.
type objects map[verity.Digest][]byte

func (o objects) Ref(string) (verity.Digest, error)                { return verity.Digest{}, fs.ErrNotExist }
func (o objects) ReadImage(verity.Digest) ([]byte, error)          { return nil, fs.ErrNotExist }
func (o objects) ReadSeal(sign.File) ([]byte, error)               { return nil, fs.ErrNotExist }
func (o objects) HasVerity(verity.Digest) (on, known bool)         { return true, true }
func (o objects) Missing([]verity.Digest) ([]verity.Digest, error) { return nil, nil }
func (o objects) ReadObject(d verity.Digest, _ int64) ([]byte, error) {
	if content, ok := o[d]; ok {
		return bytes.Clone(content), nil
	}
	return nil, fs.ErrNotExist
}

// image makes an image of the tree, and the objects that it needs.
func (s system) image(t *testing.T) (*erofs.Image, objects) {
	t.Helper()
	store := objects{}
	root := &tree.Node{Kind: tree.Directory, Perm: 0o755, Nlink: 2}
	for _, name := range slices.Sorted(maps.Keys(s)) {
		dir, base := root, path.Base(name)
		for part := range strings.SplitSeq(path.Dir(strings.TrimSuffix(name, "/")), "/") {
			if part == "." {
				continue
			}
			next := dir.Lookup(part)
			if next == nil {
				next = &tree.Node{Kind: tree.Directory, Perm: 0o755, Nlink: 2}
				if err := dir.Add(part, next); err != nil {
					t.Fatal(err)
				}
			}
			dir = next
		}
		if dir.Lookup(base) != nil {
			continue
		}
		if err := dir.Add(base, store.node(name, s[name])); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	var image bytes.Buffer
	if err := erofs.Write(&image, root, erofs.V1); err != nil {
		t.Fatal(err)
	}
	img, err := erofs.Open(bytes.NewReader(image.Bytes()), int64(image.Len()))
	if err != nil {
		t.Fatal(err)
	}
	return img, store
}

func (o objects) node(name, content string) *tree.Node {
	if strings.HasSuffix(name, "/") {
		return &tree.Node{Kind: tree.Directory, Perm: 0o755, Nlink: 2}
	}
	if to, ok := strings.CutPrefix(content, "->"); ok {
		return &tree.Node{Kind: tree.Symlink, Perm: 0o777, Nlink: 1, Size: uint64(len(to)), Target: to}
	}
	n := &tree.Node{Kind: tree.Regular, Perm: 0o644, Nlink: 1, Size: uint64(len(content))}
	if strings.HasPrefix(content, "#!") || strings.HasPrefix(content, elf.ELFMAG) {
		n.Perm = 0o755
	}
	if len(content) <= 64 {
		n.Inline = []byte(content)
		return n
	}
	n.Object = verity.Sum(verity.SHA256, []byte(content))
	n.Payload = n.Object.ObjectPath()
	o[n.Object] = []byte(content)
	return n
}

// wholeSystem is what boots: a program of this machine, with what ldd says that it
// needs, as the init program.
func wholeSystem(t *testing.T) (s system, libraries []string) {
	t.Helper()
	ldd := testutil.RequireTool(t, "ldd")
	program, err := exec.LookPath("ls")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(ldd, program).Output()
	if err != nil {
		t.Fatal(err)
	}
	s = system{"dev/": "", "proc/": "", "run/": "", "sys/": "", "sysroot/": "", "etc/": "", "var/": "", "usr/lib/": "", "sbin": "->usr/bin"}
	add := func(as, file string) {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s[as] = string(content)
	}
	add("usr/bin/init", program)
	for _, m := range regexp.MustCompile(`(?m)^\s(?:\S+ => )?(/\S+) \(0x`).FindAllStringSubmatch(string(out), -1) {
		add(m[1][1:], m[1])
		libraries = append(libraries, m[1][1:])
	}
	if len(libraries) < 2 {
		t.Skipf("%s is linked with nothing:\n%s", program, out)
	}
	return s, libraries
}

// Each thing that an image needs, taken away once, is a finding of its own, and so is
// each thing that it shouldn't have.
func TestWhatAnImageNeeds(t *testing.T) {
	whole, libraries := wholeSystem(t)
	without := func(names ...string) func(system) {
		return func(s system) {
			for _, name := range names {
				if _, ok := s[name]; !ok {
					t.Errorf("there is no %s to take away", name)
				}
				delete(s, name)
			}
		}
	}
	put := func(name, content string) func(system) {
		return func(s system) { delete(s, name+"/"); s[name] = content }
	}
	id := strings.Repeat("0123456789abcdef", 2) + "\n"
	good := mustELF(t, whole["usr/bin/init"])
	rows := []struct {
		name   string
		change func(system)
		policy string
		want   string // as of wantOne
		says   string
	}{
		{"good", func(system) {}, "", "", ""},
		{"no init", without("usr/bin/init"), "", "init-program", "none of /sbin/init"},
		{"init that can't be executed", put("usr/bin/init", "text"), "", "init-program", "not executable (mode 644)"},
		{"init that is no program", put("usr/bin/init", "#!"), "", "init-program", "a script without an interpreter"},
		{"init that is a directory", func(s system) { delete(s, "usr/bin/init"); s["usr/bin/init/"] = "" }, "", "init-program", "want a regular file"},
		{"init that is a broken program", put("usr/bin/init", "\x7fELF\x02\x01\x01"), "", "init-program", "can't be executed"},
		{"init of another machine", put("usr/bin/init", otherMachine(whole["usr/bin/init"])), "", "machine", "EM_AARCH64"},
		{"a script", put("usr/bin/init", "#!/usr/bin/ls -l\n"), "", "init-interpreter", "/usr/bin/ls, which isn't in it"},
		{"a script for what is there", func(s system) {
			s["usr/bin/sh"] = s["usr/bin/init"]
			s["usr/bin/init"] = "#! /usr/bin/sh -e\n"
		}, "", "", ""},
		{"a script for a script for itself", put("usr/bin/init", "#!/usr/bin/init\n"), "", "init-program", "the kernel gives up"},
		{"no dynamic linker", without(good.interpreter[1:]), "", "init-interpreter", good.interpreter},
		{"a library that was damaged", nil, "", "init-library", ""},
		{"no mount point", without("sysroot/"), "", "mount-point", "/sysroot"},
		{"no mount point for what isn't mounted", without("etc/"), "[etc]\nmount = \"none\"", "", ""},

		{"fstab with the root", put("etc/fstab", "# /etc/fstab\n\nUUID=x / ext4 defaults 0 1\n"), "", "?fstab", "systemd-remount-fs fails"},
		{"fstab with the root, otherwise written", put("etc/fstab", "/dev/vda2\t/.\text4 ro\n"), "", "?fstab", "has an entry for /"},
		{"fstab over /usr", put("etc/fstab", "/dev/vda3 /usr/local ext4 ro\n"), "", "?fstab", "mounts over what is verified"},
		{"fstab of data", put("etc/fstab", "/dev/vda3 /home ext4 rw\n#/dev/x / ext4\nnone none swap sw\n/\n"), "", "", ""},
		{"fstab that isn't the one that counts", put("etc/fstab", "/dev/vda3 / ext4 rw\n"), "[etc]\nmount = \"bind\"", "", ""},
		{"host keys", put("etc/ssh/ssh_host_ed25519_key", "secret"), "", "?host-keys", "/etc/ssh/ssh_host_ed25519_key"},
		{"two host keys", func(s system) {
			put("etc/ssh/ssh_host_rsa_key", "secret")(s)
			put("etc/ssh/ssh_host_ecdsa_key", "secret")(s)
		}, "", "?host-keys", "ssh_host_ecdsa_key"},
		{"the public half of none", put("etc/ssh/ssh_host_ed25519_key.pub", "public"), "", "", ""},
		{"keys of dropbear", put("etc/dropbear/dropbear_rsa_host_key", "secret"), "", "?host-keys", "dropbear"},
		{"a machine-id", put("etc/machine-id", id), "", "?machine-id", "all machines that boot it have the same"},
		{"an empty machine-id", put("etc/machine-id", ""), "", "", ""},
		{"a machine-id for the first boot", put("etc/machine-id", "uninitialized\n"), "", "", ""},
		{"the machine-id of D-Bus", put("var/lib/dbus/machine-id", id), "", "?machine-id", "/var/lib/dbus/machine-id"},
		{"the machine-id of D-Bus by a link", put("var/lib/dbus/machine-id", "->/etc/machine-id"), "", "", ""},
		{"a random seed", put("var/lib/systemd/random-seed", "random"), "", "?random-seed", "random-seed"},
		{"the secret of credentials", put("var/lib/systemd/credential.secret", "secret"), "", "?credential-secret", "credential.secret"},

		{"modules of the kernel", put("usr/lib/modules/6.12.1-test/modules.dep", ""), "", "", ""},
		{"modules of another kernel", put("usr/lib/modules/6.1.0/modules.dep", ""), "", "?image-modules", "has only modules for 6.1.0"},
		{"units in /var", put("usr/local", "->../var/usrlocal"), "[etc]\ntransient = true", "?units", "/usr/local is a link to /var/usrlocal"},
		{"units in /var, deeper", put("usr/local/lib", "->/var/local/lib"), "[etc]\ntransient = true", "?units", "/usr/local/lib is a link to /var/local/lib"},
		{"units in /var, where /etc may have some too", put("usr/local", "->../var/usrlocal"), "", "", ""},
		{"a link into the image", put("usr/local", "->lib"), "[etc]\ntransient = true", "", ""},
		{"an init in /var, by a link", func(s system) { s["var/x"] = s["usr/bin/init"]; s["usr/bin/init"] = "->../../var/x" }, "", "?unverified-init", "is a link to /var/x"},
	}
	for _, library := range libraries {
		if !strings.Contains(library, "ld-linux") && !strings.Contains(library, "/ld64") {
			rows = append(rows, struct {
				name       string
				change     func(system)
				policy     string
				want, says string
			}{"no " + path.Base(library), without(library), "", "init-library", "needs the library " + path.Base(library)})
		}
	}
	for _, test := range rows {
		t.Run(test.name, func(t *testing.T) {
			s := maps.Clone(whole)
			if test.change != nil {
				test.change(s)
			}
			img, store := s.image(t)
			if test.change == nil {
				for d := range store {
					if string(store[d]) == whole[libraries[0]] {
						store[d][100] ^= 1
					}
				}
			}
			config, err := bootcfg.ParseConfig([]byte(test.policy))
			if err != nil {
				t.Fatal(err)
			}
			r := &doctor.Report{}
			doctor.Image(r, img, store, bootcfg.Cmdline{}, config, doctor.Kernel{Release: "6.12.1-test", Machine: good.machine})
			wantOne(t, r, test.want, test.says)
		})
	}
}

// mustELF tells of a program what debug/elf says.
func mustELF(t *testing.T, content string) (p struct {
	machine     elf.Machine
	interpreter string
}) {
	t.Helper()
	f, err := elf.NewFile(strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	p.machine = f.Machine
	section, err := f.Section(".interp").Data()
	if err != nil {
		t.Fatal(err)
	}
	p.interpreter = strings.TrimRight(string(section), "\x00")
	return p
}

// otherMachine changes what a program says it is for to arm64.
func otherMachine(content string) string {
	b := []byte(content)
	b[18], b[19] = byte(elf.EM_AARCH64), 0
	return string(b)
}

// Without the contents of large files nothing is said about them, and a library that
// is elsewhere is only a warning.
func TestAnImageByItself(t *testing.T) {
	whole, libraries := wholeSystem(t)
	img, store := whole.image(t)
	r := &doctor.Report{}
	doctor.Image(r, img, nil, bootcfg.Cmdline{}, bootcfg.DefaultConfig(), doctor.Kernel{})
	wantOne(t, r, "", "")
	clear(store)
	doctor.Image(r, img, store, bootcfg.Cmdline{}, bootcfg.DefaultConfig(), doctor.Kernel{})
	wantOne(t, r, "", "")
	last := libraries[slices.IndexFunc(libraries, func(l string) bool { return strings.Contains(l, "libc.so") })]
	whole["opt/hidden/"+filepath.Base(last)] = whole[last]
	delete(whole, last)
	img, store = whole.image(t)
	doctor.Image(r, img, store, bootcfg.Cmdline{}, bootcfg.DefaultConfig(), doctor.Kernel{})
	if n := len(r.Findings); n == 0 || r.Stops() || !strings.Contains(r.Findings[0].Problem, "isn't in one of the usual places") {
		t.Errorf("want warnings about the place of a library:\n%s", r)
	}
}

// What nobody can write to in the booted system is a fact of an image.
func TestAnImageSaysWhereNobodyCanWrite(t *testing.T) {
	s := system{"home/": "", "root/": "", "srv": "->var/srv", "opt/x": "x"}
	for policy, want := range map[string]string{"": "/home, /opt, /root: ", "[root]\ntransient = true": ""} {
		img, store := s.image(t)
		config, err := bootcfg.ParseConfig([]byte(policy))
		if err != nil {
			t.Fatal(err)
		}
		r := &doctor.Report{}
		doctor.Image(r, img, store, bootcfg.Cmdline{}, config, doctor.Kernel{})
		at := slices.IndexFunc(r.Facts, func(f doctor.Fact) bool { return f.Name == "read-only" })
		if (at >= 0) != (want != "") || at >= 0 && !strings.HasPrefix(r.Facts[at].Value, want) {
			t.Errorf("%q: want %q, found %s", policy, want, fmt.Sprint(r.Facts))
		}
	}
}

// Whatever a program says of itself, its examination comes to an end with findings of
// one line.
func FuzzProgram(f *testing.F) {
	if content, err := os.ReadFile("/bin/true"); err == nil {
		f.Add(content)
	}
	f.Add([]byte("#!/usr/bin/init"))
	f.Add([]byte("\x7fELF\x02\x01\x01\x00"))
	f.Fuzz(func(t *testing.T, content []byte) {
		s := system{"usr/bin/init": string(content), "sbin": "->usr/bin"}
		if strings.HasPrefix(string(content), "->") {
			return
		}
		img, store := s.image(t)
		r := &doctor.Report{}
		doctor.Image(r, img, store, bootcfg.Cmdline{}, bootcfg.DefaultConfig(), doctor.Kernel{})
		for _, f := range r.Findings {
			if f.Kind == "" || strings.ContainsAny(f.String(), "\n\x1b") {
				t.Errorf("%q", f)
			}
		}
	})
}
