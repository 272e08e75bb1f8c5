package setup_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	counters "runtime/coverage"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/internal/boot/kernel"
	"github.com/composefs-go/composefs/internal/boot/kmsg"
	"github.com/composefs-go/composefs/internal/boot/setup"
	"github.com/composefs-go/composefs/internal/testing/testutil"
)

// modulesPath is the list that mkimage initrd writes.
const modulesPath = "/usr/lib/composefs/modules"

// jailed makes the test program do one of the jobs as the first process of
// namespaces of its own, with a directory as its root. What comes of it is printed.
const jailed = "COMPOSEFS_TEST_JAILED"

var jobs = map[string]func(args []string) error{
	"prepare": func([]string) error { return setup.PrepareMachine() },
	"switch": func(inits []string) error {
		if err := setup.PrepareMachine(); err != nil {
			return err
		}
		if inits[0] != "/unmounted" {
			if err := unix.Mount("/new", "/new", "", unix.MS_BIND, ""); err != nil {
				return err
			}
		}
		return setup.NewSystem(kernel.New(), nil).SwitchRoot("/new", inits, []string{"single"})
	},
	"stop": func(args []string) error { return setup.StopWithoutShell(setup.Options{}) },
	"refused": func(args []string) error {
		if args[1] != "0" {
			if err := errors.Join(syscall.Setuid(65534), os.Chdir("/")); err != nil {
				return err
			}
		}
		c := bootcfg.DefaultConfig()
		c.Failure, c.Measure.TPM = bootcfg.FailureAction(args[0]), bootcfg.IfPresent
		log := kmsg.New(nil, os.Stdout)
		setup.Refused(setup.NewSystem(nil, log), c, setup.CodeMismatch, log)
		return nil
	},
}

// runJailed is what the first process does.
func runJailed(args []string) (status int) {
	outside, err := os.Open("/")
	if err != nil || os.Getpid() != 1 {
		return 1 // a job may stop the machine
	}
	if err := errors.Join(unix.Chroot(args[0]), os.Chdir("/")); err != nil {
		return 1
	}
	err = jobs[args[1]](args[2:])
	kind := ""
	if k := kindOf(err); k != "" {
		kind = ", " + string(k)
	}
	fmt.Printf("%v%s, status %d\n", err, kind, setup.CodeOf(err))
	if dir := os.Getenv(coverage); dir != "" {
		err := errors.Join(outside.Chdir(), unix.Chroot("."), counters.WriteMetaDir(dir), counters.WriteCountersDir(dir))
		if err != nil {
			fmt.Println(err)
		}
	}
	return 0
}

// jail runs the job in the directory. A job that stops the machine stops only itself.
func jail(t *testing.T, root string, args ...string) (string, syscall.WaitStatus) {
	t.Helper()
	testutil.RequireRoot(t)
	c := exec.Command(os.Args[0], append([]string{root}, args...)...)
	c.Env = append(os.Environ(), jailed+"=1")
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID}
	out, err := c.CombinedOutput()
	if c.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out), c.ProcessState.Sys().(syscall.WaitStatus)
}

func TestTheFirstProcessPreparesTheMachine(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(t *testing.T, root string)
		want    string
	}{
		{"nothing there yet", nil, "<nil>, status 0"},
		{"a file in the way", func(t *testing.T, root string) { writeTestFile(t, root+"/proc", "") }, "/proc: not a directory, status 8"},
		{"a link to nowhere", func(t *testing.T, root string) {
			if err := os.Symlink("/proc/sys/none", root+"/dev"); err != nil {
				t.Fatal(err)
			}
		}, "/dev: file exists, status 8"},
		{"a list of no modules", func(t *testing.T, root string) { writeTestFile(t, root+modulesPath, "\n") }, "<nil>, status 0"},
		{"a list that is endless", func(t *testing.T, root string) {
			writeTestFile(t, root+modulesPath, strings.Repeat("x", 1<<20+1))
		}, "at most 1048576 expected, status 2"},
		{"a list that can't be opened", func(t *testing.T, root string) {
			if err := errors.Join(os.MkdirAll(filepath.Dir(root+modulesPath), 0o755), os.Symlink("modules", root+modulesPath)); err != nil {
				t.Fatal(err)
			}
		}, "too many levels of symbolic links, status 2"},
		{"a module that isn't there", func(t *testing.T, root string) { writeTestFile(t, root+modulesPath, "/absent.ko:\n") },
			"load the kernel module /absent.ko: it, or a symbol that it uses, isn't there, foreign-module, status 7"},
		{"a module that is none", func(t *testing.T, root string) {
			writeTestFile(t, root+modulesPath, "/bad.ko:\n")
			writeTestFile(t, root+"/bad.ko", "no module")
		}, ", foreign-module, status 7"},
	} {
		root := t.TempDir()
		if c.prepare != nil {
			c.prepare(t, root)
		}
		if out, _ := jail(t, root, "prepare"); !strings.Contains(out, c.want+"\n") {
			t.Errorf("%s: %q, want %q", c.name, out, c.want)
		}
	}
}

func TestModulesAreLoadedAsFarAsTheHardwareIsThere(t *testing.T) {
	for _, c := range []struct {
		name, list string
		fails      map[string]error
		loaded     string
		want       string
	}{
		{"in order", "/a:\n/b: /a\n\n/c\n", nil, "/a /b /c", ""},
		{"there already", "/a:\n/b: /a\n", map[string]error{"/a": unix.EEXIST}, "/a /b", ""},
		{"no such hardware", "/bus:\n/disk: /bus\n/usb: /disk\n/other:\n", map[string]error{"/bus": unix.ENODEV}, "/bus /other", ""},
		{"of another kernel", "/a:\n/b:\n", map[string]error{"/a": unix.ENOEXEC}, "/a", "load the kernel module /a: exec format error"},
		{"with a symbol of another kernel", "/a:\n", map[string]error{"/a": unix.ENOENT}, "/a", "a symbol that it uses, isn't there"},
	} {
		var loaded []string
		err := setup.LoadModules(c.list, func(name string) error {
			loaded = append(loaded, name)
			return c.fails[name]
		})
		if strings.Join(loaded, " ") != c.loaded || (err == nil) != (c.want == "") || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%s: loaded %q, %v; want %s and %q", c.name, loaded, err, c.loaded, c.want)
		}
	}
}

// newRoot makes a root to switch to, with an init that says what it was given.
func newRoot(t *testing.T) string {
	t.Helper()
	root, source := t.TempDir(), filepath.Join(t.TempDir(), "init.go")
	for _, dir := range []string{"/proc", "/sys", "/dev", "/run"} {
		if err := os.MkdirAll(root+"/new"+dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	writeTestFile(t, source, `package main; import "os"; func main() { println(os.Getpid(), os.Args[0], os.Args[1]); _, err := os.Stat("/new"); println(err != nil) }`)
	c := exec.Command("go", "build", "-o", root+"/new/init", source)
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return root
}

func TestSwitchRootExecutesTheFirstInitThatIsThere(t *testing.T) {
	root := newRoot(t)
	if out, status := jail(t, root, "switch", "/absent", "/init"); out != "1 /init single\ntrue\n" || status != 0 {
		t.Errorf("%q, status %v", out, status)
	}
	if out, _ := jail(t, root, "switch", "/absent"); !strings.Contains(out, "execute init: none of /absent is there, no-init") {
		t.Errorf("without init: %q", out)
	}
	if out, _ := jail(t, root, "switch", "/sys"); !strings.Contains(out, "execute /sys: permission denied") {
		t.Errorf("with one that is a directory: %q", out)
	}
	if out, _ := jail(t, root, "switch", "/unmounted"); !strings.Contains(out, "move the new root to /: invalid argument") {
		t.Errorf("to what isn't mounted: %q", out)
	}
	if err := os.Remove(root + "/new/sys"); err != nil {
		t.Fatal(err)
	}
	if out, _ := jail(t, root, "switch", "/init"); !strings.Contains(out, "move /sys to the new root: no such file or directory, no-early-mount") {
		t.Errorf("without /sys: %q", out)
	}
	if err := os.Mkdir(root+"/new/sys", 0o755); err != nil {
		t.Fatal(err)
	}
	if out, status := jail(t, root, "switch", "/init"); out != "1 /init single\ntrue\n" || status != 0 {
		t.Errorf("with /sys: %q, status %v", out, status)
	}
}

// A machine on which somebody only tries this isn't stopped.
func TestWithoutAShellAnInitramfsStops(t *testing.T) {
	for release, c := range map[string]struct {
		signal syscall.Signal // by which the kernel says how it was stopped
		want   string
	}{
		"/etc/initrd-release":     {syscall.SIGINT, ""},
		"/usr/lib/initrd-release": {syscall.SIGINT, ""},
		"/etc/os-release":         {-1, "this is no initramfs: the machine isn't stopped, status 8\n"},
	} {
		root := t.TempDir()
		writeTestFile(t, root+release, "")
		out, status := jail(t, root, "stop")
		if status.Signaled() != (c.signal > 0) || status.Signaled() && status.Signal() != c.signal || !strings.HasPrefix(out, c.want) {
			t.Errorf("%s: %v, %q; want %v, %q", release, status, out, c.signal, c.want)
		}
	}
}

func TestARefusedBootEndsAsThePolicySays(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(root+"/dev/tpm0", 0o755); err != nil {
		t.Fatal(err)
	}
	const broken = "composefs: open /dev/tpm0: is a directory\n"
	for _, c := range []struct {
		name, action, uid string
		signal            syscall.Signal // by which the kernel says how it was stopped
		want              string
	}{
		{"emergency", "emergency", "0", -1, broken + "<nil>, status 0\n"},
		{"reboot", "reboot", "0", syscall.SIGHUP, broken},
		{"power off", "poweroff", "0", syscall.SIGINT, broken},
		{"without the right to", "reboot", "65534", -1, broken + "composefs: reboot: operation not permitted\n<nil>, status 0\n"},
	} {
		out, status := jail(t, root, "refused", c.action, c.uid)
		signal := syscall.Signal(-1)
		if status.Signaled() {
			signal = status.Signal()
		}
		if signal != c.signal || !strings.HasPrefix(out, c.want) {
			t.Errorf("%s: %v, %q; want %v, %q", c.name, signal, out, c.signal, c.want)
		}
	}
}
