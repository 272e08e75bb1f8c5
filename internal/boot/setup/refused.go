package setup

import (
	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/internal/boot/kmsg"
)

// Refused ends a refused boot as the policy says. It returns for Emergency, and for the
// other actions if the kernel refuses them. Then the program that started this one goes on;
// if that is the kernel, it panics.
func Refused(sys System, c bootcfg.Config, code Code, log *kmsg.Log) {
	if err := spoil(sys, c.Measure, code); err != nil {
		log.Printf(kmsg.Err, "%v", err)
	}
	if err := stop(c.Failure); err != nil {
		log.Printf(kmsg.Err, "%s: %v", c.Failure, err)
	}
}

const halt bootcfg.FailureAction = "halt"

// commands are the commands of reboot(2). Emergency has none. Halt, which leaves the messages
// on the screen, is only used where no shell is allowed.
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
