package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/term"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/directory"
	"github.com/composefs-go/composefs/erofs/dumpfile"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/verity"
)

const mkcomposefsUsage = `
usage: mkcomposefs [OPTION]... SOURCE IMAGE
  --from-file          SOURCE is text in composefs-dump format, not a directory
  --digest-store=DIR   put files that are larger than 64 bytes into DIR
  --print-digest       print the image's fs-verity digest
  --print-digest-only  do nothing else; there is no IMAGE then
  --min-version=N      lowest format version, 0 or 1 (0); also --version=N
  --max-version=N      version to go up to for a tree with whiteouts (1)
  --use-epoch          set all times to 0
  --skip-devices       leave out device nodes
  --skip-xattrs        leave out extended attributes
  --user-xattrs        keep only extended attributes user.*
  --threads=N          how many processors to use (all)
`

// A mkcomposefs is one call of the program.
type mkcomposefs struct {
	source, image string
	fromFile      bool
	store         string
	printDigest   bool
	onlyPrint     bool
	min, max      *int
	threads       *int
	read          directory.Options
}

func (m *mkcomposefs) options() []option {
	return []option{
		{name: "from-file", flag: &m.fromFile},
		{name: "digest-store", set: func(s string) error { m.store = s; return nil }},
		{name: "print-digest", flag: &m.printDigest},
		{name: "print-digest-only", flag: &m.onlyPrint},
		{name: "min-version", set: strtolValue(&m.min, "--min-version")},
		{name: "max-version", set: strtolValue(&m.max, "--max-version")},
		{name: "version", set: strtolValue(&m.min, "--version")}, // the manual page's name for it
		{name: "use-epoch", flag: &m.read.UseEpoch},
		{name: "skip-devices", flag: &m.read.SkipDevices},
		{name: "skip-xattrs", flag: &m.read.SkipXattrs},
		{name: "user-xattrs", flag: &m.read.UserXattrs},
		{name: "threads", set: strtolValue(&m.threads, "--threads")},
	}
}

// strtolValue parses a number as strtol does: blanks and a sign may precede it.
func strtolValue(n **int, name string) func(string) error {
	return func(s string) error {
		v, err := strconv.ParseInt(strings.TrimLeft(s, " \t\n\v\f\r"), 10, 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return fmt.Errorf("%s: want a number, found %q", name, s)
		}
		clamped := int(min(max(v, -1), 1<<30)) // all numbers beyond these have the same effect
		*n = &clamped
		return nil
	}
}

// parse parses the command line and finds mistakes in it.
func (m *mkcomposefs) parse(args []string) error {
	rest, err := getopt(args, m.options())
	switch {
	case err != nil:
		return ctoolUsagef(mkcomposefsUsage, "%w", err)
	case m.threads != nil && *m.threads < 1:
		return fmt.Errorf("--threads: want 1 or more, found %d", *m.threads)
	case len(rest) == 0:
		return ctoolUsagef(mkcomposefsUsage, "no SOURCE")
	case m.onlyPrint && len(rest) > 1:
		return ctoolUsagef(mkcomposefsUsage, "--print-digest-only writes no IMAGE, found %q", rest[1])
	case !m.onlyPrint && len(rest) == 1:
		return ctoolUsagef(mkcomposefsUsage, "no IMAGE")
	case len(rest) > 2:
		return ctoolUsagef(mkcomposefsUsage, "want SOURCE and IMAGE, found %q too", rest[2])
	case rest[0] == "":
		return errors.New("SOURCE is empty")
	}
	m.source = rest[0]
	if !m.onlyPrint {
		m.image = rest[1]
	}
	return nil
}

// runMkcomposefs is main of mkcomposefs.
func runMkcomposefs(ctx context.Context, u *ui, args []string) error {
	var m mkcomposefs
	if err := m.parse(args); err != nil {
		return err
	}
	if m.threads != nil {
		runtime.GOMAXPROCS(min(*m.threads, runtime.NumCPU()))
	}
	out, err := m.create(u)
	if err != nil {
		return err
	}
	digest, err := m.write(ctx, u, out)
	if err := errors.Join(err, out.Close()); err != nil {
		return err
	}
	if m.printDigest || m.onlyPrint {
		_, err = fmt.Fprintln(u.out, digest.Hex())
	}
	return err
}

// create opens IMAGE before anything else is done. IMAGE is written in place: callers
// pass /proc/self/fd/N.
func (m *mkcomposefs) create(u *ui) (io.WriteCloser, error) {
	switch f, isFile := u.out.(*os.File); {
	case m.onlyPrint:
		return flusher{bufio.NewWriter(io.Discard)}, nil
	case m.image != "-":
		f, err := os.OpenFile(m.image, os.O_WRONLY|os.O_CREATE, 0o666)
		return &replacing{File: f}, err
	case isFile && term.IsTerminal(int(f.Fd())):
		return nil, errors.New("standard output is a terminal, and an image is no text; redirect it")
	}
	return flusher{bufio.NewWriter(u.out)}, nil
}

// A replacing file keeps what is in it until it is written to.
type replacing struct {
	*os.File
	begun bool
}

func (r *replacing) Write(p []byte) (int, error) {
	if !r.begun {
		r.begun = true
		// As O_TRUNC, which has no effect on anything but a regular file.
		if st, err := r.Stat(); err == nil && st.Mode().IsRegular() {
			if err := r.Truncate(0); err != nil {
				return 0, err
			}
		}
	}
	return r.File.Write(p)
}

type flusher struct{ *bufio.Writer }

func (f flusher) Close() error { return f.Flush() }

// write makes the image and returns its digest.
func (m *mkcomposefs) write(ctx context.Context, u *ui, w io.Writer) (verity.Digest, error) {
	root, err := m.tree(ctx, u)
	if err != nil {
		return verity.Digest{}, adviseSource(err)
	}
	format, err := m.format(root)
	if err != nil {
		return verity.Digest{}, err
	}
	h := verity.NewHasher(verity.SHA256)
	err = erofs.Write(io.MultiWriter(w, h), root, format)
	return h.Sum(), err
}

// tree reads SOURCE, and fills the digest store on the way.
func (m *mkcomposefs) tree(ctx context.Context, u *ui) (*tree.Node, error) {
	if m.fromFile {
		return m.dump(u)
	}
	if m.read.SkipXattrs && m.read.UserXattrs {
		return nil, errors.New("--skip-xattrs and --user-xattrs exclude each other")
	}
	if st, err := os.Lstat(m.source); err != nil {
		return nil, err
	} else if !st.IsDir() {
		return nil, fmt.Errorf("%s: want a directory; for a dump use --from-file", m.source)
	}
	read := m.read
	read.Sockets, read.SplitLinks, read.Progress = true, true, u.progress.file
	read.Mounts = directory.IncludeMounts // as the C tool does
	u.progress.start("reading " + m.source)
	defer u.progress.stop()
	if m.store != "" {
		return m.fill(ctx, u, read)
	}
	read.Sink = directory.NewDigests(verity.SHA256)
	return directory.Read(ctx, m.source, read)
}

// fill reads a directory into the digest store.
func (m *mkcomposefs) fill(ctx context.Context, u *ui, read directory.Options) (*tree.Node, error) {
	store, err := locking(u, m.store, func() (*repo.Store, error) { return repo.OpenStore(m.store) })
	if err != nil {
		return nil, err
	}
	defer store.Close()
	stage, err := store.Begin()
	if err != nil {
		return nil, err
	}
	defer stage.Abort()
	read.Sink = stage
	root, err := directory.Read(ctx, m.source, read)
	if err != nil {
		return nil, err
	}
	return root, stage.Commit()
}

// dump reads SOURCE as a dump. As with the C program, an environment variable asks for
// stricter rules.
func (m *mkcomposefs) dump(u *ui) (*tree.Node, error) {
	dialect := dumpfile.C
	if _, strict := os.LookupEnv("CFS_PARSE_STRICT"); strict {
		dialect = dumpfile.Strict
	}
	if m.source == "-" {
		return dialect.Parse(u.in)
	}
	f, err := os.Open(m.source)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	root, err := dialect.Parse(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.source, err)
	}
	return root, nil
}

// format chooses the version. If only one of the two options is given, the default of the
// other is 0, which it isn't if neither is.
func (m *mkcomposefs) format(root *tree.Node) (erofs.Format, error) {
	least, most := 0, 1
	if m.min != nil || m.max != nil {
		most = 0
	}
	if m.min != nil {
		least = *m.min
	}
	if m.max != nil {
		most = *m.max
	}
	for _, v := range []int{least, most} {
		if v < 0 || v > 1 {
			return 0, fmt.Errorf("want version 0 or 1, found %d; for other formats use mkimage build --format", v)
		}
	}
	return erofs.ChooseFormat(root, erofs.Format(least), erofs.Format(most))
}
