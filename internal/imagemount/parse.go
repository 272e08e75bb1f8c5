package imagemount

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/verity"
)

// valueOptions are the options with a value, which is still escaped.
var valueOptions = map[string]func(o *Options, value string) error{
	"basedir": func(o *Options, value string) error {
		o.Basedirs = nil
		for _, dir := range splitUnescaped(value, ':') {
			if dir == "" {
				return errors.New("want DIR[:DIR]..., found an empty one")
			}
			o.Basedirs = append(o.Basedirs, unescape(dir))
		}
		return nil
	},
	"digest": func(o *Options, value string) (err error) {
		o.imply()
		o.Digest, err = verity.ParseAnyHex(strings.ToLower(value))
		return err
	},
	"upperdir": func(o *Options, value string) error { o.Upper = unescape(value); return nil },
	"workdir":  func(o *Options, value string) error { o.Work = unescape(value); return nil },
	"idmap":    func(o *Options, value string) error { o.UserNS = unescape(value); return nil },
}

// flagOptions are the options without a value. Of several that contradict each other the
// last one counts.
var flagOptions = map[string]func(*Options){
	"ro":     func(o *Options) { o.ReadOnly = true },
	"rw":     func(o *Options) { o.ReadOnly = false },
	"signed": func(o *Options) { o.imply(); o.Signed = true },
	"verity": func(o *Options) { o.Verity = Require },
	"tryverity": func(o *Options) {
		if o.Verity != Require {
			o.Verity = Try
		}
		if o.known() {
			o.imply()
		}
	},
	"noverity": func(o *Options) { o.Verity = Off },
	// What fstab says to other programs.
	"defaults": func(*Options) {}, "auto": func(*Options) {}, "noauto": func(*Options) {},
	"nofail": func(*Options) {}, "_netdev": func(*Options) {},
	"user": func(*Options) {}, "users": func(*Options) {}, "nouser": func(*Options) {},
}

// imply has digest and signed ask for verity, which tryverity doesn't weaken.
func (o *Options) imply() {
	if o.Verity == Try {
		o.Verity = Implied
	}
}

// attributeOptions are the options that every mount has, whatever is mounted.
var attributeOptions = map[string]struct{ set, clear uint64 }{
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
func (o *Options) Parse(text string, sloppy bool) error {
	for _, option := range splitUnescaped(text, ',') {
		key, value, hasValue := strings.Cut(option, "=")
		if set, ok := valueOptions[key]; ok {
			if !hasValue {
				return fmt.Errorf("option %s needs a value: %s=...", key, key)
			}
			if err := set(o, value); err != nil {
				return fmt.Errorf("option %s: %w", key, err)
			}
		} else if set, ok := flagOptions[key]; ok {
			set(o)
		} else if a, ok := attributeOptions[key]; ok {
			o.Set = o.Set&^(a.set|a.clear) | a.set
			o.Clear = o.Clear&^a.set | a.clear
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
