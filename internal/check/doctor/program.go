package doctor

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/bootcfg"
)

// maxLibraries is how many programs and libraries are followed from one to the next.
const maxLibraries = 512

// init checks that the kernel can execute an init program of the image, and that all
// is there that it is linked with.
func (i *imageCheck) init(line bootcfg.Cmdline) {
	init, _ := line.Lookup("init")
	wanted := bootcfg.Inits(init)
	for _, name := range wanted {
		info, err := fs.Stat(i.fsys, inside(name))
		if err != nil {
			continue
		}
		i.r.Fact("init", "%s", name)
		i.linkedInit(name)
		if info.Mode().IsRegular() && info.Mode()&0o111 == 0 {
			i.r.Stop("init-program/mode", "%s of the image is not executable (mode %o)", name, info.Mode().Perm())
			return
		}
		i.program(name)
		return
	}
	i.r.Stop("init-program/none", "the image has no init program: none of %s is there", strings.Join(wanted, ", "))
}

// linkedInit warns of links of the image by which its init is a file that isn't the image's
// once the system is booted.
func (i *imageCheck) linkedInit(name string) {
	at, rest := "/", strings.Split(inside(name), "/")
	for range 256 { // parts of names
		if len(rest) == 0 {
			return
		}
		next := path.Join(at, rest[0])
		rest = rest[1:]
		to, err := fs.ReadLink(i.fsys, inside(next))
		if err != nil {
			at = next
			continue
		}
		if !path.IsAbs(to) {
			to = path.Join(at, to)
		}
		if isWritable(path.Clean(to), i.config) {
			i.r.Warn("unverified-init/link", "/%s of the image is a link to %s: what is started by it isn't part of the image, so it isn't verified", inside(next), to)
			return
		}
		at, rest = "/", append(strings.Split(inside(to), "/"), rest...)
	}
}

// program follows scripts to their interpreter, and programs to their libraries.
func (i *imageCheck) program(name string) {
	l := &libraries{imageCheck: i, seen: map[string]bool{}}
	for range 5 { // as many as the kernel follows
		content, err := i.content(name)
		if errors.Is(err, errNoContent) {
			return
		}
		var unfit unfitError
		if errors.As(err, &unfit) {
			i.r.Stop("init-program/unfit", "%s of the image: %v", name, err)
			return
		}
		if err != nil {
			i.r.Stop("init-program/unreadable", "%s of the image: %v", name, err)
			return
		}
		first, script := strings.CutPrefix(string(content[:min(len(content), 256)]), "#!")
		if !script {
			l.check(name, content)
			return
		}
		words := strings.Fields(strings.SplitN(first, "\n", 2)[0])
		if len(words) == 0 {
			i.r.Stop("init-program/script", "%s of the image is a script without an interpreter", name)
			return
		}
		if _, err := fs.Stat(i.fsys, inside(words[0])); err != nil {
			i.r.Stop("init-interpreter/script", "%s of the image is a script for %s, which isn't in it", name, words[0])
			return
		}
		name = words[0]
	}
	i.r.Stop("init-program/loop", "%s of the image is a script for a script, and so on: the kernel gives up", name)
}

// libraries is a search for what a program is linked with.
type libraries struct {
	*imageCheck
	seen  map[string]bool // names of libraries
	paths []string        // from the programs
	usual []string        // from the image, once they are needed
	all   map[string]bool // base names of all files, once they are needed
}

// check follows a program to its libraries, and these to theirs.
func (l *libraries) check(name string, content []byte) {
	type file struct {
		name    string
		content []byte
	}
	for queue := []file{{name, content}}; len(queue) > 0 && len(l.seen) < maxLibraries; queue = queue[1:] {
		this := queue[0]
		p, err := readExecutable(this.content)
		switch {
		case err != nil:
			l.r.Stop("init-program/format", "%s of the image can't be executed: %v", this.name, err)
			return
		case l.kernel.Machine != 0 && p.machine != l.kernel.Machine && len(l.seen) == 0:
			l.r.Stop("machine/image", "%s of the image is for %v, the kernel is for %v", this.name, p.machine, l.kernel.Machine)
			return
		}
		if p.interpreter != "" && !l.exists(p.interpreter) {
			l.r.Stop("init-interpreter/linker", "%s of the image needs the dynamic linker %s, which isn't in it", this.name, p.interpreter)
			return
		}
		for _, dir := range p.paths {
			l.paths = append(l.paths, strings.NewReplacer("$ORIGIN", path.Dir(this.name), "${ORIGIN}", path.Dir(this.name)).Replace(dir))
		}
		for _, needed := range p.needed {
			if l.seen[needed] {
				continue
			}
			l.seen[needed] = true
			found, ok := l.find(needed)
			if !ok {
				l.missing(this.name, needed)
				continue
			}
			if content, err := l.content(found); err == nil {
				queue = append(queue, file{found, content})
			} else if !errors.Is(err, errNoContent) {
				l.r.Stop("init-library/unreadable", "%s of the image, which %s needs: %v", found, this.name, err)
			}
		}
	}
}

func (l *libraries) exists(name string) bool {
	info, err := fs.Stat(l.fsys, inside(name))
	return err == nil && info.Mode().IsRegular()
}

// find looks for a library where the dynamic linkers of glibc and musl do.
func (l *libraries) find(name string) (string, bool) {
	if strings.Contains(name, "/") {
		return name, l.exists(name)
	}
	if l.usual == nil {
		l.usual = l.usualDirs()
	}
	for _, dir := range slices.Concat(l.paths, l.usual) {
		if file := path.Join("/", dir, name); l.exists(file) {
			return file, true
		}
	}
	return "", false
}

// usualDirs are the directories that are always searched: the standard ones, Debian's for
// each machine, and the ones that ld.so.conf lists.
func (l *libraries) usualDirs() []string {
	dirs := []string{"/lib", "/usr/lib", "/lib64", "/usr/lib64", "/lib32", "/usr/lib32", "/usr/local/lib"}
	for _, pattern := range []string{"lib/*-linux-*", "usr/lib/*-linux-*"} {
		found, _ := fs.Glob(l.fsys, pattern)
		dirs = append(dirs, found...)
	}
	configs, _ := fs.Glob(l.fsys, "etc/ld.so.conf.d/*.conf")
	for _, config := range append(configs, "etc/ld.so.conf") {
		text, _ := l.content(config)
		for line := range strings.Lines(string(text)) {
			if dir := strings.TrimSpace(line); path.IsAbs(dir) {
				dirs = append(dirs, dir)
			}
		}
	}
	return dirs
}

// missing reports a library that isn't where it is looked for.
func (l *libraries) missing(of, name string) {
	if l.all == nil {
		l.all = map[string]bool{}
		_ = fs.WalkDir(l.fsys, ".", func(_ string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() {
				l.all[e.Name()] = true
			}
			return nil
		})
	}
	if l.all[path.Base(name)] {
		l.r.Warn("init-library/elsewhere", "%s of the image needs the library %s, which isn't in one of the usual places", of, name)
		return
	}
	l.r.Stop("init-library", "%s of the image needs the library %s, which isn't in it", of, name)
}
