package setup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/internal/boot/mount"
	"github.com/composefs-go/composefs/internal/osfile"
)

// MountState puts dir, "etc" or "var", into the new root.
func (l *linux) MountState(dir string, mode bootcfg.MountMode, deployment string) error {
	at, err := osfile.OpenPlain(l.root, dir, unix.O_PATH|unix.O_DIRECTORY)
	if deployment == "" && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR)) {
		return nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return stateProblem(NoMountPoint, dir, "the image has no such directory to mount on")
	}
	if err != nil {
		return fmt.Errorf("mount /%s: %w", dir, err)
	}
	defer at.Close()
	m, err := l.stateMount(at, dir, mode, path.Join("state/deploy", deployment, dir))
	if noRoom(err) {
		err = fmt.Errorf("%w: %w", errNoRoom, err)
	}
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) {
		return stateProblem(StateLink, dir, "want a directory, and no link on the way to it: %w", err)
	}
	if err != nil {
		return fmt.Errorf("mount /%s: %w", dir, err)
	}
	defer m.Close()
	return mount.Attach(m, at, "")
}

// stateMount returns the tree to mount on at, the directory of the image.
func (l *linux) stateMount(at *os.File, dir string, mode bootcfg.MountMode, state string) (*os.File, error) {
	switch mode {
	case bootcfg.MountVolatile:
		return l.emptyMemory(at)
	case bootcfg.MountRoot:
		return l.bind(at, dir)
	case bootcfg.MountBind:
		return l.bind(at, state)
	case bootcfg.MountTransient:
		upper, work, err := l.memoryLayer(dir+"-memory", at)
		if err != nil {
			return nil, err
		}
		return l.stack("transient", at, upper, work)
	case bootcfg.MountOverlay:
		// In this order: a deployment with changes always has the work directory that mounting
		// them takes.
		work, err := l.stateDir(path.Join(state, "work"), nil)
		if err != nil {
			return nil, l.unlessKept(path.Join(state, "upper"), err)
		}
		upper, err := l.stateDir(path.Join(state, "upper"), at)
		if err != nil {
			work.Close()
			return nil, err
		}
		return l.stack("overlay", at, upper, work)
	}
	return nil, fmt.Errorf("unknown mode %q", mode)
}

func (l *linux) stack(source string, lower, upper, work *os.File) (*os.File, error) {
	defer upper.Close()
	defer work.Close()
	return mount.Overlay{Source: source, Lower: lower, Upper: upper, Work: work}.Mount(l.kernel)
}

func (l *linux) bind(like *os.File, path string) (*os.File, error) {
	dir, err := l.stateDir(path, like)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	m, err := mount.Clone(dir)
	if err != nil {
		return nil, err
	}
	// Where mounts are shared, a mount on it would appear on the physical root too, and
	// would go when that one goes.
	if err := mount.SetPrivate(m); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// memoryLayer makes the two directories of a writable layer in memory. The upper
// one looks like the directory that it covers: its mode is what everybody sees.
func (l *linux) memoryLayer(name string, like *os.File) (upper, work *os.File, err error) {
	memory, err := mount.Memory("tmpfs", "mode=0755")
	if err != nil {
		return nil, nil, err
	}
	defer memory.Close()
	if err := l.attachStage(memory, name); err != nil {
		return nil, nil, err
	}
	if upper, err = ensureDir(memory, "upper", like); err != nil {
		return nil, nil, err
	}
	if work, err = ensureDir(memory, "work", nil); err != nil {
		upper.Close()
	}
	return upper, work, err
}

func (l *linux) emptyMemory(like *os.File) (*os.File, error) {
	m, err := mount.Memory("tmpfs", "mode=0755")
	if err != nil {
		return nil, err
	}
	// A mount's descriptor is only a place; the directory has to be opened.
	dir, err := osfile.OpenPlain(m, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err == nil {
		err = imitate(dir, like)
		dir.Close()
	}
	if err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// stateDir opens a directory of the physical root. What is missing is made, the
// last part of it like the directory of the image that it stands for.
func (l *linux) stateDir(path string, like *os.File) (*os.File, error) {
	dir := l.physical
	parts := strings.Split(path, "/")
	for i, name := range parts {
		var model *os.File
		if i == len(parts)-1 {
			model = like
		}
		next, err := ensureDir(dir, name, model)
		if dir != l.physical {
			dir.Close()
		}
		if err != nil {
			return nil, err
		}
		dir = next
	}
	return dir, nil
}

// errNoRoom is the cause when a deployment has no state yet, and there is no room to
// make it. One whose state is there, but can't be used, has another.
var errNoRoom = errors.New("no room for the state of a new deployment")

// noRoom says whether making a directory failed for that reason.
func noRoom(err error) bool {
	var create *createError
	return errors.As(err, &create) && (errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT))
}

// A createError says that a directory of the state doesn't exist and can't be made.
type createError struct{ error }

func (e *createError) Unwrap() error { return e.error }

// unlessKept makes err another than that there is no room if there are changes at the
// path: a boot without them would be one of another system.
func (l *linux) unlessKept(changes string, err error) error {
	upper, open := osfile.OpenPlain(l.physical, changes, unix.O_PATH)
	if errors.Is(open, fs.ErrNotExist) || !noRoom(err) {
		return err
	}
	_ = upper.Close() // nil is fine
	return problem(NoRoomForChanges, "the changes in %s can't be mounted: %v", changes, err)
}

// unfinished begins the name of a directory until it is like its model.
const unfinished = ".composefs-new-"

// ensureDir opens the directory name in dir and makes it if it is missing. A
// symbolic link is refused.
func ensureDir(dir *os.File, name string, like *os.File) (*os.File, error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY
	d, err := osfile.OpenPlain(dir, name, flags)
	if !errors.Is(err, fs.ErrNotExist) {
		return d, err
	}
	// A directory that exists is never touched again. So it must not exist by its name
	// before it has its mode, owner and labels, wherever the power goes.
	temporary := unfinished + name
	_ = unix.Unlinkat(int(dir.Fd()), temporary, unix.AT_REMOVEDIR)
	err = unix.Mkdirat(int(dir.Fd()), temporary, 0o755)
	if err != nil && !errors.Is(err, unix.EEXIST) { // something of a boot that was cut short is in use
		return nil, &createError{&fs.PathError{Op: "make the directory", Path: path.Join(dir.Name(), name), Err: err}}
	}
	if d, err = osfile.OpenPlain(dir, temporary, flags); err != nil {
		return nil, err
	}
	if err := finish(d, dir, name, like); err != nil {
		d.Close()
		// Nothing else is lost with it; a full disk is glad of the block.
		_ = unix.Unlinkat(int(dir.Fd()), temporary, unix.AT_REMOVEDIR)
		return nil, &createError{err}
	}
	return d, nil
}

// finish gives an unfinished directory its properties, and then its name.
func finish(d, dir *os.File, name string, like *os.File) error {
	if err := imitate(d, like); err != nil {
		return err
	}
	// The name must not reach the disk before the properties. That it does reach it is
	// doesn't matter: if a crash loses it, the next boot makes the directory again.
	if err := d.Sync(); err != nil {
		return err
	}
	err := unix.Renameat(int(dir.Fd()), unfinished+name, int(dir.Fd()), name)
	if err != nil {
		return &fs.PathError{Op: "name the directory", Path: path.Join(dir.Name(), name), Err: err}
	}
	return nil
}

const labelName = "security.selinux"

// imitated are the extended attributes that matter for access.
var imitated = []string{labelName, "system.posix_acl_access", "system.posix_acl_default"}

// imitate gives d the mode, the owner and the labels of like, if there is one.
func imitate(d, like *os.File) error {
	if like == nil {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(like.Fd()), &st); err != nil {
		return err
	}
	if err := d.Chown(int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	if err := unix.Fchmod(int(d.Fd()), st.Mode&0o7777); err != nil {
		return &fs.PathError{Op: "set the mode of", Path: d.Name(), Err: err}
	}
	value := make([]byte, 4096)
	for _, name := range imitated {
		// like may be an O_PATH descriptor, which has no attributes of its own.
		n, err := unix.Getxattr(procPath(like), name, value)
		if err != nil {
			continue // none, or a file system without
		}
		err = unix.Fsetxattr(int(d.Fd()), name, value[:n], 0)
		// Without its ACL a directory would let more people in: the mode's bits for the
		// group are the ACL's mask.
		if err != nil && (name != labelName || !errors.Is(err, unix.EOPNOTSUPP)) {
			return &fs.PathError{Op: "set " + name + " of", Path: d.Name(), Err: err}
		}
	}
	return nil
}
