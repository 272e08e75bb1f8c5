package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/composefs-go/composefs/internal/disktool"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// diskStore is the repository on a root partition of ext4, read with debugfs.
type diskStore struct {
	ctx    context.Context
	disk   *Disk
	device string
}

// OpenStore returns the repository on a root partition.
func (d *Disk) OpenStore(ctx context.Context, root Partition) (Store, error) {
	if root.FS.Type != "ext4" {
		return nil, fmt.Errorf("the root partition is of type %q: without mounting only ext4 can be read", root.FS.Type)
	}
	s := &diskStore{ctx, d, "disk?offset=" + strconv.FormatInt(root.Offset, 10)}
	if _, err := s.stat("/composefs/images"); err != nil {
		return nil, fmt.Errorf("look for the repository on the root partition: %w", err)
	}
	return s, nil
}

// file is what debugfs tells of one.
type file struct {
	kind   string // "regular", "symlink", "directory" …
	size   int64
	verity bool
	target string // of a symlink
}

// These are in the output of debugfs's stat.
var (
	statType   = regexp.MustCompile(`Type: ([a-zA-Z ]+?) +Mode:.*Flags: 0x([0-9a-f]+)`)
	statSize   = regexp.MustCompile(`(?m)^User:.*Size: ([0-9]+)`)
	statTarget = regexp.MustCompile(`Fast link dest: "(.*)"`)
)

// verityFlag is EXT4_VERITY_FL.
const verityFlag = 0x100000

// debugfs runs one command. Its exit status says nothing; what it complains about
// follows its banner.
func (s *diskStore) debugfs(limit int64, command string) ([]byte, error) {
	out, said, err := s.disk.tools.Run(s.ctx, limit, nil, "debugfs", "-R", command, s.device)
	if err != nil {
		return nil, err
	}
	switch complaint := disktool.FirstLine(said); {
	case strings.Contains(complaint, "File not found"):
		return nil, fs.ErrNotExist
	case complaint != "":
		return nil, fmt.Errorf("debugfs: %s", complaint)
	}
	return out, nil
}

// stat doesn't follow links. Names are ours: hex digits, or checked by bootcfg.
func (s *diskStore) stat(name string) (file, error) {
	out, err := s.debugfs(1<<20, fmt.Sprintf("stat %q", name))
	if err != nil {
		return file{}, fmt.Errorf("%s: %w", name, err)
	}
	kind, size := statType.FindSubmatch(out), statSize.FindSubmatch(out)
	if kind == nil || size == nil {
		return file{}, fmt.Errorf("%s: debugfs says what isn't understood: %.80q", name, out)
	}
	flags, _ := strconv.ParseUint(string(kind[2]), 16, 64)
	f := file{kind: string(kind[1]), verity: flags&verityFlag != 0}
	f.size, _ = strconv.ParseInt(string(size[1]), 10, 64)
	if target := statTarget.FindSubmatch(out); target != nil {
		f.target = string(target[1])
	}
	return f, nil
}

// read reads a regular file.
func (s *diskStore) read(name string, limit int64) ([]byte, error) {
	f, err := s.stat(name)
	switch {
	case err != nil:
		return nil, err
	case f.kind != "regular":
		return nil, fmt.Errorf("read %s: want a regular file, found %s", name, f.kind)
	case f.size > limit:
		return nil, fmt.Errorf("read %s: file too large: %d bytes, at most %d expected", name, f.size, limit)
	}
	out, err := s.debugfs(limit, fmt.Sprintf("cat %q", name))
	if err == nil && int64(len(out)) != f.size {
		err = fmt.Errorf("read %s: want %d bytes, found %d", name, f.size, len(out))
	}
	return out, err
}

func (s *diskStore) Ref(name string) (verity.Digest, error) {
	f, err := s.stat("/composefs/images/refs/" + name)
	if err != nil {
		return verity.Digest{}, err
	}
	if f.kind == "symlink" && f.target == "" { // a long one is a file with the target in it
		text, err := s.debugfs(f.size, fmt.Sprintf("cat %q", "/composefs/images/refs/"+name))
		if err != nil {
			return verity.Digest{}, err
		}
		f.target = string(text)
	}
	return sign.ParseRefLink(name, f.target)
}

func objectPath(d verity.Digest) string { return path.Join("/composefs/objects", d.ObjectPath()) }

func (s *diskStore) ReadImage(d verity.Digest) ([]byte, error) {
	// The link may be too long for debugfs to show; where it leads is known.
	if _, err := s.stat("/composefs/images/" + d.Hex()); err != nil {
		return nil, err
	}
	return s.read(objectPath(d), MaxImage)
}

func (s *diskStore) ReadObject(d verity.Digest, size int64) ([]byte, error) {
	return s.read(objectPath(d), size)
}

func (s *diskStore) ReadSeal(f sign.File) ([]byte, error) {
	return s.read(path.Join("/composefs", sign.Directory, f.Name()), f.Limit())
}

func (s *diskStore) HasVerity(d verity.Digest) (on, known bool) {
	f, err := s.stat(objectPath(d))
	return f.verity, err == nil
}

// Missing lists the directories of the object store, all in one go.
func (s *diskStore) Missing(objects []verity.Digest) ([]verity.Digest, error) {
	const store = "/composefs/objects"
	var script strings.Builder
	fmt.Fprintf(&script, "ls -p /composefs\nls -p %s\n", store)
	dirs := map[string]bool{}
	for _, d := range objects {
		if dir := path.Dir(objectPath(d)); !dirs[dir] {
			dirs[dir] = true
			fmt.Fprintf(&script, "ls -p %s\n", dir)
		}
	}
	out, _, err := s.disk.tools.Run(s.ctx, 256<<20, strings.NewReader(script.String()), "debugfs", "-f", "/dev/stdin", s.device)
	if err != nil {
		return nil, err
	}
	mode := map[string]string{} // in octal, six digits
	dir := ""
	for line := range strings.Lines(string(out)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "debugfs: ls -p "); ok {
			dir = name
		} else if fields := strings.Split(line, "/"); len(fields) > 5 { // /inode/mode/uid/gid/name/size/
			mode[path.Join(dir, fields[5])] = fields[2]
		}
	}
	if dir == "" && len(objects) > 0 {
		return nil, errors.New("debugfs says what isn't understood")
	}
	// As in overlayfs there is no symbolic link on the way to an object.
	const directory, regular = "04", "10"
	is := func(name, kind string) bool { return strings.HasPrefix(mode[name], kind) }
	var missing []verity.Digest
	for _, d := range objects {
		name := objectPath(d)
		if !is(store, directory) || !is(path.Dir(name), directory) || !is(name, regular) {
			missing = append(missing, d)
		}
	}
	return missing, nil
}
