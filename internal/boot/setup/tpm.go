package setup

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/boot/kmsg"
	"github.com/composefs-go/composefs/internal/boot/tpm"
)

// tpmTimeout is how long the TPM's driver is waited for.
const tpmTimeout = 10 * time.Second

// The directory of ACPI's tables, and the table that a TPM 2.0 has.
const (
	firmwareTables = "/sys/firmware/acpi/tables"
	firmwareTPM    = firmwareTables + "/TPM2"
)

// Extend keeps the log as well as it can: people and systemd read it, but only the
// register decides.
func (l *linux) Extend(pcr uint32, event string, needed bool) ([]tpm.Digest, error) {
	device, err := tpm.Open(l.machine, l.tpmWait(needed))
	if err != nil {
		return nil, err
	}
	defer device.Close()
	log, err := tpm.OpenLog(l.machine + tpm.LogPath)
	if err != nil {
		l.log.Printf(kmsg.Warning, "the log of measurements can't be written: %v", err)
	}
	digests, err := tpm.Extend(device, pcr, event)
	if log == nil {
		return digests, err
	}
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	if err := log.Append(tpm.Record(pcr, digests, event, bootID(), sinceStart())); err != nil {
		l.log.Printf(kmsg.Warning, "log the measurement: %v", err)
	}
	return digests, nil
}

// rootUUID is struct fsuuid2 of the kernel.
//
//	 0     1
//	+-----+-----------------+
//	| len | uuid (16 bytes) |
type rootUUID struct {
	size uint8
	uuid [16]byte
}

// getUUID is FS_IOC_GETFSUUID, _IOR(0x15, 0, struct fsuuid2), since Linux 6.9
// (commit 41bcbe59c3b3).
const getUUID = 0x80111500

// RootID asks the kernel, which has mounted it: nothing on the disk is parsed here. A
// file system that has no UUID, or a kernel that doesn't tell, is "unknown".
func (l *linux) RootID() string {
	var u rootUUID
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, l.physical.Fd(), getUUID, uintptr(unsafe.Pointer(&u)))
	if errno != 0 || int(u.size) > len(u.uuid) {
		return "unknown"
	}
	return fmt.Sprintf("%x", u.uuid[:u.size])
}

func (l *linux) HasTPM() bool {
	_, err := os.Stat(l.machine + firmwareTPM)
	return err == nil
}

// tpmWait asks the firmware whether it is worth waiting. Where there is no ACPI to
// ask, only a TPM that is needed is waited for.
func (l *linux) tpmWait(needed bool) time.Duration {
	_, noTables := os.Stat(l.machine + firmwareTables)
	if l.HasTPM() || (noTables != nil && needed) {
		return tpmTimeout
	}
	return 0
}

// bootID returns the kernel's number of this boot, 32 hex digits.
func bootID() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.ReplaceAll(strings.TrimSpace(string(b)), "-", "")
}

// sinceStart returns the microseconds since the machine was started.
func sinceStart() int64 {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) // there since Linux 2.6.39
	return now.Nano() / 1000
}
