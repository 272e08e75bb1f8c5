// Package dracut contains the tests of our dracut module that need neither dracut nor a
// boot; the others are in test/boot.
package dracut_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/internal/testing/testutil"
)

// dracut is what the module uses of it.
const dracut = `
inst_simple() { mkdir -p "$initdir${2%/*}"; cp -P "$([[ -e $1 ]] && echo "$1" || echo "$dracutsysrootdir$1")" "$initdir$2"; }
inst_hook() { inst_simple "$3" "/hooks/$1/$2-${3##*/}"; }
ln_r() { ln -sfn "$1" "$initdir$2"; }
inst_multiple() { :; }
dwarn() { :; }
derror() { echo "$@" >&2; }
dracut_module_included() { [[ $systemd ]]; }
mkdir -p "$initdir/usr/lib/systemd/system-generators"
touch "$initdir"/usr/lib/systemd/system-generators/systemd-{debug,run,fstab}-generator
. "$moddir/module-setup.sh"
install
`

// installed returns what the module makes of a system that has the files; NAME> is a link.
func installed(t *testing.T, systemd string, system map[string]string) fs.FS {
	t.Helper()
	bash := testutil.RequireTool(t, "bash")
	from, to := t.TempDir(), t.TempDir()
	system["/usr/lib/composefs/composefs-setup-root"] = "program"
	for name, content := range system {
		name = filepath.Join(from, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		err := error(nil)
		if link, ok := strings.CutSuffix(name, ">"); ok {
			err = os.Symlink(from+content, link)
		} else {
			err = os.WriteFile(name, []byte(content), 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	module, err := filepath.Abs("90composefs")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bash, "-euc", dracut)
	cmd.Env = append(os.Environ(), "initdir="+to, "moddir="+module, "dracutsysrootdir="+from, "systemd="+systemd)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return os.DirFS(to)
}

func has(t *testing.T, root fs.FS, pattern string) bool {
	t.Helper()
	found, err := fs.Glob(root, pattern)
	if err != nil {
		t.Fatal(err)
	}
	return len(found) > 0
}

const (
	policyFile = "/etc/composefs/setup-root-conf.toml"
	keyFile    = "/usr/lib/composefs/keys.d/ours.pub"
)

// What makes units of unsigned words is left out as soon as there is something to keep:
// a policy may name another directory of keys, which the module doesn't know of.
func TestGeneratorsThatObeyAnybodyAreLeftOut(t *testing.T) {
	for _, test := range []struct {
		name   string
		system map[string]string
		closed bool
	}{
		{"neither policy nor key", map[string]string{}, false},
		{"a key", map[string]string{keyFile: "k"}, true},
		{"a policy with keys elsewhere", map[string]string{policyFile: "[verify]\nkeys = \"/etc/keys\"\n"}, true},
		{"a policy that denies a shell", map[string]string{policyFile: "[failure]\nshell = \"deny\"\n"}, true},
		{"a policy that allows a shell", map[string]string{policyFile: "[failure]\n  shell=\"allow\"\n"}, false},
		{"a key, and a policy that allows a shell", map[string]string{keyFile: "k", policyFile: "[failure]\nshell = 'allow'\n"}, false},
		{"a key, and a policy that says why a shell isn't allowed", map[string]string{keyFile: "k", policyFile: "# shell = \"allow\" is for the laboratory\n"}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := installed(t, "yes", test.system)
			for _, name := range []string{"debug", "run"} {
				if there := has(t, root, "usr/lib/systemd/system-generators/systemd-"+name+"-generator"); there == test.closed {
					t.Errorf("systemd-%s-generator is in the initramfs: %v", name, there)
				}
			}
			if !has(t, root, "usr/lib/systemd/system-generators/systemd-fstab-generator") {
				t.Error("another generator is gone")
			}
		})
	}
}

// dracut copies a link as a link; what decides whom to trust must be no link.
func TestPolicyAndKeysBecomePlainFiles(t *testing.T) {
	root := installed(t, "yes", map[string]string{"/etc/real.toml": "policy", "/etc/real.pub": "key", policyFile + ">": "/etc/real.toml", keyFile + ">": "/etc/real.pub"})
	for name, want := range map[string]string{"setup-root-conf.toml": "policy", "keys.d/ours.pub": "key"} {
		name = "usr/lib/composefs/" + name
		info, err := fs.Lstat(root, name)
		text, readErr := fs.ReadFile(root, name)
		if err != nil || !info.Mode().IsRegular() || readErr != nil || string(text) != want {
			t.Errorf("%s: %v, %q (%v, %v); want a plain file with %q", name, info, text, err, readErr, want)
		}
	}
}

// Each unit of systemd and dracut that gives a shell asks composefs-setup-root first.
func TestUnitsThatGiveAShellAskFirst(t *testing.T) {
	root := installed(t, "yes", map[string]string{})
	for _, unit := range strings.Fields(`emergency rescue dracut-emergency debug-shell
		breakpoint-pre-udev breakpoint-pre-basic breakpoint-pre-mount breakpoint-pre-switch-root
		console-getty getty@ serial-getty@ container-getty@`) {
		text, err := fs.ReadFile(root, "usr/lib/systemd/system/"+unit+".service.d/composefs.conf")
		if err != nil || !strings.Contains(string(text), "\nExecStartPre=/usr/lib/composefs/composefs-setup-root --shell\n") {
			t.Errorf("%s.service: %v, %s", unit, err, text)
		}
	}
}

// The units of this machine's systemd that have a terminal are among them.
func TestNoUnitOfSystemdWithATerminalIsForgotten(t *testing.T) {
	const units = "/usr/lib/systemd/system"
	testutil.RequireFile(t, units+"/getty@.service")
	// Neither gives a shell, and dracut has neither in the initramfs.
	harmless := []string{"systemd-firstboot", "systemd-storagetm", "systemd-homed-firstboot"}
	root := installed(t, "yes", map[string]string{})
	files, err := filepath.Glob(units + "/*.service")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		// An alias, as autovt@ is one of getty@, has the drop-ins of what it is a link to.
		info, err := os.Lstat(file)
		if err != nil || info.Mode()&fs.ModeSymlink != 0 {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(text), "\nStandardInput=tty") {
			continue
		}
		name := filepath.Base(file)
		if !strings.Contains(strings.Join(harmless, " "), strings.TrimSuffix(name, ".service")) && !has(t, root, "usr/lib/systemd/system/"+name+".d/composefs.conf") {
			t.Errorf("%s has a terminal, and no word of the policy before it", name)
		}
	}
}

// dracut unpacks the initramfs to shut down in it, with systemd or without.
func TestShellsOfDracutAskFirst(t *testing.T) {
	for systemd, hooks := range map[string]string{"yes": "shutdown-emergency", "": "emergency shutdown-emergency"} {
		root := installed(t, systemd, map[string]string{})
		for _, hook := range strings.Fields(hooks) {
			if !has(t, root, "hooks/"+hook+"/00-composefs-shell.sh") {
				t.Errorf("with systemd=%q there is no hook %s", systemd, hook)
			}
		}
	}
}
