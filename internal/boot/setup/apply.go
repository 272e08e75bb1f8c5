package setup

import (
	"errors"
	"fmt"
	"time"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/internal/boot/kernel"
	"github.com/composefs-go/composefs/internal/boot/kmsg"
)

// A session is one run through a plan.
type session struct {
	o     Options
	sys   system
	log   *kmsg.Log
	image bootcfg.Image       // that is booted, once it is open
	level bootcfg.Requirement // of fs-verity for this image
	boot  Boot
}

func (s *session) warn(format string, args ...any) { s.log.Printf(kmsg.Warning, format, args...) }

// Run makes the plan for this machine and applies it. An error is a *Refusal;
// everything that was mounted has been taken back then. With o.Init it doesn't
// return unless the boot is refused.
func Run(o Options, log *kmsg.Log) error {
	k := kernel.New()
	p, err := newPlan(o, k)
	if err != nil {
		return err
	}
	return apply(p, &session{o: o, sys: newLinux(k, log), log: log, boot: newBoot(o, k)})
}

// DryRun returns the plan for this machine, printed.
func DryRun(o Options) (string, error) {
	p, err := newPlan(o, kernel.New())
	return p.String(), err
}

// apply does the steps up to the first error.
func apply(p plan, s *session) error {
	for _, step := range p {
		start := time.Now()
		if err := step.do(s); err != nil {
			s.sys.Abandon()
			return refuse(codeFor(step.code, err), err)
		}
		s.boot.Milliseconds.add(step.stage, time.Since(start))
	}
	return nil
}

// codeFor lets a lacking kernel feature be told from a failed mount.
func codeFor(code Code, err error) Code {
	var missing *kernel.MissingError
	if errors.As(err, &missing) {
		return CodeKernel
	}
	return code
}

func (s *session) mountImage() error {
	pauseForTest(s)
	return s.sys.MountImage()
}

func (s *session) mountOverlay() error {
	return s.sys.MountOverlay("composefs:"+s.image.Digest.Hex(), s.level == bootcfg.Require, s.o.Config.Root.Transient)
}

// mountState boots a new deployment with its state in memory where the disk has no room
// for it and the policy doesn't mind: it has no state that would be missed, and whoever
// is to make room needs a machine that comes up.
func (s *session) mountState(dir string, mode bootcfg.MountMode) error {
	err := s.sys.MountState(dir, mode, s.image.Digest.Hex())
	if err == nil {
		return s.hideExtensions(dir, mode)
	}
	if !errors.Is(err, errNoRoom) {
		return err
	}
	if s.o.Config.FullDisk == bootcfg.FullDiskRefuse {
		return fmt.Errorf("%w: make room on the root partition, or set full-disk = \"transient\" under [failure]", err)
	}
	s.log.Printf(kmsg.Err, "%v: /%s is in memory, WHAT IS WRITTEN THERE IS LOST at shutdown: make room and boot again", err, dir)
	s.boot.NoRoom = append(s.boot.NoRoom, dir)
	instead := bootcfg.MountTransient
	if mode != bootcfg.MountOverlay {
		instead = bootcfg.MountVolatile // a new directory would be empty too
	}
	return s.sys.MountState(dir, instead, "")
}

func (s *session) record() error {
	switch s.level {
	case bootcfg.Userspace:
		s.warn(`fs-verity = "userspace": the image is verified, the contents of its files are not`)
	case bootcfg.Off:
		s.log.Printf(kmsg.Err, `fs-verity = "off": nothing is verified, neither the image nor the contents of its files`)
	}
	s.boot.Digest, s.boot.Argument, s.boot.FSVerity = s.image.Digest, s.image.Argument, s.level
	return s.sys.Record(&s.boot)
}
