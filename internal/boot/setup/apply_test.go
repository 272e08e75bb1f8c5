package setup_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/internal/boot/blockdev"
	"github.com/composefs-go/composefs/internal/boot/kernel"
	"github.com/composefs-go/composefs/internal/boot/kmsg"
	"github.com/composefs-go/composefs/internal/boot/setup"
	"github.com/composefs-go/composefs/internal/boot/tpm"
	"github.com/composefs-go/composefs/sign"
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
	seals  map[sign.File][]byte            // files of composefs/seals
	fails  map[string]error                // by method
	open   verity.Digest
	calls  []string
	record *setup.Boot
	hasTPM bool // says the firmware
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
func (f *fake) ReadSeal(name sign.File) ([]byte, error) {
	if text, ok := f.seals[name]; ok {
		return text, f.call("ReadSeal")
	}
	return nil, fs.ErrNotExist
}
func (f *fake) Extend(pcr uint32, event string, needed bool) ([]tpm.Digest, error) {
	return []tpm.Digest{{Algorithm: "sha256", Sum: []byte{1, 0xff}}}, f.call("Extend", pcr, " ", event, " ", needed)
}
func (f *fake) HasTPM() bool      { return f.hasTPM }
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
func (f *fake) SelfTest([]string) error    { return f.call("SelfTest") }
func (f *fake) Record(b *setup.Boot) error { f.record = b; return f.call("Record") }
func (f *fake) HandOver(string) error      { return f.call("HandOver") }
func (f *fake) SwitchRoot(_ string, _, args []string) error {
	return f.call("SwitchRoot", strings.Join(args, ","))
}
func (f *fake) Abandon() { _ = f.call("Abandon") }

// machine has the images A and B, both as they should be.
func machine(t testing.TB) *fake {
	a, b := digest(t, hexA), digest(t, hexB)
	return &fake{t: t, images: map[verity.Digest]verity.Digest{a: a, b: b}, fails: map[string]error{}}
}

func (f *fake) boot(o setup.Options) error {
	return setup.RunOn(f, newKernel(), o, kmsg.New(nil, f.t.Output()))
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
		code                  setup.Code
		want                  string
	}{
		{"no such image", "composefs=" + strings.Repeat("0d", 32), "", func(*fake) {}, setup.CodeNotFound, "there is no composefs/images/0d"},
		{"another image in its place", argA, "", wrong, setup.CodeMismatch, "found " + hexB},
		{"the first is bad, the second good", argA + " " + argB, "", wrong, setup.CodeMismatch, "found " + hexB},
		{"no fs-verity on the image", argA, "", fail("Measure", verity.ErrNotEnabled), setup.CodeMismatch, "has no fs-verity digest"},
		{"no fs-verity on the file system", argA, "", fail("Measure", verity.ErrUnsupported), setup.CodeMismatch, "has no fs-verity"},
		{"a digest of another kind", argA, "", fail("Measure", verity.ErrMismatch), setup.CodeMismatch, "digest mismatch"},
		{"a damaged block", argA, "", fail("ReadImage", syscall.EIO), setup.CodeMismatch, "is damaged"},
		{"the wrong hash in user space", argA, "[verify]\nfs-verity = \"userspace\"", wrong, setup.CodeMismatch, "found " + hexB},
		{"a revoked image", argA, "[verify]\nsignature = \"off\"\nrevoked = [\"" + hexA + "\"]", func(*fake) {}, setup.CodeSignature, "revoked"},
		{"a kernel that turns out to lack something", argA, "", fail("MountImage", &kernel.MissingError{Feature: kernel.EROFSFile}), setup.CodeKernel, "6.12"},
		{"a mount", argA, "", fail("MountOverlay", syscall.EINVAL), setup.CodeMount, "invalid argument"},
		{"a bad object", argA, "", fail("SelfTest", syscall.EIO), setup.CodeSelfTest, "input/output error"},
	} {
		f := machine(t)
		c.spoil(f)
		err := f.boot(options(t, c.cmdline, c.policy, 0))
		if setup.CodeOf(err) != c.code || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: status %d, %v; want %d and %q", c.name, setup.CodeOf(err), err, c.code, c.want)
		}
		if last := f.calls[len(f.calls)-1]; last != "Abandon" || slices.Contains(f.calls, "HandOver") {
			t.Errorf("%s: calls %q, want Abandon at the end and nothing handed over", c.name, f.calls)
		}
		if strings.Contains(fmt.Sprint(err), "\n") {
			t.Errorf("%s: more than one line: %v", c.name, err)
		}
	}
}

func TestTheSecondImageIsForWhenTheFirstIsAbsent(t *testing.T) {
	f := machine(t)
	delete(f.images, digest(t, hexA))
	if err := f.boot(options(t, argA+" "+argB, "", 0)); err != nil || f.record.Digest != digest(t, hexB) {
		t.Errorf("%v, booted %v", err, f.record)
	}
}

// A root that somebody else has mounted is used where nothing says which of several is
// meant, and that is said with what to do about it.
func TestAnAmbiguousRootIsUsedAndSaid(t *testing.T) {
	for _, c := range []struct {
		name   string
		fails  error
		code   setup.Code
		advise func(error) string
		said   string
	}{
		{"only one fits", nil, setup.CodeOK, nil, ""},
		{"several fit", blockdev.ErrAmbiguous, setup.CodeOK, nil, "composefs: the root that is already mounted at /sysroot is used: more than one device fits\n"},
		{"several fit, with advice", blockdev.ErrAmbiguous, setup.CodeOK, func(err error) string { return err.Error() + ": unplug one" }, "composefs: the root that is already mounted at /sysroot is used: more than one device fits: unplug one\n"},
		{"the disk can't be read", syscall.EIO, setup.CodeMount, nil, ""},
	} {
		f, o := machine(t), options(t, "root=LABEL=root "+argA, "", 0)
		f.fails["PreferRoot"], o.Advise = c.fails, c.advise
		var console strings.Builder
		err := setup.RunOn(f, newKernel(), o, kmsg.New(nil, &console))
		if setup.CodeOf(err) != c.code || console.String() != c.said || f.calls[0] != "PreferRoot /sysroot" || (f.called("HandOver") >= 0) != (err == nil) {
			t.Errorf("%s: %v, said %q, calls %q", c.name, err, console.String(), f.calls)
		}
	}
}

// Without an image the root is booted as it is, if the policy says so: aloud, and with a
// register that isn't that of a verified boot.
func TestAnUnverifiedBootIsSaidAndMeasured(t *testing.T) {
	f := machine(t)
	var console strings.Builder
	o := options(t, "quiet", "[verify]\nargument = \"optional\"\n[measure]\ntpm = \"require\"\n", 0)
	if err := setup.RunOn(f, newKernel(), o, kmsg.New(nil, &console)); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(f.calls, []string{"Extend 15 composefs-refused:3 true"}) || !strings.Contains(console.String(), "what is booted is unverified") {
		t.Errorf("calls %q, said %q", f.calls, console.String())
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
	if err := f.boot(o); setup.CodeOf(err) != setup.CodeMismatch {
		t.Errorf("wrong: %v, want a mismatch", err)
	}
}

// Every text of the record comes back as it was, whatever is in it, but for what isn't UTF-8.
func TestTheRecordIsJSON(t *testing.T) {
	key := newKey(t)
	seal := newSeal(t, sign.Statement{Digest: digest(t, hexA), Sequence: 7, OSID: "debian", Refs: []string{"os/stable"}})
	signature, err := sign.Sign(seal, key)
	if err != nil {
		t.Fatal(err)
	}
	f := machine(t)
	f.seals = map[sign.File][]byte{sign.TextFile(digest(t, hexA)): seal.Text(), sign.SignatureFile(digest(t, hexA)): signature.Text()}
	o := options(t, argA, "[measure]\ntpm = \"require\"", 0)
	o.Keys = sign.Keyring{key.Public("k\"\x01")}
	o.Cmdline.Images[0].Argument = "composefs=\"\x01\\é\xff"
	k := newKernel(kernel.OverlayVerity)
	o.Config.Verify.FSVerity = bootcfg.Userspace
	if err := setup.RunOn(f, k, o, kmsg.New(nil, t.Output())); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Version                   int
		Digest, Argument, Kernel  string
		FSVerity                  string `json:"fs-verity"`
		Seal, TPM, Policy, Rooted map[string]any
		NoRoom                    []string `json:"no-room"`
		Features                  map[string]bool
		Milliseconds              map[string]float64
		Program                   struct {
			Version string
			RSS     int `json:"max-rss-kib"`
		} `json:"setup-root"`
	}
	line := f.record.JSON(42)
	if err := json.Unmarshal([]byte(line), &got); err != nil || strings.Count(line, "\n") != 1 {
		t.Fatalf("%q: %v", line, err)
	}
	wantSeal := map[string]any{"status": "valid", "key": key.ID().String(), "key-name": "k\"\x01", "sequence": 7., "os-id": "debian", "refs": []any{"os/stable"}}
	wantPolicy := map[string]any{"root": "", "etc": "overlay", "extensions": "allow"}
	if !reflect.DeepEqual(got.Seal, wantSeal) || !reflect.DeepEqual(got.Policy, wantPolicy) || got.TPM["status"] != "measured" || got.NoRoom == nil {
		t.Errorf("%s: want the seal %v and the policy %v", line, wantSeal, wantPolicy)
	}
	if got.Version != 1 || got.Digest != "fsverity-sha256-12:"+hexA || got.Argument != "composefs=\"\x01\\é\ufffd" || got.Kernel != k.Release() || got.FSVerity != "userspace" {
		t.Errorf("%s: parsed as %+v", line, got)
	}
	if verity, known := got.Features["overlay-verity"]; verity || !known || !got.Features["erofs"] || got.Program.Version != "test" || got.Program.RSS != 42 {
		t.Errorf("%s: parsed as %+v", line, got)
	}
	stages := slices.Sorted(maps.Keys(got.Milliseconds))
	// What comes after the record isn't in it.
	if want := []string{"compose", "measure", "mount", "self-test", "verify"}; !slices.Equal(slices.DeleteFunc(stages, func(s string) bool { return s == "close-pcr" || s == "record" || s == "hand-over" }), want) {
		t.Errorf("%s: took %v, want the stages %v", line, got.Milliseconds, want)
	}
}
