package initrd

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/u-root/u-root/pkg/cpio"
)

// Where things are in the initrd; composefs-setup-root looks for them there.
const (
	libDir     = "usr/lib/composefs"
	policyFile = libDir + "/setup-root-conf.toml"
	keysDir    = libDir + "/keys.d"
	listFile   = libDir + "/modules"
	modulesDir = "usr/lib/modules"
)

// A Compression is how the archive is compressed.
type Compression string

// The compressions.
const (
	Zstd Compression = "zstd"
	None Compression = "none"
)

// A File is another file to put into the initrd.
type File struct {
	Path string // relative to the root
	Mode fs.FileMode
	Data []byte
}

// Options are the parts of an initrd. Only Init is required.
type Options struct {
	Init        []byte            // composefs-setup-root, a static binary
	Policy      []byte            // text of setup-root-conf.toml; nil: there is none
	Keys        map[string][]byte // name, with or without .pub, to the text of a minisign public key
	Kernel      *Kernel           // nil: no modules
	Modules     []Want            // see RootModules
	Files       []File
	Compression Compression // "" is Zstd
}

// ErrOptions is the cause when no initrd can be made of the Options.
var ErrOptions = errors.New("can't make an initrd")

// Write writes the initrd.
func Write(w io.Writer, o Options) error {
	files, err := o.files()
	if err != nil {
		return err
	}
	records, err := records(files)
	if err != nil {
		return err
	}
	packed, err := o.Compression.pack(w)
	if err != nil {
		return err
	}
	if err := writeArchive(packed, records); err != nil {
		return errors.Join(err, packed.Close())
	}
	return packed.Close()
}

// pack returns a writer that compresses into w.
func (c Compression) pack(w io.Writer) (io.WriteCloser, error) {
	switch c {
	case None:
		return nopCloser{w}, nil
	case Zstd, "":
		// One thread, or the bytes would depend on the number of cores. 8 MiB is the
		// largest window that every decoder should support according to the zstd format.
		return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedBetterCompression), zstd.WithWindowSize(8<<20))
	}
	return nil, fmt.Errorf("%w: want compression zstd or none, found %q", ErrOptions, c)
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// files returns all regular files, sorted by path.
func (o Options) files() ([]File, error) {
	if !strings.HasPrefix(string(o.Init), "\x7fELF") {
		return nil, fmt.Errorf("%w: want composefs-setup-root, an ELF program, as /init, found %d bytes of something else", ErrOptions, len(o.Init))
	}
	files := append([]File{{Path: "init", Mode: 0o755, Data: o.Init}}, o.Files...)
	if o.Policy != nil {
		files = append(files, File{Path: policyFile, Mode: 0o644, Data: o.Policy})
	}
	for name, key := range o.Keys {
		name = strings.TrimSuffix(name, ".pub") + ".pub"
		if strings.ContainsAny(name, "/\x00") || name[0] == '.' {
			return nil, fmt.Errorf("%w: %q can't be the name of a key", ErrOptions, name)
		}
		files = append(files, File{Path: path.Join(keysDir, name), Mode: 0o644, Data: key})
	}
	modules, err := o.modules()
	if err != nil {
		return nil, err
	}
	files = append(files, modules...)
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return files, nil
}

// modules returns the modules and the list of them.
func (o Options) modules() ([]File, error) {
	if o.Kernel == nil {
		return nil, nil
	}
	modules, err := o.Kernel.Resolve(o.Modules)
	if err != nil {
		return nil, err
	}
	var files []File
	var list strings.Builder
	for _, m := range modules {
		data, err := o.Kernel.Read(m)
		if err != nil {
			return nil, err
		}
		name := o.modulePath(m.File)
		fmt.Fprintf(&list, "/%s:", name)
		for _, need := range m.Needs {
			fmt.Fprintf(&list, " /%s", o.modulePath(need))
		}
		list.WriteByte('\n')
		files = append(files, File{Path: name, Mode: 0o644, Data: data})
	}
	return append(files,
		File{Path: listFile, Mode: 0o644, Data: []byte(list.String())},
		File{Path: path.Join(modulesDir, o.Kernel.Version(), "modules.builtin"), Mode: 0o644, Data: o.builtin()}), nil
}

// builtin returns the lines of modules.builtin for wanted modules. They show to
// programs that check the initrd why these modules aren't in it. Nothing at boot needs them.
func (o Options) builtin() []byte {
	var out []byte
	for _, w := range o.Modules {
		if file := o.Kernel.builtin[normalize(w.Name)]; file != "" {
			out = fmt.Appendln(out, file)
		}
	}
	return out
}

// modulePath returns the path of a module in the initrd.
func (o Options) modulePath(file string) string {
	return path.Join(modulesDir, o.Kernel.Version(), plainName(file))
}

// writeArchive writes the records and the trailer as newc.
func writeArchive(w io.Writer, records []cpio.Record) error {
	out := &remembering{Writer: w}
	archive := cpio.Newc.Writer(out)
	err := cpio.WriteRecords(archive, records)
	if err == nil {
		err = cpio.WriteTrailer(archive)
	}
	if out.err != nil {
		return out.err // the library says much more, and nothing new
	}
	return err
}

// A remembering writer keeps its first error.
type remembering struct {
	io.Writer
	err error
}

func (r *remembering) Write(p []byte) (int, error) {
	n, err := r.Writer.Write(p)
	if r.err == nil {
		r.err = err
	}
	return n, err
}

// skeleton returns what every initrd has.
func skeleton() []cpio.Record {
	var out []cpio.Record
	for _, dir := range []string{"dev", "proc", "run", "sys", "sysroot", keysDir} {
		out = append(out, cpio.Directory(dir, 0o755))
	}
	return append(out,
		cpio.Directory("tmp", 0o1777),
		cpio.CharDev("dev/console", 0o600, 5, 1),
		cpio.CharDev("dev/kmsg", 0o644, 1, 11),
		cpio.CharDev("dev/null", 0o666, 1, 3),
	)
}

// records returns the members of the archive, each once, directories before their entries.
func records(files []File) ([]cpio.Record, error) {
	all := make(map[string]cpio.Record)
	for _, r := range skeleton() {
		all[r.Name] = r
	}
	for _, f := range files {
		if _, twice := all[f.Path]; twice || !fs.ValidPath(f.Path) || f.Path == "." || !f.Mode.IsRegular() {
			return nil, fmt.Errorf("%w: %q is there twice, or is not the path of a file", ErrOptions, f.Path)
		}
		all[f.Path] = cpio.StaticFile(f.Path, string(f.Data), uint64(f.Mode.Perm()))
	}
	for _, name := range slices.Collect(maps.Keys(all)) {
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if r, known := all[dir]; known && r.Mode&cpio.S_IFMT != cpio.S_IFDIR {
				return nil, fmt.Errorf("%w: %q is inside %q, which is a file", ErrOptions, name, dir)
			} else if !known {
				all[dir] = cpio.Directory(dir, 0o755)
			}
		}
	}
	var out []cpio.Record
	for i, name := range slices.Sorted(maps.Keys(all)) {
		r := cpio.MakeReproducible(all[name]) // owner root, time 0
		r.Ino, r.NLink = uint64(i+1), 1
		out = append(out, r)
	}
	return out, nil
}
