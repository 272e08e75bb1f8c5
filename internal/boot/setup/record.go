package setup

import (
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/internal/boot/kernel"
	"github.com/composefs-go/composefs/internal/boot/kmsg"
	"github.com/composefs-go/composefs/internal/osfile"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// recordPath is where the running system finds how it was booted.
const recordPath = "/run/composefs/boot.json"

// A Boot is the record of a boot: what was asked for and what was proved.
type Boot struct {
	Digest   verity.Digest
	Argument string
	Seal     sign.Verdict
	FSVerity bootcfg.Requirement
	TPM      tpmRecord
	// NoRoom are the directories whose state is in memory for want of room.
	NoRoom       []string
	Config       bootcfg.Config
	Milliseconds timings
	Version      string
	kernel       *kernel.Kernel
}

// timings are how long each stage took, in the order that they ran.
type timings []struct {
	stage Stage
	took  time.Duration
}

func (t *timings) add(s Stage, took time.Duration) {
	if n := len(*t); n > 0 && (*t)[n-1].stage == s {
		(*t)[n-1].took += took
		return
	}
	*t = append(*t, struct {
		stage Stage
		took  time.Duration
	}{s, took})
}

func newBoot(o Options, k *kernel.Kernel) Boot {
	return Boot{Version: o.Version, Seal: sign.Verdict{Status: sign.NotRequired}, TPM: tpmRecord{Status: "off"}, Config: o.Config, kernel: k}
}

// JSON returns the record as a line of JSON. maxRSS is our largest memory use in
// KiB. It is written by hand: encoding/json would be a tenth of the program.
func (b *Boot) JSON(maxRSS int64) string {
	seal := object{{"status", quote(b.Seal.Status.String())}}
	if b.Seal.Status == sign.Sealed {
		said := b.Seal.Statement
		seal = append(seal, [][2]string{{"key", quote(b.Seal.Key.ID.String())}, {"key-name", quote(b.Seal.Key.Name)},
			{"sequence", strconv.FormatUint(said.Sequence, 10)}}...)
		if said.OSID != "" {
			seal = append(seal, [2]string{"os-id", quote(said.OSID)})
		}
		if len(said.Refs) > 0 {
			seal = append(seal, [2]string{"refs", list(said.Refs)})
		}
	}
	var features, took object
	for name, has := range b.kernel.Known() {
		// By name, and without slices.Sort for strings, which would make the program larger by 16 KB.
		features = append(features, [2]string{name, strconv.FormatBool(has)})
		for i := len(features) - 1; i > 0 && features[i-1][0] > name; i-- {
			features[i-1], features[i] = features[i], features[i-1]
		}
	}
	for _, t := range b.Milliseconds {
		took = append(took, [2]string{string(t.stage), strconv.FormatFloat(float64(t.took.Microseconds())/1000, 'f', 3, 64)})
	}
	return object{
		{"version", "1"},
		{"digest", quote(b.Digest.String())},
		{"argument", quote(b.Argument)},
		{"seal", seal.String()},
		{"fs-verity", quote(string(b.FSVerity))},
		{"tpm", b.TPM.json()},
		{"no-room", list(b.NoRoom)},
		{"policy", b.policy()},
		{"kernel", quote(b.kernel.Release())},
		{"features", features.String()},
		{"milliseconds", took.String()},
		{"setup-root", object{{"version", quote(b.Version)}, {"max-rss-kib", strconv.FormatInt(maxRSS, 10)}}.String()},
	}.String() + "\n"
}

// policy returns the settings of the policy that explain the mounts of the running system.
// Their values are fixed words, which need no quoting.
func (b *Boot) policy() string {
	c := b.Config
	return `{"root":"` + string(c.Root.Transient) + `","etc":"` + string(c.Etc) + `","extensions":"` + string(c.Extensions()) + `"}`
}

// An object is a JSON object: names and values that are JSON already.
type object [][2]string

func (o object) String() string {
	var members []string
	for _, m := range o {
		members = append(members, quote(m[0])+":"+m[1])
	}
	return "{" + strings.Join(members, ",") + "}"
}

// list returns a JSON list of strings.
func list(all []string) string {
	var quoted []string
	for _, s := range all {
		quoted = append(quoted, quote(s))
	}
	return "[" + strings.Join(quoted, ",") + "]"
}

// quote returns s as a JSON string. Bytes that aren't UTF-8 become U+FFFD.
func quote(s string) string {
	const hex = "0123456789abcdef"
	b := []byte{'"'}
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < ' ':
			b = append(b, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return string(append(b, '"'))
}

// Record writes boot.json. The mark for systemd is a help, never a reason to fail.
func (l *linux) Record(b *Boot) error {
	if err := l.markRoot(); err != nil {
		l.log.Printf(kmsg.Warning, "mark the root device for systemd: %v", err)
	}
	if b.Config.Extensions() == bootcfg.Forbid {
		if err := mask(); err != nil {
			return err
		}
	}
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		return fmt.Errorf("record the boot: %w", err)
	}
	if err := writeFile(recordPath, b.JSON(int64(usage.Maxrss))); err != nil {
		return fmt.Errorf("record the boot: %w", err)
	}
	return nil
}

func writeFile(name, text string) error {
	if err := os.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	dir, err := osfile.OpenDir(path.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	return osfile.Replace(dir, path.Base(name), 0o644, func(f *os.File) error {
		_, err := f.WriteString(text)
		return err
	})
}
