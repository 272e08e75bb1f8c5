package setup

import (
	"errors"
	"time"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/internal/boot/kernel"
	"github.com/composefs-go/composefs/internal/boot/kmsg"
)

// A session is one run through a plan.
type session struct {
	o     Options
	sys   System
	log   *kmsg.Log
	image bootcfg.Image       // that is booted, once it is open
	level bootcfg.Requirement // of fs-verity for this image
	boot  Boot
}

func (s *session) warn(format string, args ...any) { s.log.Printf(kmsg.Warning, format, args...) }

// say says an error after which the boot goes on.
func (s *session) say(level kmsg.Level, err error) {
	text := err.Error()
	if s.o.Advise != nil {
		text = s.o.Advise(err)
	}
	s.log.Printf(level, "%v", text)
}

// Run makes the plan for this machine and applies it. An error is a *Refusal;
// everything that was mounted has been taken back then. With o.Init it doesn't
// return unless the boot is refused.
func Run(o Options, log *kmsg.Log) error {
	k := kernel.New()
	return RunOn(NewSystem(k, log), k, o, log)
}

// RunOn is Run on any system and kernel.
func RunOn(sys System, k *kernel.Kernel, o Options, log *kmsg.Log) error {
	p, err := NewPlan(o, k)
	if err != nil {
		return err
	}
	return p.apply(&session{o: o, sys: sys, log: log, boot: newBoot(o, k)})
}

// DryRun returns the plan for this machine, printed.
func DryRun(o Options) (string, error) {
	p, err := NewPlan(o, kernel.New())
	return p.String(), err
}

// apply does the steps up to the first error.
func (p Plan) apply(s *session) error {
	for _, step := range p {
		start := time.Now()
		if err := step.Do.do(s); err != nil {
			s.sys.Abandon()
			return refuse(codeFor(step.Code, err), err)
		}
		s.boot.Milliseconds.add(step.Stage, time.Since(start))
	}
	return nil
}

// codeFor lets a lacking kernel feature be told from a failed mount.
func codeFor(code Code, err error) Code {
	var missing *kernel.MissingError
	var unknown *kernel.UnknownError
	if errors.As(err, &missing) || errors.As(err, &unknown) {
		return CodeKernel
	}
	return code
}
