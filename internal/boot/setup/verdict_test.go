package setup_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/internal/boot/kmsg"
	"github.com/composefs-go/composefs/internal/boot/setup"
	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// scene is a repository with one image, and what is trusted.
type scene struct {
	t          *testing.T
	dir        string // of the repository
	image      verity.Digest
	ours       sign.PrivateKey
	theirs     sign.PrivateKey
	keys       string // directory of the trusted keys: that of ours
	policy     string
	policyFile string
	linked     bool // policyFile is a link, which stays
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{t: t, dir: filepath.Join(t.TempDir(), "composefs"), keys: filepath.Join(t.TempDir(), "keys.d"), policyFile: filepath.Join(t.TempDir(), "policy")}
	r, err := repo.Init(s.dir, repo.Meta{Algorithm: verity.SHA256, Format: erofs.V1})
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	s.image = s.add("the image")
	for _, k := range []*sign.PrivateKey{&s.ours, &s.theirs} {
		if *k, err = sign.NewKey(); err != nil {
			t.Fatal(err)
		}
	}
	s.trust("ours", s.ours)
	s.seal(s.statement(42), s.ours)
	return s
}

func (s *scene) add(content string) verity.Digest {
	d := verity.Sum(verity.SHA256, []byte(content))
	writeTestFile(s.t, s.path("objects", d.ObjectPath()), content)
	if err := errors.Join(os.MkdirAll(s.path("images"), 0o755), os.Symlink("../objects/"+d.ObjectPath(), s.path("images", d.Hex()))); err != nil {
		s.t.Fatal(err)
	}
	return d
}

func (s *scene) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

func (s *scene) trust(name string, k sign.PrivateKey) {
	writeTestFile(s.t, filepath.Join(s.keys, name+".pub"), string(k.Public("").Text()))
}

func (s *scene) statement(sequence uint64) sign.Seal {
	return newSeal(s.t, sign.Statement{Digest: s.image, Sequence: sequence})
}

func newSeal(t *testing.T, said sign.Statement) sign.Seal {
	t.Helper()
	seal, err := sign.NewSeal(said)
	if err != nil {
		t.Fatal(err)
	}
	return seal
}

// file is the place of the seal, or with a suffix that of a signature.
func (s *scene) file(suffix string) string {
	return s.path(sign.Directory, sign.TextFile(s.image).Name()+suffix)
}

func (s *scene) seal(seal sign.Seal, key sign.PrivateKey) {
	sig, err := sign.Sign(seal, key)
	if err != nil {
		s.t.Fatal(err)
	}
	writeTestFile(s.t, s.file(""), string(seal.Text()))
	writeTestFile(s.t, s.file(".minisig"), string(sig.Text()))
}

// remove makes room at a path.
func (s *scene) remove(name string) {
	if err := os.RemoveAll(name); err != nil {
		s.t.Fatal(err)
	}
}

// sealed is the fake machine with the real way to read seals.
type sealed struct {
	*fake
	store setup.System
}

func (s sealed) ReadSeal(f sign.File) ([]byte, error) { return s.store.ReadSeal(f) }

// boot returns what the boot says.
func (s *scene) boot() (string, setup.Code, string) {
	store := setup.NewSystem(newKernel(), kmsg.New(nil, s.t.Output()))
	if err := store.OpenRoot(filepath.Dir(s.dir)); err != nil {
		s.t.Fatal(err)
	}
	defer store.Abandon()
	f := machine(s.t)
	content, err := os.ReadFile(s.path("images", s.image.Hex()))
	if err != nil {
		s.t.Fatal(err)
	}
	f.images[s.image] = verity.Sum(verity.SHA256, content)
	// The directory of the policy is that of the initramfs.
	o, err := setup.Read("composefs="+s.image.Hex(), setup.Paths{Config: s.policyFile, Keys: s.keys})
	if err == nil {
		err = setup.RunOn(sealed{f, store}, newKernel(), o, kmsg.New(nil, s.t.Output()))
	}
	if err != nil {
		return err.Error(), setup.CodeOf(err), ""
	}
	return "", setup.CodeOK, f.record.Seal.Status.String() + " " + f.record.Seal.Key.Name
}

// verify returns what mkimage says.
func (s *scene) verify(mkimage string) (string, setup.Code, string) {
	args := []string{"verify", "--quiet", "--json", "--repo", s.dir, "--keys", s.keys, "--policy", s.policyFile, s.image.Hex()}
	cmd := exec.Command(mkimage, args...)
	var out, message bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &message
	err := cmd.Run()
	if err != nil && cmd.ProcessState == nil {
		s.t.Fatal(err)
	}
	var refusal struct{ Message string }
	if message.Len() > 0 {
		if err := json.Unmarshal(message.Bytes(), &refusal); err != nil {
			s.t.Fatalf("mkimage says %q: %v", message.String(), err)
		}
	}
	status := ""
	for _, key := range []string{`"status": "`, `"key-name": "`} {
		if _, rest, ok := strings.Cut(out.String(), key); ok {
			value, _, _ := strings.Cut(rest, `"`)
			status += value + " "
		}
	}
	return refusal.Message, setup.Code(cmd.ProcessState.ExitCode()), strings.TrimSpace(status)
}

// mkimage says of an image, before anybody boots it, what the boot would say: in
// the same words, with the same exit status.
func TestMkimageGivesTheVerdictOfTheBoot(t *testing.T) {
	mkimage := filepath.Join(t.TempDir(), "mkimage")
	if out, err := exec.Command("go", "build", "-o", mkimage, "../../../cmd/mkimage").CombinedOutput(); err != nil {
		t.Fatalf("build mkimage: %v\n%s", err, out)
	}
	for _, test := range []struct {
		name   string
		change func(s *scene)
		code   setup.Code
		says   string // of the refusal, or of the record
	}{
		{"sealed", func(*scene) {}, setup.CodeOK, "valid ours"},
		{"changed content", func(s *scene) { writeTestFile(s.t, s.path("objects", s.image.ObjectPath()), "changed") }, setup.CodeMismatch, "in its place"},
		{"no seal", func(s *scene) { s.remove(s.path("seals")) }, setup.CodeSignature, "image has no seal"},
		{"no seal, none needed", func(s *scene) { s.remove(s.path("seals")); s.policy = "signature = \"optional\"" }, setup.CodeOK, "none"},
		{"a bad seal, none needed", func(s *scene) { writeTestFile(s.t, s.file(""), "x"); s.policy = "signature = \"optional\"" }, setup.CodeSignature, "bad signature"},
		{"a bad seal that nobody looks at", func(s *scene) { writeTestFile(s.t, s.file(""), "x"); s.policy = "signature = \"off\"" }, setup.CodeOK, "not-required"},
		{"no signature", func(s *scene) { s.remove(s.file(".minisig")) }, setup.CodeSignature, "seal has no signature"},
		{"empty seal", func(s *scene) { writeTestFile(s.t, s.file(""), "") }, setup.CodeSignature, "image has no seal"},
		{"seal of 1 MiB", func(s *scene) { writeTestFile(s.t, s.file(""), strings.Repeat("x", 1<<20)) }, setup.CodeSignature, "1048576 bytes, at most 4096"},
		{"signature of 1 MiB", func(s *scene) { writeTestFile(s.t, s.file(".minisig"), strings.Repeat("x", 1<<20)) }, setup.CodeSignature, "1048576 bytes, at most 1024"},
		{"signature that is a link", func(s *scene) {
			s.remove(s.file(".minisig"))
			if err := os.Symlink("elsewhere", s.file(".minisig")); err != nil {
				s.t.Fatal(err)
			}
		}, setup.CodeSignature, "symbolic link"},
		{"seal that is a directory", func(s *scene) { s.remove(s.file("")); writeTestFile(s.t, s.file("")+"/x", "") }, setup.CodeSignature, "want a regular file"},
		{"CRLF", func(s *scene) {
			writeTestFile(s.t, s.file(""), strings.ReplaceAll(string(s.statement(42).Text()), "\n", "\r\n"))
		}, setup.CodeSignature, "bad signature"},
		{"by another key", func(s *scene) { s.seal(s.statement(42), s.theirs) }, setup.CodeSignature, "signed by no trusted key"},
		{"by a key that was removed", func(s *scene) { s.remove(filepath.Join(s.keys, "ours.pub")); s.trust("theirs", s.theirs) }, setup.CodeSignature, "signed by no trusted key"},
		{"of another image", func(s *scene) {
			image := s.image
			s.image = s.add("another image")
			other := s.statement(42)
			s.image = image
			s.seal(other, s.ours)
		}, setup.CodeSignature, "seal is for another image"},
		{"too old", func(s *scene) { s.policy = "minimum-sequence = 43" }, setup.CodeSignature, "want sequence 43 or higher, found 42"},
		{"just new enough", func(s *scene) { s.policy = "minimum-sequence = 42" }, setup.CodeOK, "valid ours"},
		{"of another system", func(s *scene) { s.policy = "os-id = [\"kiosk\"]" }, setup.CodeSignature, "want os-id kiosk, found none"},
		{"of one of the systems", func(s *scene) {
			s.policy = "os-id = [\"kiosk\", \"debian\"]"
			s.seal(newSeal(s.t, sign.Statement{Digest: s.image, Sequence: 42, OSID: "debian", Refs: []string{"debian/stable"}}), s.ours)
		}, setup.CodeOK, "valid ours"},
		{"an image that is a file and not a link to one", func(s *scene) {
			s.remove(s.path("images", s.image.Hex()))
			writeTestFile(s.t, s.path("images", s.image.Hex()), "the image")
		}, setup.CodeOK, "valid ours"},
		{"an image by a link of another form", func(s *scene) {
			s.remove(s.path("images", s.image.Hex()))
			if err := os.Symlink("../images/../objects/"+s.image.ObjectPath(), s.path("images", s.image.Hex())); err != nil {
				s.t.Fatal(err)
			}
		}, setup.CodeOK, "valid ours"},
		{"signed again, and stopped before all was in its place", func(s *scene) {
			next := s.path("seals", sign.NextSignatureFile(s.image, s.ours.ID()).Name())
			if err := os.Rename(s.file(".minisig"), next); err != nil {
				s.t.Fatal(err)
			}
		}, setup.CodeOK, "valid ours"},
		{"a minimum, and no key", func(s *scene) {
			s.remove(filepath.Join(s.keys, "ours.pub"))
			s.policy = "minimum-sequence = 1"
		}, setup.CodeConfig, "minimum-sequence, which is about seals"},
		{"revoked", func(s *scene) { s.policy = fmt.Sprintf("revoked = [%q]", s.image.Hex()) }, setup.CodeSignature, "image is revoked"},
		{"revoked, and seals don't matter", func(s *scene) {
			s.policy = fmt.Sprintf("signature = \"off\"\nrevoked = [%q]", s.image.Hex())
		}, setup.CodeSignature, "image is revoked"},
		{"a signature of a stranger beside", func(s *scene) {
			s.trust("theirs", s.theirs)
			writeTestFile(s.t, s.path("seals", sign.KeySignatureFile(s.image, s.theirs.ID()).Name()), "junk")
		}, setup.CodeOK, "valid ours"},
		{"a good one beside a link", func(s *scene) {
			if err := os.Rename(s.file(".minisig"), s.path("seals", sign.KeySignatureFile(s.image, s.ours.ID()).Name())); err != nil {
				s.t.Fatal(err)
			}
			if err := os.Symlink("elsewhere", s.file(".minisig")); err != nil {
				s.t.Fatal(err)
			}
		}, setup.CodeOK, "valid ours"},
		{"policy that requires, and no key", func(s *scene) { s.remove(filepath.Join(s.keys, "ours.pub")); s.policy = "signature = \"require\"" }, setup.CodeConfig, "there is no *.pub key"},
		{"a bad key", func(s *scene) { writeTestFile(s.t, filepath.Join(s.keys, "z.pub"), "") }, setup.CodeConfig, "want a minisign public key"},
		{"a key that can't be read", func(s *scene) { writeTestFile(s.t, filepath.Join(s.keys, "z.pub/x"), "") }, setup.CodeConfig, "want a regular file"},
		{"a key that leads nowhere", func(s *scene) {
			if err := os.Symlink("nowhere", filepath.Join(s.keys, "z.pub")); err != nil {
				s.t.Fatal(err)
			}
		}, setup.CodeConfig, "found a symbolic link"},
		{"a key that is a link", func(s *scene) {
			file := filepath.Join(s.keys, "ours.pub")
			if err := errors.Join(os.Rename(file, file+".target"), os.Symlink("ours.pub.target", file)); err != nil {
				s.t.Fatal(err)
			}
		}, setup.CodeConfig, "want a regular file, found a symbolic link"},
		{"a directory of keys that is a link", func(s *scene) {
			if err := errors.Join(os.Rename(s.keys, s.keys+".target"), os.Symlink(s.keys+".target", s.keys)); err != nil {
				s.t.Fatal(err)
			}
		}, setup.CodeConfig, "want a directory, found a symbolic link"},
		{"a policy that is a link", func(s *scene) {
			target := s.policyFile + ".target"
			writeTestFile(s.t, target, "")
			s.policyFile += ".link"
			s.linked = true
			if err := os.Symlink(target, s.policyFile); err != nil {
				s.t.Fatal(err)
			}
		}, setup.CodeConfig, "want a regular file, found a symbolic link"},
		{"no directory of keys", func(s *scene) { s.remove(s.keys) }, setup.CodeConfig, "no such file"},
		{"a bad policy", func(s *scene) { s.policy = "signature = \"maybe\"" }, setup.CodeConfig, "line 2: [verify] signature"},
		{"a policy of a newer time", func(s *scene) { s.policy = "valid-until = 2030" }, setup.CodeConfig, "unknown key"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newScene(t)
			test.change(s)
			if !s.linked {
				writeTestFile(t, s.policyFile, "[verify]\n"+s.policy+"\n")
			}
			bootText, bootCode, bootRecord := s.boot()
			text, code, record := s.verify(mkimage)
			if bootCode != test.code || !strings.Contains(bootText+bootRecord, test.says) {
				t.Errorf("the boot: status %d, %q, record %q; want %d and %q", bootCode, bootText, bootRecord, test.code, test.says)
			}
			if text != bootText || code != bootCode || record != strings.TrimSpace(bootRecord) {
				t.Errorf("mkimage: status %d, %q, record %q\nthe boot: status %d, %q, record %q", code, text, record, bootCode, bootText, bootRecord)
			}
		})
	}
}
