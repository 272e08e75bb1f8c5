package setup_test

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/internal/boot/kmsg"
	"github.com/composefs-go/composefs/internal/boot/setup"
)

// called returns the place of the first call of the method, -1 if there is none.
func (f *fake) called(method string) int {
	return slices.IndexFunc(f.calls, func(c string) bool { return strings.HasPrefix(c, method) })
}

func TestTheDigestIsMeasuredBeforeTheImageIsUsed(t *testing.T) {
	mark := strings.Replace(argA, "=", "=?", 1)
	for _, c := range []struct{ name, cmdline, policy, want string }{
		{"required", argA, "[measure]\ntpm = \"require\"", "Extend 15 composefs:fsverity-sha256-12:" + hexA + " true"},
		{"if there is one, elsewhere", argA, "[measure]\ntpm = \"if-present\"\npcr = 9", "Extend 9 composefs:fsverity-sha256-12:" + hexA + " false"},
		{"contents aren't verified", argA, "[measure]\ntpm = \"require\"\n[verify]\nfs-verity = \"userspace\"", "Extend 15 composefs-userspace:fsverity-sha256-12:" + hexA + " true"},
		{"nothing is verified", argA, "[measure]\ntpm = \"require\"\n[verify]\nfs-verity = \"off\"", "Extend 15 composefs-off:fsverity-sha256-12:" + hexA + " true"},
		{"the mark", mark, "[measure]\ntpm = \"require\"\n[verify]\nallow-insecure = true", "Extend 15 composefs-optional:fsverity-sha256-12:" + hexA + " true"},
	} {
		f := machine(t)
		err := f.boot(options(t, c.cmdline, c.policy, 0))
		at := f.called("Extend")
		if err != nil || at < 0 || f.calls[at] != c.want {
			t.Errorf("%s: %v, calls %q, want %q", c.name, err, f.calls, c.want)
			continue
		}
		if at > f.called("MountImage") || at < f.called("Measure") || at < f.called("HashImage") || at < f.called("ReadSeal") {
			t.Errorf("%s: calls %q, want it after what proves the image and before it is mounted", c.name, f.calls)
		}
		// Then the root that it is on, and, when all that is left is to hand over, the end.
		var events []string
		for _, call := range f.calls {
			if strings.HasPrefix(call, "Extend") {
				events = append(events, strings.Fields(call)[2])
			}
		}
		event := strings.Fields(c.want)[2]
		if want := []string{event, "composefs-root:0123", "composefs-handover"}; !slices.Equal(events, want) {
			t.Errorf("%s: measured %q, want %q", c.name, events, want)
		}
		if at := f.called("Extend " + strings.Fields(c.want)[1] + " composefs-handover"); at < f.called("MountState") || at < f.called("SelfTest") || at > f.called("HandOver") {
			t.Errorf("%s: calls %q, want the end after the self-test and before the root is handed over", c.name, f.calls)
		}
		if want := `"events":["` + strings.Join(events, `","`) + `"]`; !strings.Contains(f.record.JSON(0), want) {
			t.Errorf("%s: record %s, want %s", c.name, f.record.JSON(0), want)
		}
		if want := `"event":"` + event + `","digests":{"sha256":"01ff"}}`; !strings.Contains(f.record.JSON(0), want) {
			t.Errorf("%s: record %s, want %s", c.name, f.record.JSON(0), want)
		}
	}
}

// A register that can't be extended with what follows the digest is one that still opens what it should
// not: there is no boot then.
func TestARegisterThatCantBeClosedIsNoBoot(t *testing.T) {
	for _, event := range []string{"composefs-root", "composefs-handover"} {
		f := machine(t)
		f.fails["Extend 15 "+event] = syscall.EIO
		err := f.boot(options(t, argA, "[measure]\ntpm = \"if-present\"", 0))
		if setup.CodeOf(err) != setup.CodeKernel || f.called("HandOver") >= 0 || f.called("Record") >= 0 {
			t.Errorf("%s: %v, calls %q", event, err, f.calls)
		}
	}
}

// Who can't read the policy doesn't know the register, and closes the usual one.
func TestAPolicyThatCantBeReadSpoilsTheUsualRegister(t *testing.T) {
	policy := t.TempDir() + "/policy"
	writeTestFile(t, policy, "[verfy]")
	o, err := setup.Read(argA, setup.Paths{Config: policy})
	f := machine(t)
	if err == nil || f.refuse(o.Config.Measure, setup.CodeOf(err)) != "" || f.called("Extend 15 composefs-refused:2") != 0 {
		t.Errorf("%v, calls %q", err, f.calls)
	}
}

func TestNothingIsMeasuredUnlessThePolicySaysSo(t *testing.T) {
	f := machine(t)
	if err := f.boot(options(t, argA, "", 0)); err != nil || f.called("Extend") >= 0 || !strings.Contains(f.record.JSON(0), `"tpm":{"status":"off"}`) {
		t.Errorf("%v, calls %q", err, f.calls)
	}
	if said := f.refuse(bootcfg.DefaultConfig().Measure, setup.CodeMismatch); said != "" || f.called("Extend") >= 0 {
		t.Errorf("after a refusal: %s, calls %q", said, f.calls)
	}
}

func TestAnAbsentTPMIsWhatThePolicySays(t *testing.T) {
	absent := fmt.Errorf("open the TPM: %w", fs.ErrNotExist)
	for _, c := range []struct {
		name, policy string
		err          error
		code         setup.Code
		want         string // in the refusal, or in the record
	}{
		{"required", "require", absent, setup.CodeKernel, "the policy requires a TPM 2.0"},
		{"not required", "if-present", absent, setup.CodeOK, `"tpm":{"status":"absent"}`},
		{"there, but broken", "if-present", syscall.EIO, setup.CodeKernel, "input/output error"},
	} {
		f := machine(t)
		f.fails["Extend"] = c.err
		err := f.boot(options(t, argA, "[measure]\ntpm = \""+c.policy+"\"", 0))
		text := fmt.Sprint(err)
		if err == nil {
			text = f.record.JSON(0)
		}
		if setup.CodeOf(err) != c.code || !strings.Contains(text, c.want) {
			t.Errorf("%s: status %d, %s; want %d and %q", c.name, setup.CodeOf(err), text, c.code, c.want)
		}
		if err != nil && f.called("MountImage") >= 0 {
			t.Errorf("%s: calls %q, want nothing mounted", c.name, f.calls)
		}
	}
}

// Whoever gets a shell after a refusal could otherwise extend the register with
// what a good boot would have.
func TestARefusedBootSpoilsTheRegister(t *testing.T) {
	f, m := machine(t), bootcfg.Measure{TPM: bootcfg.IfPresent, PCR: 15}
	if said := f.refuse(m, setup.CodeMismatch); said != "" || f.calls[0] != "Extend 15 composefs-refused:5 false" {
		t.Errorf("%s, calls %q", said, f.calls)
	}
	for _, c := range []struct {
		name  string
		need  bootcfg.Requirement
		fails error
		says  string
	}{
		{"without a TPM", bootcfg.IfPresent, fs.ErrNotExist, ""},
		{"without a TPM that is required", bootcfg.Require, fs.ErrNotExist, "composefs: file does not exist\n"},
		{"with a broken one", bootcfg.IfPresent, syscall.EIO, "composefs: input/output error\n"},
	} {
		f.fails["Extend"], m.TPM = c.fails, c.need
		if said := f.refuse(m, setup.CodeMismatch); said != c.says {
			t.Errorf("%s: %q, want %q", c.name, said, c.says)
		}
	}
}

// refuse ends a boot, and returns what is said then.
func (f *fake) refuse(m bootcfg.Measure, code setup.Code) string {
	c := bootcfg.DefaultConfig()
	c.Measure, c.Failure = m, bootcfg.Emergency
	var console strings.Builder
	setup.Refused(f, c, code, kmsg.New(nil, &console))
	return console.String()
}

func TestWhatIsntVerifiedIsSaid(t *testing.T) {
	for policy, want := range map[string]string{
		"require":   "",
		"userspace": "composefs: fs-verity = \"userspace\": the image is verified, the contents of its files are not\n",
		"off":       "composefs: fs-verity = \"off\": nothing is verified, neither the image nor the contents of its files\n",
	} {
		f, o, k := machine(t), options(t, argA, "[verify]\nfs-verity = \""+policy+"\"", 0), newKernel()
		var console strings.Builder
		if err := setup.RunOn(f, k, o, kmsg.New(nil, &console)); err != nil || console.String() != want {
			t.Errorf("%s: %v, console %q, want %q", policy, err, console.String(), want)
		}
		if record := `"fs-verity":"` + policy + `"`; !strings.Contains(f.record.JSON(0), record) {
			t.Errorf("%s: record %s, want %s", policy, f.record.JSON(0), record)
		}
	}
}
