package tpm

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// LogPath is where systemd looks for measurements that were made after the
// firmware's.
const LogPath = "/run/log/systemd/tpm2-measure.log"

// incomplete, the sticky bit, marks a log while something is measured that isn't
// in it yet. If it stays, readers know that a record is missing.
const incomplete = unix.S_ISVTX

// A Log is systemd's log of measurements, open and locked.
type Log struct {
	f    *os.File
	lost bool // an earlier record is missing: the mark stays
}

// OpenLog opens the log, makes it if it isn't there, and marks it as incomplete:
// it is opened before the measurement is made.
func OpenLog(name string) (*Log, error) {
	if err := os.MkdirAll(path.Dir(name), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	l := &Log{f: f}
	if err := l.begin(); err != nil {
		f.Close()
		return nil, fmt.Errorf("open the log of measurements %s: %w", name, err)
	}
	return l, nil
}

func (l *Log) begin() error {
	if err := unix.Flock(int(l.f.Fd()), unix.LOCK_EX); err != nil {
		return err
	}
	info, err := l.f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("want a regular file, found %s", info.Mode().Type())
	}
	l.lost = info.Mode()&os.ModeSticky != 0
	return unix.Fchmod(int(l.f.Fd()), 0o600|incomplete)
}

// Append adds a record, which makes the log complete, and closes it. A log that
// was incomplete before stays so.
func (l *Log) Append(record string) error {
	_, err := l.f.WriteString(record)
	if err == nil && !l.lost {
		err = unix.Fchmod(int(l.f.Fd()), 0o600)
	}
	return errors.Join(err, l.f.Close())
}

// Close leaves the log marked as incomplete, for a measurement whose digests aren't known.
func (l *Log) Close() error { return l.f.Close() }

// Record returns a record of the log: JSON between a record separator and a line
// feed (RFC 7464), with the keys of the TCG's Canonical Event Log. The event is
// text without control characters, bootID 32 hex digits, microseconds the time
// since the machine was started.
func Record(pcr uint32, digests []Digest, event, bootID string, microseconds int64) string {
	var each []string
	for _, d := range digests {
		each = append(each, `{"hashAlg":`+strconv.Quote(d.Algorithm)+`,"digest":"`+hex.EncodeToString(d.Sum)+`"}`)
	}
	return "\x1e" + `{"pcr":` + strconv.FormatUint(uint64(pcr), 10) + `,"digests":[` + strings.Join(each, ",") + `],"content_type":"systemd","content":{"string":` +
		strconv.Quote(event) + `,"bootId":` + strconv.Quote(bootID) + `,"timestamp":` + strconv.FormatInt(microseconds, 10) + "}}\n"
}
