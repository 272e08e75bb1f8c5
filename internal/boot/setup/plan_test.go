package setup_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/internal/boot/kernel"
	"github.com/composefs-go/composefs/internal/boot/setup"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

var (
	hexA = strings.Repeat("0a", 32)
	hexB = strings.Repeat("0b", 32)
	argA = "composefs.digest=v1-sha256-12:" + hexA
	argB = "composefs.digest=v1-sha256-12:" + hexB
)

func digest(t testing.TB, hex string) verity.Digest {
	t.Helper()
	d, err := verity.ParseAnyHex(hex)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// options are those of a boot with the command line and the policy.
func options(t testing.TB, cmdline, policy string, keys int) setup.Options {
	t.Helper()
	c, err := bootcfg.ParseCmdline(cmdline)
	if err != nil {
		t.Fatal(err)
	}
	config, err := bootcfg.ParseConfig([]byte(policy))
	if err != nil {
		t.Fatal(err)
	}
	return setup.Options{Cmdline: c, Config: config, Keys: make(sign.Keyring, keys), Sysroot: "/sysroot", Version: "test"}
}

// newKernel has everything, whatever this machine's has.
func newKernel(off ...kernel.Feature) *kernel.Kernel {
	k := kernel.New(off...)
	for f := kernel.MountAPI; f <= kernel.OverlayFD; f++ {
		k.Learn(f, kernel.Present)
	}
	return k
}

func TestPlanIsWhatThePolicySays(t *testing.T) {
	for _, c := range []struct {
		name, cmdline, policy string
		keys                  int
		init                  []string
		want                  []string // one line each, in this order
		not                   string   // is in no line
	}{
		{"the default", argA, "", 0, nil, []string{
			"verify       open the physical root at /sysroot",
			"verify       open composefs/images/" + hexA,
			"verify       measure its fs-verity digest, which must be the same",
			"verify       read all of it",
			"verify       check its seal: off",
			"mount        mount the image",
			"mount        mount overlayfs: the image over composefs/objects, read-only, verity=require",
			"compose      make the physical root writable",
			"compose      mount /etc: overlay, changes in state/deploy",
			"compose      mount /var: bind, from state/deploy",
			"compose      mount the physical root at /sysroot",
			"self-test    ", "record       ", "hand-over    put the new root at /sysroot",
		}, "root-device"},
		{"a root that somebody else has mounted", argA + " root=LABEL=os", "", 0, nil, []string{
			"root-device  if root=LABEL=os fits several devices, mount the one on the boot loader's disk at /sysroot",
			"verify       open the physical root at /sysroot"}, "find the root device"},
		{"two images", argA + " " + argB, "", 0, nil, []string{"open composefs/images/" + hexA + ", or else composefs/images/" + hexB}, ""},
		{"a key makes a seal required", argA, "", 1, nil, []string{"check its seal: require, 1 trusted keys"}, ""},
		{"a ref", "composefs.ref=os/stable", "", 1, nil, []string{"images/refs/os/stable"}, ""},
		{"nothing is kept", argA, "[etc]\ntransient = true\n[var]\nmount = \"volatile\"\n", 0, nil,
			[]string{"/etc: overlay, changes in memory", "/var: an empty tmpfs"}, "writable"},
		{"no state at all", argA, "[etc]\nmount = \"none\"\n[var]\nmount = \"none\"\n", 0, nil, []string{"verity=require", "at /sysroot"}, "/etc"},
		{"extensions are forbidden", argA, "[verify]\nextensions = \"forbid\"", 0, nil, []string{"mount /etc: overlay, changes in state/deploy, extensions hidden", "mount /var: bind, from state/deploy, extensions hidden", "self-test"}, ""},
		{"extensions are allowed", argA, "[etc]\nmount = \"none\"\n[verify]\nextensions = \"allow\"", 0, nil, nil, "extensions"},
		{"a transient root", argA, "[root]\ntransient = true\nsysroot = \"ro\"\n", 0, nil,
			[]string{"changes in memory, verity=require", "at /sysroot, read-only"}, ""},
		{"a transient root for the privileged", argA, "[root]\ntransient-ro = true\n", 0, nil, []string{"changes in memory, mounted read-only, verity=require"}, ""},
		{"measuring", argA, "[measure]\ntpm = \"require\"\n", 0, nil, []string{"check its seal", "measure      extend PCR 15 of the TPM with the digest: require", "mount        mount the image"}, ""},
		{"hashing in user space", argA, "[verify]\nfs-verity = \"userspace\"\n", 0, nil, []string{"copy it into memory and hash it"}, "verity=require"},
		{"no verity", argA, "[verify]\nfs-verity = \"off\"\n", 0, nil, []string{"check its seal"}, "measure"},
		{"the first process", argA, "", 0, []string{"/init", "single"}, []string{"root-device  find the root device", "hand-over    put", "hand-over    switch root"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := options(t, c.cmdline, c.policy, c.keys)
			o.Init = c.init
			p, err := setup.NewPlan(o, newKernel())
			if err != nil {
				t.Fatal(err)
			}
			text := p.String()
			for rest := text; len(c.want) > 0; c.want = c.want[1:] {
				_, after, ok := strings.Cut(rest, c.want[0])
				if !ok {
					t.Fatalf("plan:\n%swants %q (after what came before)", text, c.want[0])
				}
				rest = after
			}
			if c.not != "" && strings.Contains(text, c.not) {
				t.Errorf("plan:\n%swants no %q", text, c.not)
			}
		})
	}
}

// A plan is data: two are equal if, and only if, they do the same.
func TestPlansAreCompared(t *testing.T) {
	plan := func(cmdline, policy string, init ...string) setup.Plan {
		o := options(t, cmdline, policy, 0)
		o.Init = init
		p, err := setup.NewPlan(o, newKernel())
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	want := setup.Plan{
		{setup.StageRoot, setup.CodeMount, setup.FindRoot{At: "/sysroot"}},
		{setup.StageVerify, setup.CodeMount, setup.OpenRoot{At: "/sysroot"}},
		{setup.StageVerify, setup.CodeNotFound, setup.OpenFirst{Names: "composefs/images/" + hexA}},
		{setup.StageVerify, setup.CodeMismatch, setup.MeasureImage{}},
		{setup.StageVerify, setup.CodeMismatch, setup.ReadImage{}},
		{setup.StageVerify, setup.CodeSignature, setup.CheckSeal{Signature: bootcfg.Off}},
		{setup.StageMeasure, setup.CodeKernel, setup.ExtendDigest{PCR: 9, Need: bootcfg.Require}},
		{setup.StageMount, setup.CodeMount, setup.MountImage{}},
		{setup.StageMount, setup.CodeMount, setup.MountOverlay{Transient: bootcfg.TransientOff, Verity: true}},
		{setup.StageCompose, setup.CodeMount, setup.MakeWritable{}},
		{setup.StageCompose, setup.CodeMount, setup.MountState{Dir: "etc", Mode: bootcfg.MountOverlay, FullDisk: bootcfg.FullDiskRefuse}},
		{setup.StageCompose, setup.CodeMount, setup.MountState{Dir: "var", Mode: bootcfg.MountVolatile, FullDisk: bootcfg.FullDiskRefuse}},
		{setup.StageCompose, setup.CodeMount, setup.BindRoot{}},
		{setup.StageSelfTest, setup.CodeSelfTest, setup.SelfTest{Init: "/sbin/begin"}},
		{setup.StageClose, setup.CodeKernel, setup.ClosePCR{PCR: 9}},
		{setup.StageRecord, setup.CodeMount, setup.WriteRecord{}},
		{setup.StageHandOver, setup.CodeMount, setup.HandOver{At: "/sysroot"}},
		{setup.StageHandOver, setup.CodeMount, setup.SwitchRoot{At: "/sysroot", Init: "/sbin/begin"}},
	}
	const policy = "[measure]\ntpm = \"require\"\npcr = 9\n[var]\nmount = \"volatile\"\n[failure]\nfull-disk = \"refuse\"\n"
	got := plan(argA+" init=/sbin/begin", policy, "/init")
	if !slices.Equal(got, want) {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	for name, other := range map[string]setup.Plan{
		"another image":    plan(argB+" init=/sbin/begin", policy, "/init"),
		"another register": plan(argA+" init=/sbin/begin", strings.Replace(policy, "9", "10", 1), "/init"),
		"a full disk":      plan(argA+" init=/sbin/begin", strings.Replace(policy, "refuse", "transient", 1), "/init"),
		"another program":  plan(argA+" init=/sbin/init", policy, "/init"),
		"a service":        plan(argA, policy),
		"nothing to keep":  plan(argA+" init=/sbin/begin", policy+"[etc]\nmount = \"transient\"\n", "/init"),
	} {
		if slices.Equal(got, other) {
			t.Errorf("%s: the plan is the same", name)
		}
	}
	unverified := setup.Plan{{setup.StageHandOver, setup.CodeMount, setup.BootUnverified{At: "/sysroot"}}}
	if got := plan("quiet", "[verify]\nargument = \"optional\"\n"); !slices.Equal(got, unverified) {
		t.Errorf("got\n%swant\n%s", got, unverified)
	}
}

func TestPlanRefusesBeforeTouchingAnything(t *testing.T) {
	optional := strings.Replace(argA, "=", "=?", 1)
	for _, c := range []struct {
		name, cmdline, policy string
		keys                  int
		off                   kernel.Feature
		code                  setup.Code
		want                  string
	}{
		{"no argument", "quiet", "", 0, 255, setup.CodeNoArgument, "names no image"},
		{"the mark, without leave", optional, "", 0, 255, setup.CodeConfig, `asks with "?" to do without fs-verity`},
		{"a ref without signatures", "composefs.ref=x", "", 0, 255, setup.CodeConfig, `signature = "require"`},
		{"a ref with optional signatures", "composefs.ref=x", "[verify]\nsignature = \"optional\"", 1, 255, setup.CodeConfig, `signature = "require"`},
		{"a signature without keys", argA, "[verify]\nsignature = \"require\"", 0, 255, setup.CodeConfig, "no *.pub key"},
		{"a kernel without verity", argA, "", 0, kernel.OverlayVerity, setup.CodeKernel, "Linux 6.6"},
		{"a kernel without EROFS", argA, "", 0, kernel.EROFS, setup.CodeKernel, "CONFIG_EROFS_FS"},
		{"a kernel without data-only layers", argA, "[verify]\nfs-verity = \"off\"", 0, kernel.OverlayData, setup.CodeKernel, "Linux 6.5"},
	} {
		k := newKernel()
		if c.off != 255 {
			k = newKernel(c.off)
		}
		_, err := setup.NewPlan(options(t, c.cmdline, c.policy, c.keys), k)
		if setup.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: status %d, %v; want %d and %q", c.name, setup.CodeOf(err), err, c.code, c.want)
		}
	}
}

func TestPlanDoesWithoutVerityWhereItIsOptional(t *testing.T) {
	optional := strings.Replace(argA, "=", "=?", 1)
	for _, c := range []struct{ name, cmdline, policy string }{
		{"the mark, with leave", optional, "[verify]\nallow-insecure = true"},
		{"switched off", argA, "[verify]\nfs-verity = \"off\""},
	} {
		if _, err := setup.NewPlan(options(t, c.cmdline, c.policy, 0), newKernel(kernel.OverlayVerity)); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	both := optional + " " + argB
	if _, err := setup.NewPlan(options(t, both, "[verify]\nallow-insecure = true", 0), newKernel(kernel.OverlayVerity)); err != nil {
		t.Errorf("with one of two optional the kernel may do: %v", err)
	}
}

func TestReadKeepsThePolicyForLaterMistakes(t *testing.T) {
	dir := t.TempDir()
	config := dir + "/conf.toml"
	writeTestFile(t, config, "[failure]\naction = \"poweroff\"\n")
	for _, c := range []struct{ name, cmdline, keys, want string }{
		{"a malformed argument", "composefs=zz", "", "composefs=zz"},
		{"an endless command line", strings.Repeat("x", 64<<10+1), "", "at most 65536 expected"},
		{"a missing directory of keys", argA, dir + "/absent", "absent"},
	} {
		o, err := setup.Read(c.cmdline, setup.Paths{Config: config, Keys: c.keys})
		if setup.CodeOf(err) != setup.CodeConfig || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want a configuration error with %q", c.name, err, c.want)
		}
		if o.Config.Failure != bootcfg.PowerOff {
			t.Errorf("%s: the failure action is %q", c.name, o.Config.Failure)
		}
	}
	writeTestFile(t, dir+"/k/bad.pub", "no key")
	if _, err := setup.Read(argA, setup.Paths{Config: config, Keys: dir + "/k"}); setup.CodeOf(err) != setup.CodeConfig || !strings.Contains(err.Error(), "bad.pub") {
		t.Errorf("a bad key: %v, want its name", err)
	}
	if _, err := setup.Read(argA, setup.Paths{Config: dir + "/absent.toml"}); err != nil {
		t.Errorf("no policy and no keys: %v", err)
	}
}

func TestCodesAreNamed(t *testing.T) {
	for c := setup.CodeOK; c <= setup.CodeSelfTest+1; c++ {
		if c != 1 && (c.String() == "unknown") != (c > setup.CodeSelfTest) {
			t.Errorf("status %d has no name", c)
		}
	}
	if setup.CodeOf(nil) != setup.CodeOK || setup.CodeOf(errors.New("x")) != setup.CodeMount {
		t.Error("CodeOf of nil or of a plain error")
	}
}
