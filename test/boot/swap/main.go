// Swap is composefs-setup-root as the first process, on a machine where another file,
// named by composefs-test-swap= on the command line, replaces the image just after the
// image has passed all checks.
package main

import (
	"fmt"
	"os"
	"path"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/internal/boot/kernel"
	"github.com/composefs-go/composefs/internal/boot/kmsg"
	"github.com/composefs-go/composefs/internal/boot/setup"
)

func main() {
	log, err := boot()
	log.Printf(kmsg.Err, "%v", err)
	os.Exit(int(setup.CodeOf(err)))
}

// boot returns only if the boot is refused.
func boot() (*kmsg.Log, error) {
	err := setup.PrepareMachine()
	log := kmsg.Open(os.Stderr)
	if err != nil {
		return log, err
	}
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return log, err
	}
	o, err := setup.Read(string(cmdline), setup.Paths{Config: bootcfg.ConfigPath})
	if err != nil {
		return log, err
	}
	o.Init = os.Args
	k := kernel.New()
	return log, setup.RunOn(swapper{setup.NewSystem(k, log), o, log}, k, o, log)
}

// swapper is the real machine but for what happens before it mounts the image.
type swapper struct {
	setup.System
	o   setup.Options
	log *kmsg.Log
}

func (s swapper) MountImage() error {
	from, _ := s.o.Cmdline.Lookup("composefs-test-swap")
	to := path.Join(s.o.Sysroot, "composefs/objects", s.o.Cmdline.Images[0].Digest.ObjectPath())
	if err := os.Rename(path.Join(s.o.Sysroot, from), to); err != nil {
		return fmt.Errorf("test hook: %w", err)
	}
	s.log.Printf(kmsg.Warning, "test hook: the image was replaced")
	return s.System.MountImage()
}
