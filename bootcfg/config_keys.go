package bootcfg

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/verity"
)

// configReader takes decoded sections into a Config and keeps the mistake that
// comes first in the file.
type configReader struct {
	c     Config
	lines map[string]int // line of each "section.key"
	err   error
	line  int // of err
}

// A setter takes one value in. Its error says what is wanted.
type setter func(r *configReader, v any) error

// keys are all keys that have a meaning, by section.
var keys = map[string]map[string]setter{
	"root": {
		"transient":    setTransient(TransientOn),
		"transient-ro": setTransient(TransientReadOnly),
		"sysroot":      setSysroot,
	},
	// "mount" has the last word over "transient", so section sets it second.
	"etc": {"transient": setShort(etc), "mount": setMount(etc)},
	"var": {"transient": setShort(varDir), "mount": setMount(varDir)},
	"verify": {
		"signature":        setRequirement(func(c *Config) *Requirement { return &c.Verify.Signature }, Require, Optional, Off),
		"fs-verity":        setRequirement(func(c *Config) *Requirement { return &c.Verify.FSVerity }, Require, Userspace, Off),
		"keys":             setKeys,
		"minimum-sequence": setSequence,
		"revoked":          setRevoked,
		"argument":         setRequirement(func(c *Config) *Requirement { return &c.Verify.Argument }, Require, Optional),
		"os-id":            setOSIDs,
		"allow-insecure":   func(r *configReader, v any) error { return setBool(&r.c.Verify.AllowInsecure, v) },
		"extensions":       setRequirement(func(c *Config) *Requirement { return &c.Verify.Extensions }, Allow, Forbid),
	},
	"measure": {
		"tpm": setRequirement(func(c *Config) *Requirement { return &c.Measure.TPM }, Require, IfPresent, Off),
		"pcr": setPCR,
	},
	"failure": {
		"action":    func(r *configReader, v any) error { return oneOf(&r.c.Failure, v, Emergency, Reboot, PowerOff) },
		"shell":     func(r *configReader, v any) error { return oneOf(&r.c.Shell, v, ShellAllow, ShellDeny) },
		"full-disk": func(r *configReader, v any) error { return oneOf(&r.c.FullDisk, v, FullDiskTransient, FullDiskRefuse) },
	},
}

func etc(c *Config) *MountMode    { return &c.Etc }
func varDir(c *Config) *MountMode { return &c.Var }

func (r *configReader) section(name string, values map[string]any) {
	known, ok := keys[name]
	if !ok {
		r.fail(name, "", "unknown section: did you mean ["+nearest(name, keys)+"]?")
		return
	}
	// In descending order, "transient" is before "mount" and "transient-ro" before
	// "transient". They are few, and the initramfs does without slices.Sort for strings, which
	// would make its program larger by 16 KB.
	names := make([]string, 0, len(values))
	for k := range values {
		names = append(names, k)
		for i := len(names) - 1; i > 0 && names[i-1] < k; i-- {
			names[i-1], names[i] = k, names[i-1]
		}
	}
	for _, k := range names {
		if set, ok := known[k]; !ok {
			r.fail(name, k, "unknown key: did you mean "+nearest(k, known)+"?")
		} else if err := set(r, values[k]); err != nil {
			r.fail(name, k, err.Error())
		}
	}
}

// fail remembers the mistake unless one further up in the file is known.
func (r *configReader) fail(section, key, what string) {
	name := "[" + section + "]"
	if key != "" {
		name, section = name+" "+key, section+"."+key
	}
	line, ok := r.lines[section]
	if !ok { // a key of an inline table
		line = r.lines[strings.TrimSuffix(section, "."+key)]
	}
	if r.err == nil || line < r.line {
		r.err, r.line = fmt.Errorf("%w: line %d: %s: %s", ErrConfig, line, name, what), line
	}
}

// nearest returns the known name that is the fewest changes of a letter away, the first
// of several.
func nearest[V any](name string, known map[string]V) (best string) {
	fewest := 0
	for k := range known {
		n := distance(name, k)
		if strings.HasPrefix(k, name) || strings.HasPrefix(name, k) {
			n = min(n, 2) // it was cut off, or something added
		}
		if best == "" || n < fewest || n == fewest && k < best {
			best, fewest = k, n
		}
	}
	return best
}

// distance is Levenshtein's, of the first 64 bytes.
func distance(a, b string) int {
	a = a[:min(len(a), 64)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		above := row[0]
		row[0] = i + 1
		for j := range len(b) {
			n := above
			if a[i] != b[j] {
				n = 1 + min(above, row[j], row[j+1])
			}
			above, row[j+1] = row[j+1], n
		}
	}
	return row[len(b)]
}

func setBool(to *bool, v any) error {
	b, ok := v.(bool)
	if !ok {
		return fmt.Errorf("want true or false, found %.60q", fmt.Sprint(v))
	}
	*to = b
	return nil
}

func setTransient(mode TransientMode) setter {
	return func(r *configReader, v any) error {
		var on bool
		err := setBool(&on, v)
		// transient-ro is read first and is the stricter of the two.
		if on && r.c.Root.Transient == TransientOff {
			r.c.Root.Transient = mode
		}
		return err
	}
}

func setShort(to func(*Config) *MountMode) setter {
	return func(r *configReader, v any) error {
		var on bool
		err := setBool(&on, v)
		if on {
			*to(&r.c) = MountTransient
		}
		return err
	}
}

func setMount(to func(*Config) *MountMode) setter {
	return func(r *configReader, v any) error {
		return oneOf(to(&r.c), v, MountNone, MountRoot, MountBind, MountOverlay, MountTransient, MountVolatile)
	}
}

func setRequirement(to func(*Config) *Requirement, values ...Requirement) setter {
	return func(r *configReader, v any) error { return oneOf(to(&r.c), v, values...) }
}

func setSysroot(r *configReader, v any) error {
	var mode string
	err := oneOf(&mode, v, "ro", "rw")
	r.c.Root.SysrootReadOnly = mode == "ro"
	return err
}

// oneOf accepts a string of the list.
func oneOf[S ~string](to *S, v any, values ...S) error {
	s, ok := v.(string)
	if !ok || !slices.Contains(values, S(s)) {
		var want []string
		for _, w := range values {
			want = append(want, string(w))
		}
		return fmt.Errorf("want one of %s, found %.60q", strings.Join(want, ", "), fmt.Sprint(v))
	}
	*to = S(s)
	return nil
}

func setKeys(r *configReader, v any) error {
	s, ok := v.(string)
	if !ok || !path.IsAbs(s) || path.Clean(s) != s {
		return fmt.Errorf("want an absolute path, found %.60q", fmt.Sprint(v))
	}
	r.c.Verify.Keys = s
	r.c.Verify.Presumes = "keys"
	return nil
}

func setSequence(r *configReader, v any) error {
	n, ok := v.(int64)
	if !ok || n < 0 {
		return fmt.Errorf("want a whole number, 0 or more, found %.60q", fmt.Sprint(v))
	}
	r.c.Verify.MinimumSequence = uint64(n)
	if n > 0 {
		r.c.Verify.Presumes = "minimum-sequence"
	}
	return nil
}

func setPCR(r *configReader, v any) error {
	n, ok := v.(int64)
	if !ok || n < minPCR || n > maxPCR {
		return fmt.Errorf("want a number from %d to %d (those below are the firmware's, those above can be reset), found %.60q", minPCR, maxPCR, fmt.Sprint(v))
	}
	r.c.Measure.PCR = uint32(n)
	return nil
}

func setRevoked(r *configReader, v any) error {
	list, ok := v.([]any)
	if !ok {
		return fmt.Errorf("want a list of digests in hex, found %.60q", fmt.Sprint(v))
	}
	for _, e := range list {
		d, err := verity.ParseAnyHex(fmt.Sprint(e))
		if err != nil {
			return err
		}
		r.c.Verify.Revoked = append(r.c.Verify.Revoked, d)
		r.c.Verify.Presumes = "revoked"
	}
	return nil
}

func setOSIDs(r *configReader, v any) error {
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		return fmt.Errorf("want a list of IDs of os-release, as in [\"debian\"], found %.60q", fmt.Sprint(v))
	}
	for _, e := range list {
		id, ok := e.(string)
		if !ok || id == "" || strings.TrimSpace(id) != id {
			return fmt.Errorf("want an ID of os-release, found %.60q", fmt.Sprint(e))
		}
		r.c.Verify.OSIDs = append(r.c.Verify.OSIDs, id)
	}
	r.c.Verify.Presumes = "os-id"
	return nil
}

// keyLines finds the lines of "[section]" and "key =" in TOML that is known to
// be well-formed. It serves messages only: what it doesn't see is line 0.
func keyLines(text string) map[string]int {
	lines, section, n := map[string]int{}, "", 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "["); ok {
			name, _, _ = strings.Cut(name, "]")
			section = strings.Trim(strings.TrimSpace(name), `"'`)
			lines[section] = n
			continue
		}
		key, _, ok := strings.Cut(line, "=")
		key = strings.Trim(strings.TrimSpace(key), `"'`)
		if !ok {
			continue
		}
		if section != "" {
			key = section + "." + key
		}
		if lines[key] == 0 {
			lines[key] = n
		}
	}
	return lines
}
