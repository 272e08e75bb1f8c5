package boot

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/internal/testing/testutil"
	"github.com/composefs-go/composefs/test/vm"
)

// Where Debian has firmware, UKI stub and boot loader.
const (
	firmwareCode      = "/usr/share/OVMF/OVMF_CODE_4M.fd"
	firmwareVariables = "/usr/share/OVMF/OVMF_VARS_4M.fd"
	stub              = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"
	loader            = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi"
)

// firmware returns firmware with variables of its own.
func firmware(t *testing.T) *vm.Firmware {
	t.Helper()
	for _, name := range []string{firmwareCode, firmwareVariables, stub, loader} {
		testutil.RequireFile(t, name)
	}
	own := filepath.Join(t.TempDir(), "variables")
	if _, err := run("cp", firmwareVariables, own); err != nil {
		t.Fatal(err)
	}
	return &vm.Firmware{Code: firmwareCode, Variables: own}
}

// firmwareFor returns firmware that has the keys of an example enrolled, if it made
// any.
func firmwareFor(t *testing.T, out string) *vm.Firmware {
	t.Helper()
	keys := filepath.Join(out, "keys")
	if _, err := os.Stat(keys); err != nil {
		return firmware(t)
	}
	testutil.RequireFile(t, secureCode)
	certificate := func(name string) []byte {
		der, err := os.ReadFile(filepath.Join(keys, name+".cer"))
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	blank, err := os.ReadFile(firmwareVariables)
	if err != nil {
		t.Fatal(err)
	}
	store, err := vm.Enroll(blank, vm.Keys{Platform: certificate("PK"), Exchange: certificate("KEK"), Database: [][]byte{certificate("db")}})
	if err != nil {
		t.Fatal(err)
	}
	return &vm.Firmware{Code: secureCode, Variables: written(t, string(store)), Secure: true}
}

// bootFirmware boots from the disk's EFI system partition.
func bootFirmware(t *testing.T, disk string, firmware *vm.Firmware) vm.Console {
	t.Helper()
	m := vm.Machine{Name: t.Name(), Firmware: firmware, Disk: disk}
	c, err := m.Run(t.Context(), filepath.Join(t.ArtifactDir(), "console.log"), limit, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, c.Tail(30))
	}
	t.Logf("%.1f s", c.Took.Seconds())
	return c
}

// machineRoot is the tiny root with a kernel and its modules, as a pipeline has it.
func (l *lab) machineRoot(t *testing.T) string {
	t.Helper()
	dir, release := l.kernel(t, "trixie")
	return l.once(t, "root-machine", func(root string) error {
		if err := l.tinyRoot(root, "1"); err != nil {
			return err
		}
		if _, err := run("cp", filepath.Join(dir, "vmlinuz"), filepath.Join(root, "boot/vmlinuz-"+release)); err != nil {
			return err
		}
		_, err := run("cp", "-r", filepath.Join(dir, "lib/modules"), filepath.Join(root, "usr/lib"))
		return err
	})
}

// example runs the script of an example on the machine root; it returns the image
// and the directory with the results.
func example(t *testing.T, name string) (image, out string) {
	t.Helper()
	out = shared.path("example-" + name)
	shared.once(t, "example-"+name, func(string) error {
		cmd := exec.Command("../../examples/"+name+"/build.sh", shared.machineRoot(t), out)
		cmd.Env = append(os.Environ(), "MKIMAGE="+shared.path("mkimage"), "SETUP_ROOT="+shared.path("composefs-setup-root"),
			"STUB="+stub, "LOADER="+loader, "CMDLINE="+machineArguments)
		if name == "registry" {
			cmd.Env = append(cmd.Env, "REGISTRY=docker://"+testutil.DockerRegistry(t, "../../scripts")+"/machine:stable")
		}
		log := filepath.Join(t.ArtifactDir(), name+".log")
		f, err := os.Create(log)
		if err != nil {
			return err
		}
		defer f.Close()
		cmd.Stderr = f
		digest, err := cmd.Output()
		if err != nil {
			said, _ := os.ReadFile(log)
			t.Logf("%s", said)
			return err
		}
		return os.WriteFile(filepath.Join(out, "digest"), digest, 0o644)
	})
	digest, err := os.ReadFile(filepath.Join(out, "digest"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(digest)), out
}

// What the examples make boots with UEFI firmware: a unified kernel image, one that
// was measured inside of its build, systemd-boot with a type 1 entry, and a disk made of what
// a registry had. Those that
// make keys for Secure Boot boot with these enrolled.
func TestExamples(t *testing.T) {
	need(t)
	for _, e := range []struct{ name, seal string }{
		{"uki", "valid"},
		{"unified", "not-required"}, // nobody but its own UKI vouches for it
		{"bls", "valid"},
		{"registry", "valid"},
	} {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			image, out := example(t, e.name)
			f := firmwareFor(t, out)
			c := bootFirmware(t, filepath.Join(out, "disk.img"), f)
			checkGood(t, c, image, e.seal)
			if f.Secure {
				checkEnforced(t, c)
			}
		})
	}
}

// With the digest in the UKI, a damaged image is refused under firmware too.
func TestFirmwareRefusesDamagedImage(t *testing.T) {
	b := need(t)
	t.Parallel()
	image, out := example(t, "uki")
	b.repo, b.disk, b.image = filepath.Join(out, "repo"), filepath.Join(out, "disk.img"), image
	disk := changedDisk(t, b, func(t *testing.T, b base, disk string) { flip(t, b, disk, b.image) })
	checkRefused(t, bootFirmware(t, disk, firmwareFor(t, out)), 5, "image")
}
