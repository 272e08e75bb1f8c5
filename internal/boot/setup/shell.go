package setup

import (
	"errors"
	"os"

	"github.com/composefs-go/composefs/bootcfg"
)

// Shell returns why nobody may have a shell in the initramfs: because the policy doesn't
// allow one, or can't be read, which is unread, or because the TPM's register can't be
// spoiled, which is done first. If there is a reason, the caller stops the machine with
// StopWithoutShell: the program that asks would go on whatever the answer.
func Shell(sys System, o Options, unread error) (why []error) {
	m := o.Config.Measure
	// A TPM that isn't there yet counts: anyone with the shell could load its driver, and
	// unseal secrets with a register that nothing has extended.
	if m.TPM == bootcfg.IfPresent && sys.HasTPM() {
		m.TPM = bootcfg.Require
	}
	if err := spoil(sys, m, CodeMount); err != nil {
		why = append(why, problem(UnspoiltTPM, "no shell before the TPM's register is spoiled: %w", err))
	}
	if unread != nil {
		why = append(why, unread)
	}
	if len(why) > 0 || !o.Config.AllowsShell(len(o.Keys)) {
		why = append(why, problem(NoShell, "no shell here, the boot ends"))
	}
	return why
}

// StopWithoutShell ends the boot. It returns only if it can't.
func StopWithoutShell(o Options) error {
	if !isInitramfs() {
		return errors.New("this is no initramfs: the machine isn't stopped")
	}
	return errors.Join(errors.New("no shell is allowed"), stop(endWithoutShell(o)))
}

// isInitramfs keeps a running machine, on which somebody only tries this, from being stopped.
func isInitramfs() bool {
	_, err := os.Stat("/etc/initrd-release")
	_, dracut := os.Stat("/usr/lib/initrd-release")
	return err == nil || dracut == nil
}

// endWithoutShell returns the policy's action, or else the one that rd.emergency= has for
// dracut, or else a halt, which leaves the messages on the screen.
func endWithoutShell(o Options) bootcfg.FailureAction {
	wish, _ := o.Cmdline.Lookup("rd.emergency")
	for _, action := range []bootcfg.FailureAction{o.Config.Failure, bootcfg.FailureAction(wish)} {
		if _, ok := commands[action]; ok {
			return action
		}
	}
	return halt
}
