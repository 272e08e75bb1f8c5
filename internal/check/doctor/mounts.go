package doctor

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// A mountPoint is a line of mountinfo.
type mountPoint struct {
	id, parent string
	at         string
	fstype     string
	source     string
	options    []string // of the mount and of the file system
}

func (m mountPoint) String() string {
	if m.source == "" || m.source == m.fstype {
		return m.fstype
	}
	return m.fstype + ", " + m.source
}

// option reports whether one of the options begins so.
func (m mountPoint) option(prefix string) bool {
	return slices.ContainsFunc(m.options, func(o string) bool { return strings.HasPrefix(o, prefix) })
}

// within reports whether it is at the path or below.
func (m mountPoint) within(path string) bool {
	return m.at == path || strings.HasPrefix(m.at, path+"/")
}

// parseMounts reads mountinfo. Nothing but a single space separates its fields: other
// white space is a part of them.
//
// Format: proc_pid_mountinfo(5).
func parseMounts(text string) ([]mountPoint, error) {
	var mounts []mountPoint
	n := 0
	for line := range strings.Lines(text) {
		n++
		before, after, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " - ")
		left, right := strings.Split(before, " "), strings.Split(after, " ")
		if !ok || len(left) < 6 || len(right) < 3 {
			return nil, fmt.Errorf("line %d isn't understood: %.100q", n, line)
		}
		mounts = append(mounts, mountPoint{
			id: left[0], parent: left[1], at: unescape(left[4]), fstype: right[0], source: unescape(right[1]),
			options: append(strings.Split(left[5], ","), strings.Split(strings.Join(right[2:], " "), ",")...),
		})
	}
	return mounts, nil
}

// unescape puts back what the kernel writes as a backslash and three octal digits.
func unescape(s string) string {
	var b strings.Builder
	for {
		i := strings.IndexByte(s, '\\')
		if i < 0 || i+4 > len(s) {
			return b.String() + s
		}
		b.WriteString(s[:i])
		if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
			b.WriteByte(byte(c))
			s = s[i+4:]
		} else {
			b.WriteByte('\\')
			s = s[i+1:]
		}
	}
}

// Where mounts hide nothing that the image is for. What is at the data directories,
// or below them, nobody has verified.
var (
	systemDirs = []string{"/proc", "/sys", "/dev", "/run", "/tmp", "/boot", "/efi", "/sysroot"}
	dataDirs   = []string{"/var", "/home", "/root", "/srv", "/opt", "/mnt", "/media"}
)

// programDirs are where a mount is never meant to be, whatever the image has there.
var programDirs = []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"}

// machineID is what systemd mounts over when it can't write there.
const machineID = "/etc/machine-id"

// An overlook is how the doctor looks over the mounts of the running system.
type overlook struct {
	record
	r          *Report
	fsys       fs.FS
	unverified []string
	image      func() (fs.FS, error)
}

// mounts checks that what is mounted is what the record speaks of, and that nothing
// lies over it.
func (b record) mounts(r *Report, fsys fs.FS) {
	text, err := fs.ReadFile(fsys, mountInfo)
	if err != nil {
		r.Stop("mounts/none", "what is mounted can't be told: %v", err)
		return
	}
	all, err := parseMounts(string(text))
	if err != nil {
		r.Stop("mounts/malformed", "what is mounted can't be told: /%s: %v", mountInfo, err)
		return
	}
	o := &overlook{record: b, r: r, fsys: fsys}
	o.image = sync.OnceValues(o.openImage)
	o.root(all)
	o.etc(all)
	for _, m := range all {
		if m.at != "/" && m.at != "/etc" {
			o.look(m, all)
		}
	}
	if len(o.unverified) > 0 {
		r.Fact("unverified", "%s: state of this machine, which no seal covers", strings.Join(o.unverified, ", "))
	}
}

// bottom takes apart what is mounted at a place: the first, and what lies over it. The
// order of the lines says nothing.
func bottom(all []mountPoint, at string) (first mountPoint, over []mountPoint) {
	here := map[string]bool{}
	for _, m := range all {
		here[m.id] = here[m.id] || m.at == at
	}
	found := false
	for _, m := range all {
		switch {
		case m.at != at:
		case !found && (!here[m.parent] || m.parent == m.id):
			first, found = m, true
		default:
			over = append(over, m)
		}
	}
	return first, over
}

// root checks what is mounted at /.
func (o *overlook) root(all []mountPoint) {
	root, over := bottom(all, "/")
	for _, m := range over {
		o.hides(m)
	}
	want := "composefs:" + o.Digest.Hex()
	switch {
	case root.source != want || root.fstype != "overlay":
		o.r.Stop("root/other", "the root is %s (%s), want %s (overlay)", root.source, root.fstype, want)
	case o.FSVerity == string(bootcfg.Require) && !slices.Contains(root.options, "verity=require"):
		o.r.Stop("root/verity", "the root is mounted without verity=require, which the record says it has")
	case root.option("upperdir=") && o.Policy.Root == "":
		o.r.Stop("root/upper", "the root has an upper layer, which can hide every file of the image, and the policy of this boot asked for none")
	case root.option("upperdir="):
		o.unverified = append(o.unverified, "/ (changes in memory)")
	}
}

// etc checks what is mounted at /etc: one thing, or with "none" nothing.
func (o *overlook) etc(all []mountPoint) {
	m, over := bottom(all, "/etc")
	if m.at == "" {
		return
	}
	mode := bootcfg.MountMode(o.Policy.Etc)
	if (mode == bootcfg.MountNone) ||
		(mode == bootcfg.MountOverlay || mode == bootcfg.MountTransient) && (m.fstype != "overlay" || !m.option("upperdir=")) ||
		(mode == bootcfg.MountVolatile) && m.fstype != "tmpfs" || merged(m) {
		o.hides(m)
	} else {
		o.unverified = append(o.unverified, fmt.Sprintf("/etc (%s)", m.fstype))
	}
	for _, m := range over {
		o.hides(m)
	}
}

// merged reports whether it is what systemd makes of extensions.
func merged(m mountPoint) bool {
	return m.fstype == "overlay" && (m.source == "sysext" || m.source == "confext")
}

// look judges a mount at another place.
func (o *overlook) look(m mountPoint, all []mountPoint) {
	in := func(dirs []string) bool { return slices.ContainsFunc(dirs, m.within) }
	switch {
	case in(systemDirs):
	case merged(m), in(programDirs):
		o.hides(m)
	case m.within("/etc"):
		kept := o.Policy.Etc == "" || bootcfg.MountMode(o.Policy.Etc).Kept() || o.Policy.Etc == string(bootcfg.MountVolatile)
		if !kept && !(m.at == machineID && m.fstype == "tmpfs") {
			o.hides(m)
		}
	case slices.Contains(dataDirs, m.at):
		o.unverified = append(o.unverified, fmt.Sprintf("%s (%s)", m.at, m.fstype))
	case in(dataDirs) && slices.ContainsFunc(all, func(below mountPoint) bool { return below.at != "/" && below.at != m.at && m.within(below.at) }):
		// What is below it isn't the image's either, and has been named.
	default:
		o.compare(m)
	}
}

// hides reports a mount over what was verified.
func (o *overlook) hides(m mountPoint) {
	kind := Kind("mount")
	if merged(m) {
		kind = "mount/extension"
	}
	o.r.Stop(kind, "%s (%s) is mounted over the image: what is there now hasn't been verified", m.at, m)
}

// compare asks the image what is at a place that has no usual meaning.
func (o *overlook) compare(m mountPoint) {
	root, err := o.image()
	if err != nil {
		o.r.Warn("mount/unknown", "%s (%s) is mounted over the image, and whether it hides anything can't be told: %v", m.at, m, err)
		return
	}
	name := strings.TrimPrefix(m.at, "/")
	if !fs.ValidPath(name) {
		o.hides(m)
		return
	}
	entries, err := fs.ReadDir(root, name)
	if !errors.Is(err, fs.ErrNotExist) && (err != nil || len(entries) > 0) {
		o.hides(m)
		return
	}
	o.unverified = append(o.unverified, fmt.Sprintf("%s (%s)", m.at, m.fstype))
}

// openImage reads the image in the repository, if it is the one that was booted.
func (o *overlook) openImage() (fs.FS, error) {
	name := "sysroot/composefs/images/" + o.Digest.Hex()
	info, err := fs.Stat(o.fsys, name)
	if err != nil {
		return nil, err
	}
	if info.Size() > MaxImage {
		return nil, fmt.Errorf("/%s has %d bytes, at most %d expected", name, info.Size(), MaxImage)
	}
	content, err := fs.ReadFile(o.fsys, name)
	if err != nil {
		return nil, err
	}
	if err := sign.CheckDigest(o.Digest, verity.Sum(o.Digest.Algorithm(), content)); err != nil {
		return nil, err
	}
	img, err := erofs.Open(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		return nil, err
	}
	return img.FS()
}
