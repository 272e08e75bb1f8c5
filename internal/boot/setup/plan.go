package setup

import (
	"strings"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/internal/boot/kernel"
	"github.com/composefs-go/composefs/internal/printable"
)

// A Stage is a part of the boot, as boot.json names it.
type Stage string

// The stages that a plan has. "read" and "plan" come before it.
const (
	StageRoot     Stage = "root-device"
	StageVerify   Stage = "verify"
	StageMeasure  Stage = "measure"
	StageMount    Stage = "mount"
	StageCompose  Stage = "compose"
	StageSelfTest Stage = "self-test"
	StageClose    Stage = "close-pcr"
	StageRecord   Stage = "record"
	StageHandOver Stage = "hand-over"
)

// A Step is one thing to do. Steps are values: two that do the same are equal.
type Step struct {
	Stage Stage
	// Code is the exit status for errors of the operation that have none.
	Code Code
	Do   Operation
}

// A Plan lists the steps of a boot in order. slices.Equal compares two plans.
type Plan []Step

// String prints the plan, a step a line.
func (p Plan) String() string {
	var b strings.Builder
	for _, s := range p {
		b.WriteString(printable.Sprintf("%-11s  %s", s.Stage, s.Do) + "\n")
	}
	return b.String()
}

// NewPlan decides from the options and what the kernel can do. It looks at
// nothing else. A boot that can be refused now is refused now.
func NewPlan(o Options, k *kernel.Kernel) (Plan, error) {
	if err := checkArguments(o); err != nil {
		return nil, err
	}
	if err := checkKernel(o, k); err != nil && !o.unverified() {
		return nil, refuse(CodeKernel, err)
	}
	p := rootSteps(o)
	if o.unverified() {
		// The root stays where it is.
		p = append(p, Step{StageHandOver, CodeMount, BootUnverified{o.Sysroot}})
		return append(p, initSteps(o)...), nil
	}
	p = append(p, verifySteps(o)...)
	// Whatever a bad image could make the kernel do when it is mounted, the register of
	// the TPM has its digest by then, and nothing can take that back.
	measure := o.Config.Measure
	if measure.TPM != bootcfg.Off {
		p = append(p, Step{StageMeasure, CodeKernel, ExtendDigest{measure.PCR, measure.TPM}})
	}
	p = append(p, Step{StageMount, CodeMount, MountImage{}},
		Step{StageMount, CodeMount, MountOverlay{o.Config.Root.Transient, o.Config.Verify.FSVerity == bootcfg.Require}})
	p = append(p, composeSteps(o)...)
	p = append(p, Step{StageSelfTest, CodeSelfTest, SelfTest{o.init()}})
	// After all that only verified code does, and before anything of /etc or /var can be
	// executed or read by others: what has been sealed to an earlier value of the register
	// is out of their reach, whatever disk they came from.
	if measure.TPM != bootcfg.Off {
		p = append(p, Step{StageClose, CodeKernel, ClosePCR{measure.PCR}})
	}
	p = append(p, Step{StageRecord, CodeMount, WriteRecord{}}, Step{StageHandOver, CodeMount, HandOver{o.Sysroot}})
	return append(p, initSteps(o)...), nil
}

// checkArguments refuses a command line that asks for more than the policy allows.
func checkArguments(o Options) error {
	if o.unverified() {
		return nil
	}
	if !o.Cmdline.Asked() {
		return refuse(CodeNoArgument, problem(NoArgument, "the kernel command line names no image"))
	}
	return refuse(CodeConfig, o.Config.Verify.Permits(o.Cmdline, o.Keys))
}

// checkKernel refuses a kernel that lacks what every image on the command line needs.
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
			return err
		}
	}
	return nil
}

func rootSteps(o Options) Plan {
	root, _ := o.Cmdline.Lookup("root")
	switch {
	case o.Init != nil:
		return Plan{{StageRoot, CodeMount, FindRoot{o.Sysroot}}}
	case root != "":
		return Plan{{StageRoot, CodeMount, PreferRoot{root, o.Sysroot}}}
	}
	return nil
}

// verifySteps are the only steps that decide whether the image is the right one.
// After them it is the open file that counts, no longer its name.
func verifySteps(o Options) Plan {
	p := Plan{{StageVerify, CodeMount, OpenRoot{o.Sysroot}}}
	if o.Cmdline.Ref != "" {
		p = append(p, Step{StageVerify, CodeNotFound, OpenRef{o.Cmdline.Ref}})
	} else {
		p = append(p, Step{StageVerify, CodeNotFound, OpenFirst{imageNames(o.Cmdline.Images)}})
	}
	v := o.Config.Verify
	switch v.FSVerity {
	case bootcfg.Require:
		p = append(p, Step{StageVerify, CodeMismatch, MeasureImage{}}, Step{StageVerify, CodeMismatch, ReadImage{}})
	case bootcfg.Userspace:
		p = append(p, Step{StageVerify, CodeMismatch, CopyImage{}})
	}
	return append(p, Step{StageVerify, CodeSignature, CheckSeal{v.SignatureWith(len(o.Keys)), len(o.Keys), v.MinimumSequence, len(v.Revoked)}})
}

func composeSteps(o Options) Plan {
	c := o.Config
	var p Plan
	if c.Etc.Kept() || c.Var.Kept() {
		p = append(p, Step{StageCompose, CodeMount, MakeWritable{}})
	}
	for _, d := range []struct {
		name string
		mode bootcfg.MountMode
	}{{"etc", c.Etc}, {"var", c.Var}} {
		if d.mode != bootcfg.MountNone {
			hide := d.mode.Kept() && c.Extensions() == bootcfg.Forbid
			p = append(p, Step{StageCompose, CodeMount, MountState{d.name, d.mode, c.FullDisk, hide}})
		}
	}
	return append(p, Step{StageCompose, CodeMount, BindRoot{c.Root.SysrootReadOnly}})
}

// initSteps are for the first process, which has no other program to go on after it.
func initSteps(o Options) Plan {
	if o.Init == nil {
		return nil
	}
	return Plan{{StageHandOver, CodeMount, SwitchRoot{o.Sysroot, o.init()}}}
}

// unverified reports whether the root is booted as it is: the command line names no image,
// and the policy doesn't require one.
func (o Options) unverified() bool {
	return !o.Cmdline.Asked() && o.Config.Verify.Argument == bootcfg.Optional
}

// init is the program that the command line names, "" for the first that there is.
func (o Options) init() string {
	init, _ := o.Cmdline.Lookup("init")
	return init
}
