package setup_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/boot/kmsg"
	"github.com/composefs-go/composefs/internal/boot/setup"
	"github.com/composefs-go/composefs/internal/boot/tpm"
)

// terminal makes a device, the path of which is returned, that is answered at the
// other end: a pseudo terminal that changes nothing.
func terminal(t *testing.T, answer []byte) string {
	t.Helper()
	other, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	n, err := unix.IoctlGetInt(int(other.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(other.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	raw := unix.Termios{Cflag: unix.CS8 | unix.CREAD}
	raw.Cc[unix.VMIN] = 1
	if err := unix.IoctlSetTermios(int(other.Fd()), unix.TCSETS, &raw); err != nil {
		t.Fatal(err)
	}
	name := "/dev/pts/" + strconv.Itoa(n)
	// While nobody has this end open, reading at the other one is an error.
	this, err := os.OpenFile(name, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { this.Close() })
	go func() {
		b := make([]byte, 4096)
		for {
			if _, err := other.Read(b); err != nil {
				return
			}
			_, _ = other.Write(answer)
		}
	}()
	return name
}

const (
	event  = "composefs:x"
	tables = "/sys/firmware/acpi/tables"

	tpmTimeout = 10 * time.Second
)

// sha256Answer is what a TPM with one bank answers to the event.
func sha256Answer() []byte {
	sum := sha256.Sum256([]byte(event))
	b := append([]byte("\x80\x02\x00\x00\x00\x39\x00\x00\x00\x00"+"\x00\x00\x00\x26"+"\x00\x00\x00\x01\x00\x0b"), sum[:]...)
	return append(b, 0, 0, 1, 0, 0)
}

// tpmMachine has a TPM that gives the answer.
func tpmMachine(t *testing.T, answer []byte) tpmSystem {
	t.Helper()
	l := tpmSystem{dir: t.TempDir(), console: &strings.Builder{}}
	l.System = setup.NewTestSystem(nil, kmsg.New(nil, l.console), l.dir, nil)
	if err := errors.Join(os.MkdirAll(l.dir+tables, 0o755), os.Mkdir(l.dir+"/dev", 0o755)); err != nil {
		t.Fatal(err)
	}
	if answer != nil {
		if err := os.Symlink(terminal(t, answer), l.dir+"/dev/tpmrm0"); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

type tpmSystem struct {
	setup.System
	dir     string // where its TPM is
	console *strings.Builder
}

func TestWhatIsMeasuredIsLogged(t *testing.T) {
	l := tpmMachine(t, sha256Answer())
	for range 2 {
		if digests, err := l.Extend(15, event, true); err != nil || len(digests) != 1 || l.console.Len() > 0 {
			t.Fatalf("%v, %v, console %q", digests, err, l.console)
		}
	}
	log, err := os.ReadFile(l.dir + tpm.LogPath)
	records := strings.Split(string(log), "\x1e")
	if err != nil || len(records) != 3 {
		t.Fatalf("%q, %v; want two records", log, err)
	}
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	bootID := strings.ReplaceAll(strings.TrimSpace(string(id)), "-", "")
	want := fmt.Sprintf(`{"pcr":15,"digests":[{"hashAlg":"sha256","digest":"%x"}],"content_type":"systemd","content":{"string":"composefs:x","bootId":"%s","timestamp":`, sha256.Sum256([]byte(event)), bootID)
	if len(bootID) != 32 || !strings.HasPrefix(records[1], want) {
		t.Errorf("%s, want %s…", records[1], want)
	}
}

func TestALogThatCantBeWrittenIsNoReasonToRefuse(t *testing.T) {
	l := tpmMachine(t, sha256Answer())
	writeTestFile(t, l.dir+"/run", "in the way")
	if _, err := l.Extend(15, event, true); err != nil || !strings.Contains(l.console.String(), "composefs: the log of measurements can't be written: ") {
		t.Errorf("no directory: %v, console %q", err, l.console)
	}
	l = tpmMachine(t, sha256Answer())
	mountTmpfs(t, l.dir)
	if err := errors.Join(os.MkdirAll(l.dir+tables, 0o755), os.Mkdir(l.dir+"/dev", 0o755), os.Symlink(terminal(t, sha256Answer()), l.dir+"/dev/tpm0")); err != nil {
		t.Fatal(err)
	}
	fill(t, l.dir+"/full")
	if _, err := l.Extend(15, event, true); err != nil || !strings.Contains(l.console.String(), "composefs: log the measurement: ") {
		t.Errorf("no room: %v, console %q", err, l.console)
	}
}

// fill leaves no room on the file system for content, only for names.
func fill(t *testing.T, name string) {
	t.Helper()
	if err := unix.Mount("", filepath.Dir(name), "", unix.MS_REMOUNT, "size=64k"); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(filepath.Dir(name), filepath.Dir(tpm.LogPath)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, make([]byte, 1<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("fill: %v", err)
	}
}

func TestATPMThatRefusesLeavesTheLogIncomplete(t *testing.T) {
	l := tpmMachine(t, []byte("\x80\x01\x00\x00\x00\x0a\x00\x00\x01\x01"))
	if _, err := l.Extend(15, event, false); !errors.Is(err, tpm.ErrRefused) {
		t.Errorf("%v, want ErrRefused", err)
	}
	if info, err := os.Stat(l.dir + tpm.LogPath); err != nil || info.Mode()&os.ModeSticky == 0 {
		t.Errorf("%v, %v; want the mark", info, err)
	}
}

func TestATPMIsWaitedForWhereThereMayBeOne(t *testing.T) {
	l := tpmMachine(t, nil)
	if _, err := l.Extend(15, event, true); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without one: %v", err)
	}
	for _, c := range []struct {
		name   string
		needed bool
		path   string
		want   time.Duration
	}{
		{"the firmware has none, and none is needed", false, tables, 0},
		{"the firmware has none, but one is needed", true, tables, 0},
		{"the firmware has one", false, tables + "/TPM2", tpmTimeout},
		{"no ACPI, and none is needed", false, "", 0},
		{"no ACPI, but one is needed", true, "", tpmTimeout},
	} {
		machine := t.TempDir()
		if err := os.MkdirAll(machine+c.path, 0o755); err != nil {
			t.Fatal(err)
		}
		if got := setup.TPMWait(machine, c.needed); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
