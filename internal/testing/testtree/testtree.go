// Package testtree grows random trees in real directories, for tests that compare
// what different programs and importers make of them.
//
// The same seed gives the same tree everywhere, so its digest can be recorded. Each
// tree has some of everything that is hard about trees: hard links, escaped overlay
// attributes, opaque directories, ACLs, SELinux labels, capabilities, device nodes,
// sparse files, odd names, large owners, times of all sizes with nanoseconds, and the
// directories of a root file system. Features that some programs or file systems don't
// support depend on bits of the seed, see Old, Whiteouts, Policy and Clash.
package testtree

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Old reports whether a seed's tree has times before 1970.
func Old(seed uint64) bool { return seed&1 != 0 }

// Whiteouts reports whether a seed's tree has whiteouts. They can't be made on an
// overlayfs.
func Whiteouts(seed uint64) bool { return seed&2 != 0 }

// Policy reports whether a seed's tree has an SELinux policy.
func Policy(seed uint64) bool { return seed&4 != 0 }

// Clash reports whether directories with whiteouts in a seed's tree may have the same
// attributes that V1 marks them with.
func Clash(seed uint64) bool { return seed&8 != 0 }

// inodes is roughly how many files a tree has.
const inodes = 150

// A grower makes one tree.
type grower struct {
	*rand.Rand
	seed  uint64
	dirs  []string        // directories in which files may be made
	files []string        // everything else that may be hard-linked
	white map[string]bool // directories with whiteouts
	err   error           // the first error; nothing is done after it
}

// Grow makes the tree of a seed in dir, which must be an empty directory. It needs root.
func Grow(dir string, seed uint64) error {
	g := &grower{Rand: rand.New(rand.NewPCG(seed, 0)), seed: seed, white: map[string]bool{}}
	g.dirs = []string{dir}
	g.skeleton(dir)
	for range inodes {
		g.file(filepath.Join(g.dirs[g.IntN(len(g.dirs))], g.name()))
	}
	for _, path := range g.files {
		g.decorate(path)
	}
	slices.Reverse(g.dirs) // a directory's time comes after what is in it
	for _, path := range g.dirs {
		g.decorate(path)
	}
	return g.err
}

// do runs a step unless there was an error.
func (g *grower) do(err error) {
	if g.err == nil && err != nil {
		g.err = fmt.Errorf("grow the tree of seed %d: %w", g.seed, err)
	}
}

// one returns one of several values.
func one[T any](g *grower, values ...T) T { return values[g.IntN(len(values))] }

// skeleton makes the directories that a root file system must have.
func (g *grower) skeleton(dir string) {
	for _, name := range []string{"usr", "boot", "sysroot", "run", "etc"} {
		path := filepath.Join(dir, name)
		g.do(os.Mkdir(path, 0o755))
		g.dirs = append(g.dirs, path)
	}
	if Policy(g.seed) {
		g.policy(filepath.Join(dir, "etc/selinux"))
	}
}

// policy makes an SELinux policy with rules that contradict each other, an alias and a
// file without a label.
func (g *grower) policy(dir string) {
	contexts := filepath.Join(dir, "test/contexts/files")
	g.do(os.MkdirAll(contexts, 0o755))
	for name, text := range map[string]string{
		filepath.Join(dir, "config"):                  "# which policy\nSELINUX=enforcing\nSELINUXTYPE=test\n",
		filepath.Join(contexts, "file_contexts"):      "/.*\tsystem_u:object_r:default_t:s0\n/usr/.* -- system_u:object_r:usr_t:s0\n/etc(/.*)? system_u:object_r:etc_t:s0\n/usr/[^/]* -l <<none>>\n/a+/.* -d system_u:object_r:a_t:s0\n",
		filepath.Join(contexts, "file_contexts.subs"): "/boot /usr\n",
	} {
		g.do(os.WriteFile(name, []byte(text), 0o644))
		g.files = append(g.files, name)
	}
	slices.Sort(g.files)
	for ; contexts != filepath.Dir(dir); contexts = filepath.Dir(contexts) {
		g.dirs = append(g.dirs, contexts)
	}
}

// file makes one file of any kind, unless there is one of that name.
func (g *grower) file(path string) {
	if _, err := os.Lstat(path); g.err != nil || err == nil {
		return
	}
	switch g.IntN(14) {
	case 0, 1, 2:
		g.do(os.Mkdir(path, 0o755))
		g.dirs = append(g.dirs, path)
		return
	case 3:
		g.do(os.Symlink(strings.Repeat("t/", 1+g.IntN(200)), path))
	case 4:
		g.device(path)
		return
	case 5, 6:
		if len(g.files) > 0 {
			g.do(os.Link(one(g, g.files...), path))
		}
		return
	case 7:
		g.sparse(path)
	case 8:
		if Whiteouts(g.seed) {
			g.do(unix.Mknod(path, unix.S_IFCHR|one[uint32](g, 0, 0o644), 0))
			g.decorate(path)
			g.white[filepath.Dir(path)] = true
		}
		return
	default:
		size := one(g, 0, 1, 63, 64, 65, 4096, 5000, 128<<10, 1<<20+1)
		g.do(os.WriteFile(path, bytes.Repeat([]byte{byte(g.Uint32())}, size), 0o600))
	}
	g.files = append(g.files, path)
}

// device makes a file that doesn't get hard links: GNU tar treats each name of such a
// file as a separate file.
func (g *grower) device(path string) {
	kind := one[uint32](g, unix.S_IFCHR, unix.S_IFBLK, unix.S_IFIFO)
	g.do(unix.Mknod(path, kind|0o600, int(unix.Mkdev(1+g.Uint32N(4000), g.Uint32N(70000)))))
	g.decorate(path)
}

// sparse makes a file that is mostly holes, also at its end.
func (g *grower) sparse(path string) {
	f, err := os.Create(path)
	g.do(err)
	if err != nil {
		return
	}
	defer f.Close()
	for range g.IntN(30) {
		_, err := f.WriteAt([]byte("data"), g.Int64N(1<<20))
		g.do(err)
	}
	g.do(f.Truncate(1<<20 + g.Int64N(1000)))
}

// name returns a valid name that isn't an OCI whiteout.
func (g *grower) name() string {
	var b strings.Builder
	for range 1 + g.IntN(3) {
		b.WriteString(one(g, "a", "-", " ", "\n", "\t", "ü", "\xff", "=", "%", ".wh", "\\", ":", "B", "00", "ff", "'", strings.Repeat("long", 50)))
	}
	name := b.String()
	if len(name) > 255 || strings.HasPrefix(name, ".wh.") {
		return "name"
	}
	return name
}

// decorate gives a file an owner, permissions, attributes, and finally a time. Some
// directories stay plain: 0755, 0:0, time 0, like directories for which an archive has
// no entry.
func (g *grower) decorate(path string) {
	if g.err != nil {
		return
	}
	st, err := os.Lstat(path)
	g.do(err)
	if err != nil {
		return
	}
	if st.IsDir() && g.IntN(3) == 0 {
		g.time(path, unix.Timespec{})
		return
	}
	g.do(os.Lchown(path, one(g, 0, 1000, 65535, 65536, 1<<31), one(g, 0, 5, 100000)))
	if st.Mode().Type() != fs.ModeSymlink {
		g.do(unix.Chmod(path, g.Uint32N(0o10000)))
	}
	g.attributes(path, st)
	seconds := one[int64](g, 0, 1, 1<<30, 1_700_000_000, 1<<31, 1<<32)
	if Old(g.seed) && g.IntN(2) == 0 {
		seconds = -min(seconds, 1<<30) // ext4 goes back to 1901
	}
	g.time(path, unix.Timespec{Sec: seconds, Nsec: one[int64](g, 0, 0, 1, 500_000_000, 999_999_999)})
}

func (g *grower) time(path string, t unix.Timespec) {
	g.do(unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{t, t}, unix.AT_SYMLINK_NOFOLLOW))
}

// acl is u::rwx,u:7:r--,g::r-x,m::r-x,o::--- as the kernel stores it.
const acl = "\x02\x00\x00\x00" +
	"\x01\x00\x07\x00\xff\xff\xff\xff" + "\x02\x00\x04\x00\x07\x00\x00\x00" + "\x04\x00\x05\x00\xff\xff\xff\xff" +
	"\x10\x00\x05\x00\xff\xff\xff\xff" + "\x20\x00\x00\x00\xff\xff\xff\xff"

// capability is cap_net_bind_service=ep.
const capability = "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// attributes sets extended attributes of the kinds that the type of file supports.
// Together, all except ACLs and labels fit into one ext4 block.
func (g *grower) attributes(path string, st fs.FileInfo) {
	set := func(name, value string) {
		if g.IntN(5) == 0 {
			g.do(unix.Lsetxattr(path, name, []byte(value), 0))
		}
	}
	odd := func() string { return strings.Repeat("\x00v\n\xff=\\", g.IntN(40)) }
	set("security.selinux", "system_u:object_r:"+one(g, "a", "b")+"_t:s0\x00")
	set("trusted.x=y% z", odd())
	set("trusted.overlay.origin", odd())
	switch {
	case st.IsDir():
		set("system.posix_acl_default", acl)
		set("system.posix_acl_access", acl)
		if Clash(g.seed) || !g.white[path] {
			set("trusted.overlay.opaque", "y")
			set("user.overlay.opaque", one(g, "x", "y"))
		}
		set("user.dir", odd())
	case st.Mode().IsRegular():
		set("system.posix_acl_access", acl)
		set("security.capability", capability)
		set("trusted.overlay.metacopy", odd())
		set("trusted.overlay.overlay.opaque", "")
		set("user.a", odd())
		set("user.b", odd())
	}
}
