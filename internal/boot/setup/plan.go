package setup

import (
	"errors"
	"fmt"
	"strings"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/internal/boot/kernel"
	"github.com/composefs-go/composefs/internal/boot/kmsg"
)

// A stage is a part of the boot, as boot.json names it.
type stage string

// The stages that a plan has. "read" and "plan" come before it.
const (
	stageRoot     stage = "root-device"
	stageVerify   stage = "verify"
	stageMeasure  stage = "measure"
	stageMount    stage = "mount"
	stageCompose  stage = "compose"
	stageSelfTest stage = "self-test"
	stageClose    stage = "close-pcr"
	stageRecord   stage = "record"
	stageHandOver stage = "hand-over"
)

// A step is one thing to do. code is for errors that carry none.
type step struct {
	stage stage
	what  string
	code  Code
	do    func(*session) error
}

// A plan is what will be done, in order.
type plan []step

// String prints the plan, a step a line.
func (p plan) String() string {
	var b strings.Builder
	for _, s := range p {
		fmt.Fprintf(&b, "%-11s  %s\n", s.stage, s.what)
	}
	return b.String()
}

// newPlan decides from the options and what the kernel can do. It looks at
// nothing else. What can be refused now is refused now.
func newPlan(o Options, k *kernel.Kernel) (plan, error) {
	if err := checkArguments(o); err != nil {
		return nil, err
	}
	if err := checkKernel(o, k); err != nil && !o.unverified() {
		return nil, refuse(CodeKernel, err)
	}
	var p plan
	if o.Init != nil {
		p = append(p, step{stageRoot, "find the root device and mount it at " + o.Sysroot, CodeMount,
			func(s *session) error { return s.sys.MountRoot(o.Sysroot, o.Cmdline) }})
	} else if root, _ := o.Cmdline.Lookup("root"); root != "" {
		p = append(p, step{stageRoot, "if root=" + root + " fits several devices, mount the one on the boot loader's disk at " + o.Sysroot, CodeMount,
			func(s *session) error { return s.sys.PreferRoot(o.Sysroot, o.Cmdline) }})
	}
	if o.unverified() {
		return append(p, unverifiedSteps(o)...), nil
	}
	p = append(p, verifySteps(o)...)
	p = append(p, measureSteps(o)...)
	p = append(p, mountSteps(o)...)
	p = append(p, composeSteps(o)...)
	p = append(p, step{stageSelfTest, "read the init program, its interpreter and usr/lib/os-release through the new root", CodeSelfTest,
		func(s *session) error { return s.sys.SelfTest(initCandidates(o)) }})
	p = append(p, capSteps(o)...)
	p = append(p, step{stageRecord, "write " + recordPath, CodeMount, (*session).record})
	return append(p, handOverSteps(o)...), nil
}

// checkArguments refuses what the policy doesn't allow the command line to ask for.
func checkArguments(o Options) error {
	if o.unverified() {
		return nil
	}
	if !o.Cmdline.Asked() {
		return refuse(CodeNoArgument, errors.New("the kernel command line names no image: want composefs.digest=v1-sha256-12:HEX (mkimage measure prints it), or argument = \"optional\" under [verify] in the policy to boot without"))
	}
	return refuse(CodeConfig, o.Config.Verify.Permits(o.Cmdline, o.Keys))
}

// checkKernel refuses kernels that can't do what every image of the command line needs.
func checkKernel(o Options, k *kernel.Kernel) error {
	need := []kernel.Feature{kernel.MountAPI, kernel.EROFS, kernel.Overlay, kernel.OverlayData}
	verity := o.Config.Verify.FSVerity == bootcfg.Require
	for _, i := range o.Cmdline.Images {
		verity = verity && !i.Optional
	}
	if verity {
		need = append(need, kernel.OverlayVerity)
	}
	for _, f := range need {
		if err := k.Need(f); err != nil {
			return fmt.Errorf("%w: boot another kernel, or add what is missing to this one's initramfs", err)
		}
	}
	return nil
}

func mountSteps(o Options) plan {
	what := "mount overlayfs: the image over composefs/objects"
	switch o.Config.Root.Transient {
	case bootcfg.TransientOff:
		what += ", read-only"
	case bootcfg.TransientReadOnly:
		what += ", changes in memory, mounted read-only"
	default:
		what += ", changes in memory"
	}
	if o.Config.Verify.FSVerity == bootcfg.Require {
		what += ", verity=require"
	}
	return plan{
		{stageMount, "mount the image from the open file (EROFS)", CodeMount, (*session).mountImage},
		{stageMount, what, CodeMount, (*session).mountOverlay},
	}
}

func composeSteps(o Options) plan {
	c := o.Config
	var p plan
	if c.Etc.Kept() || c.Var.Kept() {
		p = append(p, step{stageCompose, "make the physical root writable if it isn't", CodeMount,
			func(s *session) error { return s.sys.MakeWritable() }})
	}
	for _, d := range []struct {
		name string
		mode bootcfg.MountMode
	}{{"etc", c.Etc}, {"var", c.Var}} {
		if d.mode == bootcfg.MountNone {
			continue
		}
		what := fmt.Sprintf("mount /%s: %s", d.name, describe[d.mode])
		if d.mode.Kept() && c.Extensions() == bootcfg.Forbid {
			what += ", extensions hidden"
		}
		p = append(p, step{stageCompose, what, CodeMount,
			func(s *session) error { return s.mountState(d.name, d.mode) }})
	}
	what := "mount the physical root at /sysroot"
	if c.Root.SysrootReadOnly {
		what += ", read-only"
	}
	return append(p, step{stageCompose, what, CodeMount,
		func(s *session) error { return s.sys.BindRoot(c.Root.SysrootReadOnly) }})
}

// describe says what a mode of /etc or /var does.
var describe = map[bootcfg.MountMode]string{
	bootcfg.MountRoot:      "bind, from the physical root",
	bootcfg.MountBind:      "bind, from state/deploy",
	bootcfg.MountOverlay:   "overlay, changes in state/deploy",
	bootcfg.MountTransient: "overlay, changes in memory",
	bootcfg.MountVolatile:  "an empty tmpfs",
}

func handOverSteps(o Options) plan {
	p := plan{{stageHandOver, "put the new root at " + o.Sysroot, CodeMount,
		func(s *session) error { return s.sys.HandOver(o.Sysroot) }}}
	if o.Init == nil {
		return p
	}
	return append(p, switchRoot(o))
}

func switchRoot(o Options) step {
	return step{stageHandOver, "switch root and execute init", CodeMount,
		func(s *session) error { return s.sys.SwitchRoot(o.Sysroot, initCandidates(o), o.Init[1:]) }}
}

// unverified says whether what root= means is booted as it is: the command line names
// no image, and the policy doesn't want one.
func (o Options) unverified() bool {
	return !o.Cmdline.Asked() && o.Config.Verify.Argument == bootcfg.Optional
}

// unverifiedSteps leave the root where it is. The TPM's register isn't that of a
// verified boot then.
func unverifiedSteps(o Options) plan {
	p := plan{{stageHandOver, "boot " + o.Sysroot + " as it is, unverified", CodeMount, func(s *session) error {
		s.log.Printf(kmsg.Err, "the command line names no image, and the policy has argument = \"optional\": what is booted is unverified")
		return spoil(s.sys, o.Config.Measure, CodeNoArgument)
	}}}
	if o.Init == nil {
		return p
	}
	return append(p, switchRoot(o))
}

// inits are the programs that the kernel, and systemd before it, look for.
var inits = []string{"/sbin/init", "/usr/lib/systemd/systemd", "/etc/init", "/bin/init", "/bin/sh"}

// initCandidates returns the programs of which the first that exists is executed.
func initCandidates(o Options) []string {
	if init, ok := o.Cmdline.Lookup("init"); ok && init != "" {
		return []string{init}
	}
	return inits
}
