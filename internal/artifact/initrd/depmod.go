package initrd

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// Limits on depmod's files, in bytes. The largest real one, modules.alias, has 1 MB.
const (
	maxIndex = 64 << 20
	maxLine  = 1 << 20
)

// ErrModules is the cause when the modules of a kernel can't be used.
var ErrModules = errors.New("kernel modules")

// moduleName returns the name of the module in a file as the kernel spells it, foo_bar for
// kernel/fs/foo-bar.ko.xz.
func moduleName(file string) string {
	base := path.Base(file)
	if i := strings.Index(base, ".ko"); i >= 0 {
		base = base[:i]
	}
	return normalize(base)
}

func normalize(name string) string { return strings.ReplaceAll(name, "-", "_") }

// eachLine calls do with each line of one of depmod's files that isn't a comment.
func (k *Kernel) eachLine(fsys fs.FS, file string, do func(line string) error) error {
	f, err := fsys.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	limited := &io.LimitedReader{R: f, N: maxIndex}
	lines := bufio.NewScanner(limited)
	lines.Buffer(nil, maxLine)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		if err := do(line); err != nil {
			return fmt.Errorf("%w: %s/%s, line %d: %w", ErrModules, k.dir, file, n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%w: read %s/%s: %w", ErrModules, k.dir, file, err)
	}
	if limited.N == 0 {
		return fmt.Errorf("%w: %s/%s has more than %d bytes", ErrModules, k.dir, file, maxIndex)
	}
	return nil
}

// addDependencies reads a line of modules.dep: "FILE: FILE FILE…". What must be loaded
// first comes last.
func (k *Kernel) addDependencies(line string) error {
	file, rest, ok := strings.Cut(line, ":")
	if !ok {
		return fmt.Errorf(`want "FILE: FILE…", found %.80q`, line)
	}
	fields := strings.Fields(rest)
	for _, f := range append(fields, file) {
		// Absolute paths lead to "updates" directories elsewhere.
		if !fs.ValidPath(f) || !strings.Contains(path.Base(f), ".ko") {
			return fmt.Errorf("want the path of a module below this directory, found %.80q", f)
		}
	}
	m := &module{file: file}
	for i := len(fields) - 1; i >= 0; i-- {
		m.needs = append(m.needs, moduleName(fields[i]))
	}
	k.modules[moduleName(file)] = m
	return nil
}

// addBuiltin reads a line of modules.builtin: the file in which the module would be.
func (k *Kernel) addBuiltin(line string) error {
	k.builtin[moduleName(line)] = line
	return nil
}

// addSoft reads a line of modules.softdep: "softdep NAME pre: A B post: C". A
// module can have several such lines.
func (k *Kernel) addSoft(line string) error {
	fields := strings.Fields(line)
	if len(fields) < 2 || fields[0] != "softdep" {
		return nil
	}
	s := k.soft[normalize(fields[1])]
	list := (*[]string)(nil)
	for _, f := range fields[2:] {
		switch {
		case f == "pre:":
			list = &s.pre
		case f == "post:":
			list = &s.post
		case list != nil:
			*list = append(*list, normalize(f))
		}
	}
	k.soft[normalize(fields[1])] = s
	return nil
}

// addAlias reads a line of modules.alias: "alias PATTERN NAME". Patterns with wildcards are
// for devices and of no use here; plain names appear in softdeps.
func (k *Kernel) addAlias(line string) error {
	fields := strings.Fields(line)
	if len(fields) == 3 && fields[0] == "alias" && !strings.ContainsAny(fields[1], "*?[") {
		name := normalize(fields[1])
		k.alias[name] = append(k.alias[name], normalize(fields[2]))
	}
	return nil
}
