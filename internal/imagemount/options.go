package imagemount

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/verity"
)

// mountValues are the options of a mount that have a value, still escaped.
var mountValues = map[string]func(m *Options, value string) error{
	"basedir": func(m *Options, value string) error {
		m.Basedirs = nil
		for _, dir := range splitUnescaped(value, ':') {
			if dir == "" {
				return errors.New("want DIR[:DIR]..., found an empty one")
			}
			m.Basedirs = append(m.Basedirs, unescape(dir))
		}
		return nil
	},
	"digest": func(m *Options, value string) (err error) {
		m.imply()
		m.Digest, err = verity.ParseAnyHex(strings.ToLower(value))
		return err
	},
	"upperdir": func(m *Options, value string) error { m.Upper = unescape(value); return nil },
	"workdir":  func(m *Options, value string) error { m.Work = unescape(value); return nil },
	"idmap":    func(m *Options, value string) error { m.UserNS = unescape(value); return nil },
}

// mountFlags are the options without a value. Of those that contradict each other
// the last one counts.
var mountFlags = map[string]func(*Options){
	"ro":     func(m *Options) { m.ReadOnly = true },
	"rw":     func(m *Options) { m.ReadOnly = false },
	"signed": func(m *Options) { m.imply(); m.Signed = true },
	"verity": func(m *Options) { m.Verity = Require },
	"tryverity": func(m *Options) {
		if m.Verity != Require {
			m.Verity = Try
		}
		if m.known() {
			m.imply()
		}
	},
	"noverity": func(m *Options) { m.Verity = Off },
	// What fstab says to others than us.
	"defaults": func(*Options) {}, "auto": func(*Options) {}, "noauto": func(*Options) {},
	"nofail": func(*Options) {}, "_netdev": func(*Options) {},
	"user": func(*Options) {}, "users": func(*Options) {}, "nouser": func(*Options) {},
}

// imply has digest and signed ask for verity, which tryverity doesn't weaken.
func (m *Options) imply() {
	if m.Verity == Try {
		m.Verity = Implied
	}
}

// mountAttributes are those options that each mount has, whatever is mounted.
var mountAttributes = map[string]struct{ set, clear uint64 }{
	"nosuid":      {unix.MOUNT_ATTR_NOSUID, 0},
	"suid":        {0, unix.MOUNT_ATTR_NOSUID},
	"nodev":       {unix.MOUNT_ATTR_NODEV, 0},
	"dev":         {0, unix.MOUNT_ATTR_NODEV},
	"noexec":      {unix.MOUNT_ATTR_NOEXEC, 0},
	"exec":        {0, unix.MOUNT_ATTR_NOEXEC},
	"nodiratime":  {unix.MOUNT_ATTR_NODIRATIME, 0},
	"diratime":    {0, unix.MOUNT_ATTR_NODIRATIME},
	"noatime":     {unix.MOUNT_ATTR_NOATIME, unix.MOUNT_ATTR__ATIME},
	"relatime":    {unix.MOUNT_ATTR_RELATIME, unix.MOUNT_ATTR__ATIME},
	"strictatime": {unix.MOUNT_ATTR_STRICTATIME, unix.MOUNT_ATTR__ATIME},
}

// Parse reads the text of one -o: options at unescaped commas, each KEY or
// KEY=VALUE. A flag's value means nothing. With sloppy, unknown keys are ignored.
func (m *Options) Parse(text string, sloppy bool) error {
	for _, option := range splitUnescaped(text, ',') {
		key, value, hasValue := strings.Cut(option, "=")
		if set, ok := mountValues[key]; ok {
			if !hasValue {
				return fmt.Errorf("option %s needs a value: %s=...", key, key)
			}
			if err := set(m, value); err != nil {
				return fmt.Errorf("option %s: %w", key, err)
			}
		} else if set, ok := mountFlags[key]; ok {
			set(m)
		} else if a, ok := mountAttributes[key]; ok {
			m.Set = m.Set&^(a.set|a.clear) | a.set
			m.Clear = m.Clear&^a.set | a.clear
		} else if !sloppy && !strings.HasPrefix(key, "x-") {
			return fmt.Errorf("there is no option %q", option)
		}
	}
	return nil
}

// splitUnescaped splits a text at each separator that no backslash stands before.
// The parts stay escaped.
func splitUnescaped(text string, separator byte) []string {
	var parts []string
	start := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case separator:
			parts = append(parts, text[start:i])
			start = i + 1
		}
	}
	return append(parts, text[start:])
}

// unescape takes the backslashes away; a last one that escapes nothing, too.
func unescape(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' {
			i++
		}
		if i < len(text) {
			b.WriteByte(text[i])
		}
	}
	return b.String()
}
