package setup

import (
	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/internal/boot/kmsg"
)

// Refused does what the policy has for a refused boot. It returns for Emergency, and
// for the others if the kernel refuses: whoever started us goes on then, and where
// that is the kernel, it panics.
func Refused(sys System, c bootcfg.Config, code Code, log *kmsg.Log) {
	if err := spoil(sys, c.Measure, code); err != nil {
		log.Printf(kmsg.Err, "%v", err)
	}
	if err := stop(c.Failure); err != nil {
		log.Printf(kmsg.Err, "%s: %v", c.Failure, err)
	}
}

const halt bootcfg.FailureAction = "halt"

// commands are what reboot(2) knows. "emergency" is none of them, halt is only asked
// for where there may be no shell: what was said stays on the screen.
var commands = map[bootcfg.FailureAction]int{
	bootcfg.Reboot: unix.LINUX_REBOOT_CMD_RESTART, bootcfg.PowerOff: unix.LINUX_REBOOT_CMD_POWER_OFF, halt: unix.LINUX_REBOOT_CMD_HALT,
}

// stop ends a refused boot as the policy says. It returns for Emergency, and for
// the others if the kernel refuses.
func stop(action bootcfg.FailureAction) error {
	command, ok := commands[action]
	if !ok {
		return nil
	}
	unix.Sync()
	return unix.Reboot(command)
}
