package doctor

import (
	"io/fs"
	"path"
	"strings"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/erofs"
)

// inits are the programs that composefs-setup-root looks for.
var inits = []string{"/sbin/init", "/usr/lib/systemd/systemd", "/etc/init", "/bin/init", "/bin/sh"}

// mountPoints are the directories of an image that a boot mounts upon.
func mountPoints(c bootcfg.Config) []string {
	dirs := []string{"dev", "proc", "run", "sys", "sysroot"}
	if c.Etc != bootcfg.MountNone {
		dirs = append(dirs, "etc")
	}
	if c.Var != bootcfg.MountNone {
		dirs = append(dirs, "var")
	}
	return dirs
}

// Image checks that an image has what the hand-over to its init needs.
func Image(r *Report, img *erofs.Image, line bootcfg.Cmdline, c bootcfg.Config) {
	h := img.Header()
	r.Fact("format", "%s, %d inodes", h.Version, img.Inodes())
	fsys, err := img.FS()
	if err != nil {
		r.Stop("image", "build the image again", "%v", err)
		return
	}
	const remedy = "build the image from a whole system, with `mkimage build --boot`"
	for _, dir := range mountPoints(c) {
		if info, err := fs.Stat(fsys, dir); err != nil || !info.IsDir() {
			r.Stop("mount-point", remedy, "the image has no directory /%s to mount upon", dir)
		}
	}
	wanted := inits
	if init, ok := line.Lookup("init"); ok && init != "" {
		wanted = []string{init}
	}
	for _, name := range wanted {
		if _, err := fs.Stat(fsys, strings.TrimPrefix(path.Clean(name), "/")); err == nil {
			r.Fact("init", "%s", name)
			return
		}
	}
	r.Stop("init-program", remedy, "the image has no init program: none of %s is there", strings.Join(wanted, ", "))
}
