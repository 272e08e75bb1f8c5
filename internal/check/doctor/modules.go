package doctor

import (
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/composefs-go/composefs/bootcfg"
)

// moduleList is where an initrd of `mkimage initrd` lists the modules that /init
// loads: "PATH: NEEDS…".
const moduleList = "usr/lib/composefs/modules"

// drivers are the modules that make a disk appear, by how its name begins: one of
// each list has to be there.
var drivers = []struct {
	prefix string
	each   [][]string
}{
	{"/dev/vd", [][]string{{"virtio_blk"}, {"virtio_pci", "virtio_mmio"}}},
	{"/dev/nvme", [][]string{{"nvme"}}},
	{"/dev/sd", [][]string{{"sd_mod"}, {"ahci", "virtio_scsi", "usb_storage", "uas", "ata_piix", "hv_storvsc", "vmw_pvscsi", "mptspi", "megaraid_sas", "mpt3sas"}}},
	{"/dev/mmcblk", [][]string{{"mmc_block"}, {"sdhci_pci", "sdhci_acpi", "sdhci"}}},
	{"/dev/xvd", [][]string{{"xen_blkfront"}}},
	{"", [][]string{{"virtio_blk", "virtio_scsi", "nvme", "ahci", "sd_mod", "usb_storage", "mmc_block", "xen_blkfront", "hv_storvsc", "vmw_pvscsi"}}},
}

// fileSystems are the ones that composefs-setup-root knows by their superblocks.
var fileSystems = []string{"ext4", "xfs", "btrfs"}

// A Root is what is known of the root device.
type Root struct {
	Device string // value of root=, "" if it isn't known
	Type   string // of its file system, "" if it isn't known
}

// modules is the modules of one kernel in an initrd.
type modules struct {
	*Initrd
	dir     string // "usr/lib/modules/VERSION"
	version string
	files   map[string]string // name to path
	builtin map[string]bool
	known   bool // what is built in
}

// Modules checks that what it takes to mount root and image is in the initrd or in
// the kernel.
func (i *Initrd) Modules(r *Report, root Root) {
	m, ok := i.findModules(r)
	if !ok {
		return
	}
	types := fileSystems
	if root.Type != "" {
		types = []string{root.Type}
	}
	m.want(r, need{"mount the image", "erofs", "erofs/needs", "erofs/unknown"}, "erofs")
	m.want(r, need{"mount the root", "overlay", "overlay/needs", "overlay/unknown"}, "overlay")
	m.want(r, need{"mount the root partition", "root-fs", "root-fs/needs", "root-fs/unknown"}, types...)
	if m.needsLoop() {
		m.want(r, need{"mount the image on a kernel before 6.12", "loop", "loop/needs", "loop/unknown"}, "loop")
	}
	for _, d := range drivers {
		if !strings.HasPrefix(root.Device, d.prefix) {
			continue
		}
		for _, names := range d.each {
			m.want(r, need{strings.TrimSpace("reach the root device " + root.Device), "root-device", "root-device/needs", "root-device/unknown"}, names...)
		}
		break
	}
	m.checkList(r)
}

// CheckKernel checks that the kernel is new enough for what the policy asks of it.
// Red Hat's are newer than their numbers.
func (i *Initrd) CheckKernel(r *Report, trust Trust, line bootcfg.Cmdline) {
	release := i.Kernel
	if dirs := i.moduleDirs(); release == "" && len(dirs) == 1 {
		release = path.Base(dirs[0])
	}
	minor, what := 5, "data-only lower layers of overlayfs"
	if trust.Sound && trust.Config.Verify.FSVerity == bootcfg.Require && !slices.ContainsFunc(line.Images, func(i bootcfg.Image) bool { return i.Optional }) {
		minor, what = 6, "fs-verity in overlayfs, which the policy requires"
	}
	if !before(release, 6, minor) {
		return
	}
	report := r.Stop
	if strings.Contains(release, ".el") {
		report = r.Warn
	}
	report("kernel-version", "kernel %s is too old for %s: it came with Linux 6.%d", release, what, minor)
}

// moduleDirs lists the directories with modules, one for each kernel.
func (i *Initrd) moduleDirs() (dirs []string) {
	for _, dir := range []string{"usr/lib/modules", "lib/modules"} {
		entries, _ := fs.ReadDir(i.Root, dir)
		for _, e := range entries {
			if e.IsDir() {
				dirs = append(dirs, path.Join(dir, e.Name()))
			}
		}
		if len(dirs) > 0 {
			break
		}
	}
	return dirs
}

// findModules finds the modules of the kernel; there may be modules of several kernels.
func (i *Initrd) findModules(r *Report) (*modules, bool) {
	versions := i.moduleDirs()
	m := &modules{Initrd: i, version: i.Kernel, files: map[string]string{}, builtin: map[string]bool{}, known: i.Builtin != nil}
	for _, dir := range versions {
		if i.Kernel == "" || path.Base(dir) == i.Kernel {
			m.dir = dir
		}
	}
	if m.dir == "" && len(versions) > 0 {
		r.Stop("kernel/modules", "the kernel is %s, the modules in the initrd are for %s", i.Kernel, path.Base(versions[0]))
		return nil, false
	}
	if m.dir != "" {
		m.version = path.Base(m.dir)
		r.Fact("modules", "for kernel %s", m.version)
	}
	m.read()
	return m, true
}

// read lists the files, and what is built into the kernel.
func (m *modules) read() {
	for name := range m.Builtin {
		m.builtin[name] = true
	}
	if m.dir == "" {
		return
	}
	_ = fs.WalkDir(m.Root, m.dir, func(name string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && strings.Contains(e.Name(), ".ko") {
			m.files[moduleName(name)] = name
		}
		return nil
	})
	text, err := fs.ReadFile(m.Root, path.Join(m.dir, "modules.builtin"))
	m.known = m.known || err == nil
	for line := range strings.Lines(string(text)) {
		m.builtin[moduleName(strings.TrimSpace(line))] = true
	}
}

// moduleName is the name of the module in a file, as the kernel spells it.
func moduleName(file string) string {
	name, _, _ := strings.Cut(path.Base(file), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

// A need is for one of several modules.
type need struct {
	purpose string
	absent  Kind // none of them is there
	needs   Kind // one is, but not what it needs
	unknown Kind // none is, and it isn't known what is built in
}

// want checks that one of the modules is there, and for that all it needs.
func (m *modules) want(r *Report, n need, names ...string) {
	for _, name := range names {
		if m.builtin[name] {
			return
		}
		if file, ok := m.files[name]; ok {
			if missing := m.missing(file); missing != "" {
				r.Stop(n.needs, "the module %s needs %s, which is not in the initrd", name, missing)
			} else if of := m.madeFor(file); of != "" && of != m.version {
				r.Stop("module-version", "the module %s was made for kernel %s, its directory is for %s", name, of, m.version)
			}
			return
		}
	}
	what := "the module " + names[0] + ", which is"
	if len(names) > 1 {
		what = "one of the modules " + strings.Join(names, ", ") + ", which are"
	}
	if m.known {
		r.Stop(n.absent, "to %s it takes %s neither in the initrd nor in the kernel", n.purpose, what)
		return
	}
	r.Warn(n.unknown, "to %s it takes %s not in the initrd, and may or may not be built into the kernel", n.purpose, what)
}

// vermagic is before the version of the kernel that a module was made for.
var vermagic = []byte("vermagic=")

// madeFor returns that version, "" if the file is compressed.
func (m *modules) madeFor(file string) string {
	text, err := fs.ReadFile(m.Root, file)
	at := bytes.Index(text, vermagic)
	if err != nil || at < 0 {
		return ""
	}
	text = text[at+len(vermagic):]
	version, _, _ := bytes.Cut(text[:min(len(text), 256)], []byte(" "))
	return string(version)
}

// missing returns a file that the module in another one needs and that isn't there.
func (m *modules) missing(file string) string {
	text, err := fs.ReadFile(m.Root, path.Join(m.dir, "modules.dep"))
	if err != nil {
		return "" // checkList knows, if anybody does
	}
	want := strings.TrimPrefix(file, m.dir+"/")
	for line := range strings.Lines(string(text)) {
		name, needs, ok := strings.Cut(line, ":")
		if !ok || name != want {
			continue
		}
		for _, need := range strings.Fields(needs) {
			if m.files[moduleName(need)] == "" && !m.builtin[moduleName(need)] {
				return need
			}
		}
	}
	return ""
}

// checkList checks the list that composefs-setup-root loads as /init.
func (m *modules) checkList(r *Report) {
	text, err := fs.ReadFile(m.Root, moduleList)
	if err != nil {
		return
	}
	seen := map[string]bool{}
	for _, file := range strings.Fields(strings.ReplaceAll(string(text), ":", " ")) {
		if seen[file] {
			continue
		}
		seen[file] = true
		if _, err := fs.Stat(m.Root, strings.TrimPrefix(path.Clean(file), "/")); err != nil {
			r.Stop("module-list", "/%s lists %s, which is not in the initrd", moduleList, file)
		}
	}
}

// needsLoop reports whether the kernel can't mount EROFS from a file. Of an unknown
// kernel nothing is said.
func (m *modules) needsLoop() bool { return before(m.version, 6, 12) }

// before reports whether a release is known to be of an earlier version of Linux.
func before(release string, major, minor int) bool {
	parts := strings.FieldsFunc(release, func(r rune) bool { return r == '.' || r == '-' || r == '+' })
	if len(parts) < 2 {
		return false
	}
	x, err1 := strconv.Atoi(parts[0])
	y, err2 := strconv.Atoi(parts[1])
	return err1 == nil && err2 == nil && slices.Compare([]int{x, y}, []int{major, minor}) < 0
}

// ParseBuiltin reads a kernel's modules.builtin.
func ParseBuiltin(fsys fs.FS, dir string) (map[string]bool, error) {
	text, err := fs.ReadFile(fsys, path.Join(dir, "modules.builtin"))
	if err != nil {
		return nil, fmt.Errorf("read what is built into the kernel: %w", err)
	}
	out := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		out[moduleName(strings.TrimSpace(line))] = true
	}
	return out, nil
}
