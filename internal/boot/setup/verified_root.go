package setup

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/internal/boot/mount"
	"github.com/composefs-go/composefs/internal/osfile"
)

// rootPath records the mounts at --sysroot at the end of a good boot.
const rootPath = "/run/composefs/root"

// VerifiedRoot returns nil if o.Sysroot is still the root that a run of this program has
// put there, or if the policy and the command line want no verification at all. It is
// asked at the last moment before the root is switched: whatever was skipped, masked,
// mounted or left in a shell before that, nothing else is booted.
func VerifiedRoot(o Options) error {
	if o.unverified() {
		return nil
	}
	root := path.Clean(o.Sysroot)
	now, err := mountsAt(root)
	if err != nil {
		return refuse(CodeMount, err)
	}
	put, err := readRootMounts()
	switch {
	case errors.Is(err, errMountedOver):
		return refuse(CodeMount, err)
	case err != nil:
		return refuse(CodeMount, notVerified(o.Sysroot))
	}
	return refuse(CodeMount, sameMounts(put, now, root, o.Config))
}

// errMountedOver is the cause when something is mounted over the record of the root.
var errMountedOver = problem(RecordCovered, "something is mounted over the record of the verified root in /run/composefs: the root isn't switched")

// readRootMounts reads the record of the root. It lies on the file system at /run, and nothing
// may be mounted over it.
func readRootMounts() ([]rootMount, error) {
	f, err := os.Open(rootPath)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var run, file unix.Statx_t
	if err := errors.Join(unix.Statx(unix.AT_FDCWD, path.Dir(path.Dir(rootPath)), 0, unix.STATX_MNT_ID, &run),
		unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &file)); err != nil {
		return nil, err
	}
	if run.Mnt_id != file.Mnt_id {
		return nil, errMountedOver
	}
	text, err := osfile.ReadAll(f, maxRootRecord)
	if err != nil {
		return nil, err
	}
	var all []rootMount
	for line := range strings.Lines(string(text)) {
		m := strings.Split(strings.TrimSuffix(line, "\n"), " ")
		if len(m) != len(rootMount{}) {
			return nil, fs.ErrInvalid
		}
		all = append(all, rootMount(m))
	}
	return all, nil
}

// maxRootRecord bounds rootPath, in bytes; written ones have about 1000.
const maxRootRecord = 1 << 20

// A rootMount is what stays the same of a mount until it is unmounted: number, root, place,
// type and source, as mountinfo(5) has them.
type rootMount [5]string

func (m rootMount) at() string     { return m[2] }
func (m rootMount) fstype() string { return m[3] }

// sameMounts compares the recorded mounts with the present ones.
func sameMounts(put, now []rootMount, root string, policy bootcfg.Config) error {
	if !slices.ContainsFunc(put, func(m rootMount) bool { return m.at() == root }) {
		return notVerified(root)
	}
	gone := slices.Clone(put)
	for _, m := range now {
		if i := slices.Index(gone, m); i >= 0 {
			gone = slices.Delete(gone, i, i+1)
		} else if policy.Covers(strings.TrimPrefix(strings.TrimPrefix(m.at(), root), "/"), m.fstype()) {
			return problem(RootCovered, "something other than the verified image was mounted at %s: the root isn't switched", m.at())
		}
	}
	if len(gone) > 0 {
		return problem(RootGone, "the verified image is no longer mounted at %s (%.80s): the root isn't switched", root, strings.Join(gone[0][:], " "))
	}
	return nil
}

func notVerified(root string) error {
	return problem(RootUnverified, "nothing at %s was verified in this boot: the root isn't switched", root)
}

// mountsAt returns the mounts at dir and below it.
func mountsAt(dir string) (at []rootMount, err error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	all, err := mount.ParseInfo(string(text))
	for _, m := range all {
		if rest, ok := strings.CutPrefix(m.At, dir); ok && (rest == "" || rest[0] == '/') {
			at = append(at, rootMount{m.ID, m.Root, m.At, m.Type, m.Source})
		}
	}
	return at, err
}

// markVerified records the mounts at the root.
func markVerified(root string) error {
	all, err := mountsAt(path.Clean(root))
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, m := range all {
		b.WriteString(strings.Join(m[:], " ") + "\n")
	}
	return writeFile(rootPath, b.String())
}
