package blockdev

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrAmbiguous is the cause when more than one device fits, ErrAbsent when none does.
var (
	ErrAmbiguous = errors.New("more than one device fits")
	ErrAbsent    = errors.New("didn't appear")
)

// Forever is a timeout that doesn't end.
const Forever time.Duration = -1

// interval is how often Wait looks for new devices.
const interval = 10 * time.Millisecond

// A device on another disk than the loader's is taken only if the loader's has none.
// Its partitions come one after another, and it itself may come late, or never: a
// loader from the network, a disk that this kernel has no driver for.
const (
	partitionsTake = 200 * time.Millisecond
	diskTakes      = 5 * time.Second
)

// Wait returns the name below /dev of the device that s means, as soon as it is
// there. After the timeout the error lists the devices that are there instead.
func (f Finder) Wait(s Spec, timeout time.Duration) (string, error) {
	start := time.Now()
	said := start
	var appeared time.Time // the disk of the loader
	for {
		found := f.find(s)
		onLoaders, there := f.onLoaderDisk(s, found)
		if there && appeared.IsZero() {
			appeared = time.Now()
		}
		late := time.Since(start) >= diskTakes || !appeared.IsZero() && time.Since(appeared) >= partitionsTake
		switch {
		case len(onLoaders) == 1:
			if len(found) > 1 {
				f.say("%s fits %s: taking %s, which is on the disk of the boot loader", s, names(found), onLoaders[0].name)
			}
			return onLoaders[0].name, nil
		case len(found) == 0 || !late && f.Loader != "" && s.kind != byName:
		case len(found) == 1:
			return found[0].name, nil
		default:
			return "", f.ambiguous(s, found)
		}
		if timeout != Forever && len(found) == 0 && time.Since(start) >= timeout {
			return "", fmt.Errorf("find the root device: %s %w within %v; there are %s", s, ErrAbsent, timeout, f.there())
		}
		if time.Since(said) >= f.Remind {
			said = time.Now()
			f.say("waiting for the root device %s; there are %s", s, f.there())
		}
		time.Sleep(interval)
	}
}

// onLoaderDisk returns which of the devices are on the disk of the boot loader, and
// whether that disk is there. Copies of a disk are all of them the loader's. The image is
// verified whichever it is; /etc and /var are not, so a root that was unlocked is never
// exchanged for one on this disk.
func (f Finder) onLoaderDisk(s Spec, found []match) (on []match, there bool) {
	if f.Loader == "" || s.kind == byName {
		return nil, false
	}
	for _, d := range f.disks() {
		if len(f.byTable(d, Spec{byPartUUID, f.Loader})) == 0 {
			continue
		}
		there = true
		for _, m := range found {
			if m.disk == d.name {
				on = append(on, m)
			}
		}
	}
	return on, there
}

func (f Finder) ambiguous(s Spec, found []match) error {
	why := "and it isn't known which disk the boot loader came from"
	if f.Loader != "" {
		why = "and the disk that the boot loader came from doesn't decide"
	}
	return fmt.Errorf("find the root device: %w %s: %s, %s", ErrAmbiguous, s, names(found), why)
}

func (f Finder) say(format string, args ...any) {
	if f.Say != nil {
		f.Say(format, args...)
	}
}

func names(found []match) string {
	var all []string
	for _, m := range found {
		all = append(all, m.name)
	}
	return strings.Join(all, ", ")
}
