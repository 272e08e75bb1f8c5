// Composefs-setup-root verifies the image that the kernel command line names and
// mounts it as the root. It runs in the initramfs: as a service, from a hook
// script, or as the first process.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/internal/boot/kmsg"
	"github.com/composefs-go/composefs/internal/boot/setup"
	"github.com/composefs-go/composefs/internal/version"
)

// An initramfs has little memory, and we allocate little: the collector would
// cost more than it finds. The limit is for the case that this is wrong.
const memoryLimit = 12 << 20

func main() {
	runtime.GOMAXPROCS(min(2, runtime.NumCPU()))
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(memoryLimit)
	if os.Getpid() == 1 {
		os.Exit(int(beFirstProcess(os.Args)))
	}
	os.Exit(int(run(os.Args[1:], os.Stdout, os.Stderr)))
}

const usage = `composefs-setup-root: verify the root image and mount it, in the initramfs.

The kernel command line names the image:
  composefs.digest=v1-sha256-12:HEX   its fs-verity digest (mkimage measure prints it)
  composefs=HEX                       the same for images of format V2
  composefs.ref=NAME                  the one that composefs/images/refs/NAME points
                                      to; only if the policy requires a signature

The image is found on the file system at --sysroot, verified, mounted with the /etc
and /var of its deployment, tested, and put at --sysroot in place of that file system.
As the first process (/init) the program first finds and mounts root=, and executes
init at the end; it then ignores its arguments.

To see on a running system what it would do:
  composefs-setup-root --dry-run --cmdline "composefs.digest=v1-sha256-12:…"

Flags:
`

const exitCodes = `
Exit status: 0 ok, 2 usage or configuration, 3 no composefs argument, 4 image not
found, 5 digest mismatch, 6 signature refused, 7 kernel lacks a feature, 8 mount
failed, 9 self-test failed. See composefs-setup-root(8).
`

// run is the program, unless it is the first process.
func run(args []string, stdout, stderr io.Writer) setup.Code {
	s, err := parseFlags(args, stdout, stderr)
	switch {
	case errors.Is(err, errHelp):
		return setup.CodeOK
	case err != nil:
		return setup.CodeConfig
	case s.version:
		fmt.Fprintln(stdout, "composefs-setup-root", version.Number)
		return setup.CodeOK
	}
	log := kmsg.New(nil, stderr)
	if !s.dryRun && !s.verified {
		log = kmsg.Open(stderr)
	}
	o, err := s.read()
	switch {
	case s.shell:
		return shell(o, err, log)
	case err != nil:
	case s.verified:
		err = setup.VerifiedRoot(o)
	default:
		err = s.boot(o, log, stdout)
	}
	return end(err, s.dryRun || s.verified, o.Config, log)
}

func (s settings) read() (setup.Options, error) {
	cmdline := s.cmdline
	if cmdline == "" {
		b, err := os.ReadFile("/proc/cmdline")
		if err != nil {
			return setup.Options{}, &setup.Refusal{Code: setup.CodeConfig, Err: err}
		}
		cmdline = string(b)
	}
	o, err := setup.Read(cmdline, s.paths)
	o.Sysroot, o.Version, o.Advise = s.sysroot, version.Number, advise
	return o, err
}

func (s settings) boot(o setup.Options, log *kmsg.Log, stdout io.Writer) error {
	if !s.dryRun {
		return setup.Run(o, log)
	}
	plan, err := setup.DryRun(o)
	fmt.Fprint(stdout, plan)
	return err
}

// shell returns only if there may be a shell, or if the machine can't be stopped.
func shell(o setup.Options, unread error, log *kmsg.Log) setup.Code {
	why := setup.Shell(setup.NewSystem(nil, log), o, unread)
	if len(why) == 0 {
		return setup.CodeOK
	}
	for _, err := range why {
		log.Printf(kmsg.Err, "%v", advise(err))
	}
	return setup.CodeOf(setup.StopWithoutShell(o))
}

// beFirstProcess returns only if the boot is refused.
func beFirstProcess(argv []string) setup.Code {
	s, _ := parseFlags(nil, nil, nil)
	err := setup.PrepareMachine()
	log := kmsg.Open(os.Stderr)
	if err != nil {
		// There may be no command line to read, but the policy says what to do.
		o, _ := setup.Read("", s.paths)
		return end(err, false, o.Config, log)
	}
	o, err := s.read()
	if err == nil {
		o.Init = argv
		err = setup.Run(o, log)
	}
	return end(err, false, o.Config, log)
}

// end prints why a boot is refused and does what the policy says about refused boots.
func end(err error, sayOnly bool, policy bootcfg.Config, log *kmsg.Log) setup.Code {
	code := setup.CodeOf(err)
	if code == setup.CodeOK {
		return code
	}
	log.Printf(kmsg.Err, "%v", advise(err))
	if sayOnly {
		return code
	}
	log.Printf(kmsg.Err, "boot refused, exit status %d (%s)", code, code)
	setup.Refused(setup.NewSystem(nil, log), policy, code, log)
	return code
}
