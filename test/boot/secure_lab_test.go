package boot

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/composefs-go/composefs/internal/testing/testutil"
	"github.com/composefs-go/composefs/test/vm"
)

const secureCode = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd"

// An owner has a key for Secure Boot, and the certificate that firmware knows.
type owner struct {
	key, cert string // PEM files
	der       []byte
}

// secure is a machine's firmware with keys of our own, and what is on the EFI
// system partition of the disks that it boots.
type secure struct {
	base
	ours, stranger owner  // the first is in the firmware's database
	variables      string // of the firmware
	initrd         string
	stub, loader   string // systemd's, version 257
	addonStub      string
	disk           string // as the base's, with room for programs
	tpm            bool   // the machines that it boots have one
}

// secureLab makes what the cases with Secure Boot share.
func secureLab(t *testing.T) secure {
	t.Helper()
	s := secure{base: need(t)}
	testutil.RequireFile(t, secureCode)
	for _, tool := range []string{"mcopy", "sbsign"} {
		testutil.RequireTool(t, tool)
	}
	programs := shared.once(t, "systemd-boot", func(path string) error {
		dir, err := run("../../scripts/systemd-boot", "trixie")
		if err != nil {
			return err
		}
		return os.Symlink(dir, path)
	}) + "/usr/lib/systemd/boot/efi/"
	s.stub, s.addonStub, s.loader = programs+"linuxx64.efi.stub", programs+"addonx64.efi.stub", programs+"systemd-bootx64.efi"
	s.initrd = shared.initrd(t, "trixie", "")
	owners := shared.once(t, "owners", func(dir string) error {
		for _, name := range []string{"platform", "exchange", "ours", "stranger"} {
			if err := newOwner(dir, name); err != nil {
				return err
			}
		}
		return nil
	})
	s.ours, s.stranger = readOwner(t, owners, "ours"), readOwner(t, owners, "stranger")
	s.variables = shared.once(t, "secure-variables", func(path string) error {
		blank, err := os.ReadFile(firmwareVariables)
		if err != nil {
			return err
		}
		store, err := vm.Enroll(blank, vm.Keys{
			Platform: readOwner(t, owners, "platform").der, Exchange: readOwner(t, owners, "exchange").der,
			Database: [][]byte{s.ours.der},
		})
		if err != nil {
			return err
		}
		return os.WriteFile(path, store, 0o600)
	})
	s.disk = shared.once(t, "secure.img", func(path string) error {
		_, err := shared.mkimage("disk", "--repo", s.repo, "--esp", "README="+s.pub, "--esp-size", "80", "--output", path,
			"--image", s.image, "--image", s.other)
		return err
	})
	return s
}

// newOwner makes a key and a certificate that vouches for itself.
func newOwner(dir, name string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "composefs boot test, " + name},
		NotBefore: time.Unix(0, 0), NotAfter: time.Now().AddDate(10, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	for suffix, block := range map[string]*pem.Block{".key": {Type: "PRIVATE KEY", Bytes: private}, ".pem": {Type: "CERTIFICATE", Bytes: der}} {
		if err := os.WriteFile(filepath.Join(dir, name+suffix), pem.EncodeToMemory(block), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func readOwner(t *testing.T, dir, name string) owner {
	t.Helper()
	o := owner{key: filepath.Join(dir, name+".key"), cert: filepath.Join(dir, name+".pem")}
	text, err := os.ReadFile(o.cert)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	o.der = block.Bytes
	return o
}

// sign returns a copy of an EFI program, signed by us.
func (o owner) sign(t *testing.T, program string) string {
	t.Helper()
	signed := filepath.Join(t.TempDir(), "signed.efi")
	if _, err := shared.mkimage("uki", "sign", "--sb-key", o.key, "--sb-cert", o.cert, "--output", signed, program); err != nil {
		t.Fatal(err)
	}
	return signed
}

// sbsign returns one that was signed by the program of that name.
func (o owner) sbsign(t *testing.T, program string) string {
	t.Helper()
	signed := filepath.Join(t.TempDir(), "signed.efi")
	if _, err := run("sbsign", "--key", o.key, "--cert", o.cert, "--output", signed, program); err != nil {
		t.Fatal(err)
	}
	return signed
}

// uki makes a UKI of the tests' kernel that has this command line besides the
// console's.
func (s secure) uki(t *testing.T, arguments string) string {
	t.Helper()
	dir, _ := shared.kernel(t, "trixie")
	name := fmt.Sprintf("uki-%x.efi", hash(arguments))
	return shared.once(t, name, func(path string) error {
		_, err := shared.mkimage("uki", "build", "--stub", s.stub, "--linux", filepath.Join(dir, "vmlinuz"), "--initrd", s.initrd,
			"--cmdline", consoleArguments+arguments, "--output", path)
		return err
	})
}

// bootWith boots the disk with these files on its EFI system partition, with the
// keys in the firmware.
func (s secure) bootWith(t *testing.T, esp map[string]string, c change, until *regexp.Regexp) vm.Console {
	t.Helper()
	b := s.base
	b.disk = s.disk
	disk := changedDisk(t, b, func(t *testing.T, b base, disk string) {
		for path, file := range esp {
			putESP(t, disk, path, file)
		}
		if c != nil {
			c(t, b, disk)
		}
	})
	variables := filepath.Join(t.TempDir(), "variables")
	if _, err := run("cp", s.variables, variables); err != nil {
		t.Fatal(err)
	}
	m := vm.Machine{Name: t.Name(), Disk: disk, TPM: s.tpm, Firmware: &vm.Firmware{Code: secureCode, Variables: variables, Secure: true}}
	console, err := m.Run(t.Context(), filepath.Join(t.ArtifactDir(), "console.log"), limit, until)
	if err != nil {
		t.Fatalf("%v\n%s", err, console.Tail(30))
	}
	t.Logf("%.1f s", console.Took.Seconds())
	return console
}

// putESP puts a file of the host on the EFI system partition.
func putESP(t *testing.T, disk, path, file string) {
	t.Helper()
	at := fmt.Sprintf("%s@@%d", disk, partitionOffset(t, disk, espPartition))
	dir := ""
	for _, part := range strings.Split(filepath.Dir(path), "/") {
		dir += "/" + part
		_, _ = run("mmd", "-D", "s", "-i", at, "::"+dir) // it may be there already
	}
	if _, err := run("mcopy", "-o", "-i", at, file, "::/"+path); err != nil {
		t.Fatal(err)
	}
}

// bootProgram is what the firmware starts.
const bootProgram = "EFI/BOOT/BOOTX64.EFI"

// givenUp is what the firmware says when nothing is left to start, and systemd-boot
// when its only entry may not be started; some of its versions crash after that.
var givenUp = regexp.MustCompile(`No bootable option or device was found|Shell>|Error loading .*: Access denied`)
