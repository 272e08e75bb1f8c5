package setup

import (
	"errors"
	"os"

	"github.com/composefs-go/composefs/bootcfg"
)

// Shell returns why nobody may have a shell in the initramfs: because the policy doesn't
// allow one, or can't be read, which is unread, or because the TPM's register can't be
// spoiled, which is done before. If there is a reason, the machine has to be stopped, by
// StopWithoutShell: whoever wanted a shell would go on without an answer.
func Shell(sys System, o Options, unread error) (why []error) {
	m := o.Config.Measure
	// A TPM that isn't there yet counts: whoever has the shell could load its driver, and
	// have what is sealed to a register that nothing has extended.
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

// isInitramfs keeps a machine from being stopped that somebody only tries this on.
func isInitramfs() bool {
	_, err := os.Stat("/etc/initrd-release")
	_, dracut := os.Stat("/usr/lib/initrd-release")
	return err == nil || dracut == nil
}

// endWithoutShell is what the policy says, then what dracut is told, then a stop that
// leaves on the screen what was said.
func endWithoutShell(o Options) bootcfg.FailureAction {
	wish, _ := o.Cmdline.Lookup("rd.emergency")
	for _, action := range []bootcfg.FailureAction{o.Config.Failure, bootcfg.FailureAction(wish)} {
		if _, ok := commands[action]; ok {
			return action
		}
	}
	return halt
}
