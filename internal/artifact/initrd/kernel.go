package initrd

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// A Kernel knows the modules of one kernel version.
type Kernel struct {
	fsys    fs.FS
	dir     string // of the modules, for messages
	version string
	modules map[string]*module
	builtin map[string]string // name to the file in which it would be
	soft    map[string]soft
	alias   map[string][]string
}

// A module is one that can be loaded.
type module struct {
	file  string   // relative to the directory
	needs []string // names in load order
}

// A soft dependency lists what a module would like to be loaded before and after it.
type soft struct{ pre, post []string }

// A Module is a file to be loaded into the kernel.
type Module struct {
	Name string // as lsmod shows it
	File string // relative to the directory of the kernel version, perhaps compressed

	// Needs are the files of the modules that this one needs, all of them before it in
	// load order.
	Needs []string
}

// NewKernel reads what depmod has written about the modules of a kernel version in fsys,
// the directory of that version, which messages call dir.
func NewKernel(fsys fs.FS, dir, version string) (*Kernel, error) {
	k := &Kernel{
		fsys: fsys, dir: dir, version: version,
		modules: make(map[string]*module), builtin: make(map[string]string),
		soft: make(map[string]soft), alias: make(map[string][]string),
	}
	for _, index := range []struct {
		file     string
		required bool
		add      func(string) error
	}{
		{"modules.dep", true, k.addDependencies},
		{"modules.builtin", true, k.addBuiltin},
		{"modules.softdep", false, k.addSoft},
		{"modules.alias", false, k.addAlias},
	} {
		err := k.eachLine(fsys, index.file, index.add)
		switch {
		case errors.Is(err, fs.ErrNotExist) && index.required:
			return nil, &NoIndexError{dir, index.file}
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return nil, err
		}
	}
	return k, nil
}

// Version returns the kernel's version, as in `uname -r`.
func (k *Kernel) Version() string { return k.version }

// Resolve returns the modules wanted and all that they need, in load order, without those
// that are built into the kernel. The error is a MissingModulesError if the kernel lacks one
// that isn't optional.
func (k *Kernel) Resolve(wants []Want) ([]Module, error) {
	r := resolver{Kernel: k, seen: make(map[string]bool)}
	var missing []string
	for _, w := range wants {
		if !r.find(w.Name) && !w.Optional && !slices.Contains(missing, w.Name) {
			missing = append(missing, w.Name)
		}
	}
	if len(missing) > 0 {
		return nil, &MissingModulesError{k.version, k.dir, missing}
	}
	return r.order, nil
}

// A NoIndexError is about a directory of modules without a file that depmod makes there. It
// wraps ErrModules.
type NoIndexError struct{ Dir, File string }

func (e *NoIndexError) Error() string {
	return fmt.Sprintf("%v: %s has no %s", ErrModules, e.Dir, e.File)
}

func (e *NoIndexError) Unwrap() error { return ErrModules }

// A MissingModulesError is about a kernel that lacks modules which are wanted. It wraps
// ErrModules.
type MissingModulesError struct {
	Kernel, Dir string // its version, and where its modules are
	Names       []string
}

func (e *MissingModulesError) Error() string {
	verb := "is"
	if len(e.Names) > 1 {
		verb = "are"
	}
	return fmt.Sprintf("%v: kernel %s lacks %s, which %s neither built in nor among the modules in %s", ErrModules, e.Kernel, quoted(e.Names), verb, e.Dir)
}

func (e *MissingModulesError) Unwrap() error { return ErrModules }

// quoted lists names for messages.
func quoted(names []string) string {
	var out []string
	for _, name := range names {
		out = append(out, strconv.Quote(name))
	}
	return strings.Join(out, ", ")
}

// A resolver visits modules and what they need, each once.
type resolver struct {
	*Kernel
	seen  map[string]bool
	order []Module
}

// find adds the modules of the name, and reports whether the kernel has it.
func (r *resolver) find(name string) bool {
	name = normalize(name)
	if r.modules[name] != nil {
		r.visit(name)
		return true
	}
	if r.builtin[name] != "" {
		return true
	}
	for _, other := range r.alias[name] {
		r.visit(other)
	}
	return len(r.alias[name]) > 0
}

// visit adds a module after those that it needs. It is marked first, which ends cycles:
// modules.dep has none, but softdeps may.
func (r *resolver) visit(name string) {
	m := r.modules[name]
	if m == nil || r.seen[name] {
		return
	}
	r.seen[name] = true
	loaded := Module{Name: name, File: m.file}
	for _, need := range m.needs {
		r.visit(need)
		if n := r.modules[need]; n != nil {
			loaded.Needs = append(loaded.Needs, n.file)
		}
	}
	for _, before := range r.soft[name].pre {
		r.find(before)
	}
	r.order = append(r.order, loaded)
	for _, after := range r.soft[name].post {
		r.find(after)
	}
}
