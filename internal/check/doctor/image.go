package doctor

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// An imageCheck is an image, and what goes with it.
type imageCheck struct {
	r      *Report
	fsys   fs.ReadLinkFS
	store  Store // nil if the contents of large files aren't at hand
	config bootcfg.Config
	kernel Kernel
	read   map[verity.Digest]bool // objects whose content was compared with their digest
}

// A Kernel is what is known of the kernel that an image is booted with.
type Kernel struct {
	Release string      // "" if it isn't known
	Machine elf.Machine // 0 if it isn't known
}

// Image checks that an image has what the hand-over to its init needs, and nothing
// that is amiss in what many machines boot. The store, if it isn't nil, has the
// contents of its files; Image returns of how many it has read them.
func Image(r *Report, img *erofs.Image, s Store, line bootcfg.Cmdline, c bootcfg.Config, k Kernel) (read int) {
	h := img.Header()
	r.Fact("format", "%s, %d inodes", h.Version, img.Inodes())
	fsys, err := img.FS()
	if err != nil {
		r.Stop("image/tree", "%v", err)
		return 0
	}
	i := &imageCheck{r, fsys, s, c, k, map[verity.Digest]bool{}}
	i.mountPoints()
	i.init(line)
	i.modules()
	i.fstab()
	i.secrets()
	i.readOnly()
	i.unverified()
	return len(i.read)
}

// mountPoints checks the directories of the image that a boot mounts upon.
func (i *imageCheck) mountPoints() {
	dirs := []string{"dev", "proc", "run", "sys", "sysroot"}
	if i.config.Etc != bootcfg.MountNone {
		dirs = append(dirs, "etc")
	}
	if i.config.Var != bootcfg.MountNone {
		dirs = append(dirs, "var")
	}
	for _, dir := range dirs {
		if info, err := fs.Stat(i.fsys, dir); err != nil || !info.IsDir() {
			i.r.Stop("mount-point", "the image has no directory /%s to mount on", dir)
		}
	}
}

// inside is the name that fs.FS has for a path of the image.
func inside(name string) string {
	if name = strings.TrimPrefix(path.Clean("/"+name), "/"); name == "" {
		return "."
	}
	return name
}

// maxProgram is the size of the largest program or library that is read, in bytes.
const maxProgram = 128 << 20

var errNoContent = errors.New("its content isn't in the image")

// An unfitError says why a file can't be a program, whatever is in it.
type unfitError string

func (e unfitError) Error() string { return string(e) }

// content returns the content of a file: from the image, or verified from the store.
func (i *imageCheck) content(name string) ([]byte, error) {
	info, err := fs.Stat(i.fsys, inside(name))
	if err != nil {
		return nil, err
	}
	node, ok := info.Sys().(*tree.Node)
	switch {
	case !info.Mode().IsRegular():
		return nil, unfitError(fmt.Sprintf("want a regular file, found %s", info.Mode().Type()))
	case info.Size() > maxProgram:
		return nil, unfitError(fmt.Sprintf("it has %d bytes, at most %d expected", info.Size(), maxProgram))
	case !ok || node.Object.IsZero():
		return fs.ReadFile(i.fsys, inside(name))
	case i.store == nil:
		return nil, errNoContent
	}
	content, err := i.store.ReadObject(node.Object, info.Size())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoContent // checkObjects has more to say
	}
	if err != nil {
		return nil, err
	}
	i.read[node.Object] = true
	return content, sign.CheckDigest(node.Object, verity.Sum(node.Object.Algorithm(), content))
}

// modules checks that the running system would find the modules of its kernel.
func (i *imageCheck) modules() {
	entries, err := fs.ReadDir(i.fsys, "usr/lib/modules")
	if err != nil || len(entries) == 0 || i.kernel.Release == "" {
		return // a kernel that needs none, perhaps
	}
	if !slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == i.kernel.Release }) {
		i.r.Warn("image-modules",
			"the kernel is %s, and /usr/lib/modules of the image has only modules for %s: no module can be loaded once the initrd is left", i.kernel.Release, entries[0].Name())
	}
}

// fstab looks for what systemd would mount, or remount, where the image is.
func (i *imageCheck) fstab() {
	if i.config.Etc == bootcfg.MountBind || i.config.Etc == bootcfg.MountRoot || i.config.Etc == bootcfg.MountVolatile {
		return // another file's business
	}
	text, err := i.content("/etc/fstab")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		switch m := (mountPoint{at: path.Clean(unescape(fields[1]))}); {
		case m.at == "/":
			i.r.Warn("fstab", "/etc/fstab of the image has an entry for /, with which systemd-remount-fs fails: %s", strings.TrimSpace(line))
		case slices.ContainsFunc(programDirs, m.within):
			i.r.Warn("fstab/over", "/etc/fstab of the image mounts over what is verified: %s", strings.TrimSpace(line))
		}
	}
}

// secrets are files that each machine should have for itself.
var secrets = []struct {
	kind    Kind
	pattern string
	size    int64 // from which on it holds one
}{
	{"host-keys", "etc/ssh/ssh_host_*_key", 1},
	{"host-keys/dropbear", "etc/dropbear/dropbear_*_host_key", 1},
	{"machine-id", "etc/machine-id", 32},
	{"machine-id/dbus", "var/lib/dbus/machine-id", 32},
	{"random-seed", "var/lib/systemd/random-seed", 1},
	{"random-seed", "var/lib/urandom/random-seed", 1},
	{"random-seed", "var/lib/random-seed", 1},
	{"credential-secret", "var/lib/systemd/credential.secret", 1},
}

// secrets looks for what all machines with this image would share.
func (i *imageCheck) secrets() {
	for _, s := range secrets {
		found, _ := fs.Glob(i.fsys, s.pattern)
		for _, name := range found {
			if info, err := fs.Lstat(i.fsys, name); err == nil && info.Mode().IsRegular() && info.Size() >= s.size {
				i.r.Warn(s.kind, "the image has /%s, so all machines that boot it have the same", name)
				break
			}
		}
	}
}

// readOnly names the usual places for writing that are read-only here.
func (i *imageCheck) readOnly() {
	if i.config.Root.Transient == bootcfg.TransientOn {
		return
	}
	var dirs []string
	for _, dir := range []string{"home", "mnt", "opt", "root", "srv", "usr/local"} {
		if info, err := fs.Lstat(i.fsys, dir); err == nil && info.IsDir() {
			dirs = append(dirs, "/"+dir)
		}
	}
	if len(dirs) > 0 {
		i.r.Fact("read-only", "%s: they are read-only in the booted system; use links to directories below /var, or mount something there", strings.Join(dirs, ", "))
	}
}

// unverified looks for a way from /var to a service, where there is none from /etc.
func (i *imageCheck) unverified() {
	if i.config.Etc.Kept() || !i.config.Var.Kept() {
		return
	}
	const units = "usr/local/lib/systemd/system"
	for at := units; at != "usr"; at = path.Dir(at) {
		to, err := fs.ReadLink(i.fsys, at)
		if err != nil {
			continue
		}
		if !path.IsAbs(to) {
			to = path.Join(path.Dir(at), to)
		}
		if to = inside(to); strings.HasPrefix(to, "var/") {
			i.r.Warn("units", "/%s is a link to /%s, so systemd takes services from a place that isn't verified", at, to)
		}
		return
	}
}
