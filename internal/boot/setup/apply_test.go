package setup

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/internal/boot/kernel"
	"github.com/composefs-go/composefs/internal/boot/kmsg"
	"github.com/composefs-go/composefs/internal/boot/tpm"
	"github.com/composefs-go/composefs/verity"
)

func writeTestFile(t testing.TB, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// fake is a machine on which everything works but what fails says.
type fake struct {
	t      testing.TB
	images map[verity.Digest]verity.Digest // by name, what is measured
	seals  map[string][]byte               // files of composefs/seals
	fails  map[string]error                // by method
	open   verity.Digest
	calls  []string
	record *Boot
}

func (f *fake) call(method string, args ...any) error {
	call := strings.TrimSpace(method + " " + strings.Trim(fmt.Sprint(args...), "[]"))
	f.calls = append(f.calls, call)
	if err := f.fails[method]; err != nil {
		return err
	}
	for begins, err := range f.fails { // a call with certain arguments
		if strings.Contains(begins, " ") && strings.HasPrefix(call, begins) {
			return err
		}
	}
	return nil
}

func (f *fake) PreferRoot(p string, _ bootcfg.Cmdline) error { return f.call("PreferRoot", p) }
func (f *fake) MountRoot(p string, _ bootcfg.Cmdline) error  { return f.call("MountRoot", p) }
func (f *fake) OpenRoot(p string) error                      { return f.call("OpenRoot", p) }
func (f *fake) ResolveRef(string) (verity.Digest, error) {
	return digest(f.t, hexA), f.call("ResolveRef")
}
func (f *fake) OpenImage(d verity.Digest) error {
	if err := f.call("OpenImage", d.Hex()[:2]); err != nil {
		return err
	}
	if _, ok := f.images[d]; !ok {
		return fs.ErrNotExist
	}
	f.open = d
	return nil
}
func (f *fake) Measure(verity.Algorithm) (verity.Digest, error) {
	return f.images[f.open], f.call("Measure")
}
func (f *fake) ReadImage() error { return f.call("ReadImage") }
func (f *fake) HashImage(verity.Algorithm) (verity.Digest, error) {
	return f.images[f.open], f.call("HashImage")
}
func (f *fake) ReadSeal(name string, _ int64) ([]byte, error) {
	if text, ok := f.seals[name]; ok {
		return text, f.call("ReadSeal")
	}
	return nil, fs.ErrNotExist
}
func (f *fake) Extend(pcr uint32, event string, needed bool) ([]tpm.Digest, error) {
	return []tpm.Digest{{Algorithm: "sha256", Sum: []byte{1, 0xff}}}, f.call("Extend", pcr, " ", event, " ", needed)
}
func (f *fake) RootID() string    { return "0123" }
func (f *fake) MountImage() error { return f.call("MountImage") }
func (f *fake) MountOverlay(_ string, verity bool, m bootcfg.TransientMode) error {
	return f.call("MountOverlay", verity, m)
}
func (f *fake) MakeWritable() error    { return f.call("MakeWritable") }
func (f *fake) BindRoot(ro bool) error { return f.call("BindRoot", ro) }
func (f *fake) MountState(dir string, m bootcfg.MountMode, _ string) error {
	return f.call("MountState", dir, " ", m)
}
func (f *fake) SelfTest([]string) error { return f.call("SelfTest") }
func (f *fake) Record(b *Boot) error    { f.record = b; return f.call("Record") }
func (f *fake) HandOver(string) error   { return f.call("HandOver") }
func (f *fake) SwitchRoot(_ string, _, args []string) error {
	return f.call("SwitchRoot", strings.Join(args, ","))
}
func (f *fake) Abandon() { _ = f.call("Abandon") }

// machine has the images A and B, both as they should be.
func machine(t testing.TB) *fake {
	a, b := digest(t, hexA), digest(t, hexB)
	return &fake{t: t, images: map[verity.Digest]verity.Digest{a: a, b: b}, fails: map[string]error{}}
}

func (f *fake) boot(o Options) error {
	return RunOn(f, newKernel(), o, kmsg.New(nil, f.t.Output()))
}

func TestApplyDoesTheStepsInOrder(t *testing.T) {
	f := machine(t)
	o := options(t, argA, "", 0)
	o.Init = []string{"/init", "single"}
	if err := f.boot(o); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"MountRoot /sysroot", "OpenRoot /sysroot", "OpenImage 0a", "Measure", "ReadImage", "MountImage", "MountOverlay true",
		"MakeWritable", "MountState etc overlay", "MountState var bind", "BindRoot false", "SelfTest", "Record", "HandOver", "SwitchRoot single",
	}
	for i := range f.calls {
		f.calls[i] = strings.Join(strings.Fields(f.calls[i]), " ")
	}
	if !slices.Equal(f.calls, want) {
		t.Errorf("calls\n got %q\nwant %q", f.calls, want)
	}
	if f.record.Digest != digest(t, hexA) || f.record.Argument != argA || f.record.FSVerity != bootcfg.Require {
		t.Errorf("record %+v", f.record)
	}
}

// What the image has is verified; only what is kept on the disk is hidden.
func TestExtensionsAreHiddenWhereTheyAreKept(t *testing.T) {
	for policy, want := range map[string]string{
		"":                                  "",
		"[verify]\nextensions = \"forbid\"": "etc/extensions,var/lib/extensions,var/lib/extensions.mutable,var/lib/confexts",
		"[etc]\nmount = \"transient\"":      "var/lib/extensions,var/lib/extensions.mutable,var/lib/confexts",
		"[etc]\nmount = \"none\"\n[var]\nmount = \"volatile\"": "",
	} {
		f := machine(t)
		if err := f.boot(options(t, argA, policy, 0)); err != nil {
			t.Fatal(err)
		}
		var hidden []string
		for _, c := range f.calls {
			if words := strings.Fields(c); words[0] == "MountState" && strings.Contains(words[1], "/") {
				hidden = append(hidden, words[1])
			}
		}
		if got := strings.Join(hidden, ","); got != want {
			t.Errorf("%q: %s, want %s", policy, got, want)
		}
	}
}

func TestApplyRefusesWithAStatusAndCleansUp(t *testing.T) {
	wrong := func(f *fake) { f.images[digest(f.t, hexA)] = digest(f.t, hexB) }
	fail := func(method string, err error) func(*fake) { return func(f *fake) { f.fails[method] = err } }
	for _, c := range []struct {
		name, cmdline, policy string
		spoil                 func(*fake)
		code                  Code
		want                  string
	}{
		{"no such image", "composefs=" + strings.Repeat("0d", 32), "", func(*fake) {}, CodeNotFound, "there is no composefs/images/0d"},
		{"another image in its place", argA, "", wrong, CodeMismatch, "found " + hexB},
		{"the first is bad, the second good", argA + " " + argB, "", wrong, CodeMismatch, "found " + hexB},
		{"no fs-verity on the image", argA, "", fail("Measure", verity.ErrNotEnabled), CodeMismatch, "has no fs-verity digest"},
		{"no fs-verity on the file system", argA, "", fail("Measure", verity.ErrUnsupported), CodeMismatch, "tune2fs -O verity"},
		{"a digest of another kind", argA, "", fail("Measure", verity.ErrMismatch), CodeMismatch, "digest mismatch"},
		{"a damaged block", argA, "", fail("ReadImage", syscall.EIO), CodeMismatch, "is damaged"},
		{"the wrong hash in user space", argA, "[verify]\nfs-verity = \"userspace\"", wrong, CodeMismatch, "found " + hexB},
		{"a revoked image", argA, "[verify]\nsignature = \"off\"\nrevoked = [\"" + hexA + "\"]", func(*fake) {}, CodeSignature, "revoked"},
		{"a kernel that turns out to lack something", argA, "", fail("MountImage", &kernel.MissingError{Feature: kernel.EROFSFile}), CodeKernel, "6.12"},
		{"a mount", argA, "", fail("MountOverlay", syscall.EINVAL), CodeMount, "invalid argument"},
		{"a bad object", argA, "", fail("SelfTest", syscall.EIO), CodeSelfTest, "input/output error"},
	} {
		f := machine(t)
		c.spoil(f)
		err := f.boot(options(t, c.cmdline, c.policy, 0))
		if CodeOf(err) != c.code || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: status %d, %v; want %d and %q", c.name, CodeOf(err), err, c.code, c.want)
		}
		if last := f.calls[len(f.calls)-1]; last != "Abandon" || slices.Contains(f.calls, "HandOver") {
			t.Errorf("%s: calls %q, want Abandon at the end and nothing handed over", c.name, f.calls)
		}
		if strings.Contains(fmt.Sprint(err), "\n") {
			t.Errorf("%s: more than one line: %v", c.name, err)
		}
	}
}

// The plan has refused this before; the step decides for itself.
func TestASealIsNeverCheckedWithoutKeys(t *testing.T) {
	f := machine(t)
	o := options(t, argA, "[verify]\nsignature = \"require\"", 0)
	if err := (&session{o: o, sys: f}).checkSeal(); CodeOf(err) != CodeConfig || len(f.calls) > 0 {
		t.Errorf("%v, calls %q; want a configuration error", err, f.calls)
	}
}

func TestTheSecondImageIsForWhenTheFirstIsAbsent(t *testing.T) {
	f := machine(t)
	delete(f.images, digest(t, hexA))
	if err := f.boot(options(t, argA+" "+argB, "", 0)); err != nil || f.record.Digest != digest(t, hexB) {
		t.Errorf("%v, booted %v", err, f.record)
	}
}

// The mark permits fs-verity to be absent, never to be wrong.
func TestTheMarkIsForAbsentVerityOnly(t *testing.T) {
	o := options(t, strings.Replace(argA, "=", "=?", 1), "[verify]\nallow-insecure = true", 0)
	f := machine(t)
	f.fails["Measure"] = verity.ErrNotEnabled
	if err := f.boot(o); err != nil || f.record.FSVerity != bootcfg.Optional || !slices.Contains(f.calls, "MountOverlay false") {
		t.Errorf("absent: %v, calls %q", err, f.calls)
	}
	f = machine(t)
	f.images[digest(t, hexA)] = digest(t, hexB)
	if err := f.boot(o); CodeOf(err) != CodeMismatch {
		t.Errorf("wrong: %v, want a mismatch", err)
	}
}

func TestBootJSON(t *testing.T) {
	k := kernel.New(kernel.OverlayVerity)
	b := Boot{Digest: digest(t, hexA), Argument: "composefs=\"\x01\\é\xff", FSVerity: bootcfg.Off, Version: "1", kernel: k, Config: bootcfg.DefaultConfig(),
		Seal: sealRecord{Status: "valid", Key: "0123456789ABCDEF", KeyName: "k", Sequence: 7}}
	b.Milliseconds.add(StageVerify, 1500000)
	b.Milliseconds.add(StageVerify, 500000)
	got := b.JSON(42)
	want := `{"version":1,"digest":"fsverity-sha256-12:` + hexA + `","argument":"composefs=\"\u0001\\é` + "\ufffd" + `",` +
		`"seal":{"status":"valid","key":"0123456789ABCDEF","key-name":"k","sequence":7},"fs-verity":"off","tpm":{"status":""},"no-room":[],"policy":{"root":"","etc":"overlay","extensions":"allow"},"kernel":"` + k.Release() + `",` +
		`"features":{"overlay-verity":false},"milliseconds":{"verify":2.000},"setup-root":{"version":"1","max-rss-kib":42}}` + "\n"
	if got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}
