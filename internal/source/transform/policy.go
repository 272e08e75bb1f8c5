package transform

import (
	"errors"
	"fmt"
	"strings"

	"github.com/composefs-go/composefs/erofs/tree"
)

// ErrPolicy is the cause if the SELinux policy in the tree can't be read.
var ErrPolicy = errors.New("unusable SELinux policy")

// A NoContextsError says that the tree lacks the policy that its configuration names. It
// wraps ErrPolicy.
type NoContextsError struct {
	File   string // with the labels, which is missing
	Config string // that names the policy
}

func (e *NoContextsError) Error() string {
	return fmt.Sprintf("%v: want the file %s, since %s names its policy, found none", ErrPolicy, e.File, e.Config)
}

func (e *NoContextsError) Unwrap() error { return ErrPolicy }

// A policy maps paths to labels.
type policy struct {
	rules   index
	aliases map[string]string // path → the path whose rules apply to it
}

// lookup returns the label of a file, nil if it has none.
func (p *policy) lookup(path string, kind byte) ([]byte, error) { return p.rules.lookup(path, kind) }

// policyFileMax limits the size of a policy's file, in bytes. Fedora's file_contexts has
// half a megabyte.
const policyFileMax = 64 << 20

const selinuxDir = "etc/selinux"

// loadPolicy reads the SELinux policy of a tree. It returns nil if there is none.
func loadPolicy(root *tree.Node, content Content) (*policy, error) {
	files := policyFiles{root, content}
	config, ok, err := files.read(selinuxDir + "/config")
	if err != nil || !ok {
		return nil, err
	}
	name, ok := policyName(config)
	if !ok {
		return nil, nil
	}
	if err := tree.CheckName(name); err != nil {
		return nil, fmt.Errorf("%w: %s/config: SELINUXTYPE: %w", ErrPolicy, selinuxDir, err)
	}
	base := selinuxDir + "/" + name + "/contexts/files/file_contexts"
	p := &policy{aliases: make(map[string]string)}
	for _, suffix := range [...]string{"", ".local", ".homedirs"} {
		text, ok, err := files.read(base + suffix)
		if err == nil && !ok && suffix == "" {
			err = &NoContextsError{base, selinuxDir + "/config"}
		}
		if err == nil {
			err = eachLine(base+suffix, text, p.rules.parseLine)
		}
		if err != nil {
			return nil, err
		}
	}
	for _, suffix := range [...]string{".subs", ".subs_dist"} {
		text, _, err := files.read(base + suffix)
		if err == nil {
			err = eachLine(base+suffix, text, p.parseAlias)
		}
		if err != nil {
			return nil, err
		}
	}
	p.rules.finish()
	return p, nil
}

// policyName returns the value of SELINUXTYPE in a config file, if it is set.
func policyName(config string) (name string, ok bool) {
	for line := range strings.Lines(config) {
		key, value, ok := strings.Cut(line, "=")
		if ok && strings.EqualFold(strings.TrimSpace(key), "SELINUXTYPE") {
			return strings.TrimSpace(value), true
		}
	}
	return "", false
}

func (p *policy) parseAlias(fields []string) error {
	if len(fields) != 2 {
		return fmt.Errorf("want ALIAS ORIGINAL, found %d words", len(fields))
	}
	p.aliases[fields[0]] = fields[1]
	return nil
}

// eachLine calls parse with the words of each line, except blank lines and comments.
func eachLine(name, text string, parse func(fields []string) error) error {
	number := 0
	for line := range strings.Lines(text) {
		number++
		fields := strings.FieldsFunc(line, isSpace)
		if len(fields) == 0 || fields[0][0] == '#' {
			continue
		}
		if err := parse(fields); err != nil {
			return fmt.Errorf("%w: %s, line %d: %w", ErrPolicy, name, number, err)
		}
	}
	return nil
}

func isSpace(r rune) bool { return r == ' ' || '\t' <= r && r <= '\r' }

// policyFiles reads files of the tree.
type policyFiles struct {
	root    *tree.Node
	content Content
}

// read returns the content of a file, and whether there is one.
func (f policyFiles) read(name string) (string, bool, error) {
	n := f.root
	for part := range strings.SplitSeq(name, "/") {
		if n.Kind != tree.Directory {
			return "", false, fmt.Errorf("%w: %s: want directories on the way to it", ErrPolicy, name)
		}
		if n = n.Lookup(part); n == nil {
			return "", false, nil
		}
	}
	switch {
	case n.Kind != tree.Regular:
		return "", false, fmt.Errorf("%w: %s: want a regular file", ErrPolicy, name)
	case n.Size > policyFileMax:
		return "", false, fmt.Errorf("%w: %s: want at most %d bytes, found %d", ErrPolicy, name, policyFileMax, n.Size)
	case n.Size == 0 || len(n.Inline) > 0:
		return string(n.Inline), true, nil
	case f.content == nil:
		return "", false, fmt.Errorf("%w: %s: its content isn't available", ErrPolicy, name)
	}
	b, err := f.content(n)
	if err != nil {
		return "", false, fmt.Errorf("%w: read %s: %w", ErrPolicy, name, err)
	}
	return string(b), true, nil
}
