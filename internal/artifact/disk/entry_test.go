package disk_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/composefs-go/composefs/internal/artifact/disk"
	"github.com/composefs-go/composefs/internal/disktool"
	"github.com/composefs-go/composefs/verity"
)

func file(name string) disk.Entry { return disk.Entry{Path: name, Mode: 0o644, Open: disk.Bytes(nil)} }

// A description that makes no sense is refused before anything is written.
func TestPlanRefuses(t *testing.T) {
	link := disk.Entry{Path: "a", Mode: fs.ModeSymlink, Target: "b"}
	for _, test := range []struct {
		name    string
		entries []disk.Entry
		says    string
	}{
		{"absolute path", []disk.Entry{file("/etc")}, "not a path below"},
		{"path that climbs out", []disk.Entry{file("a/../../b")}, "not a path below"},
		{"the root itself", []disk.Entry{file(".")}, "not a path below"},
		{"line end in a name", []disk.Entry{file("a\nb")}, "line end"},
		{"line end in a target", []disk.Entry{{Path: "a", Mode: fs.ModeSymlink, Target: "a\nrm b"}}, "line end"},
		{"long name", []disk.Entry{file(strings.Repeat("x", 256))}, "too long"},
		{"long path", []disk.Entry{file(strings.Repeat("abcdefg/", 300) + "x")}, "too long"},
		{"no target", []disk.Entry{{Path: "a", Mode: fs.ModeSymlink}}, "target"},
		{"no content", []disk.Entry{{Path: "a"}}, "no content"},
		{"device", []disk.Entry{{Path: "a", Mode: fs.ModeDevice}}, "want a file"},
		{"twice", []disk.Entry{file("a"), file("a")}, "twice"},
		{"inside a file", []disk.Entry{file("a"), file("a/b")}, "not a directory"},
		{"inside a symlink", []disk.Entry{link, file("a/b/c")}, "not a directory"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := disk.MakePlan(disk.Image{Arch: "amd64", Root: test.entries})
			if !errors.Is(err, disk.ErrEntry) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("want %v saying %q, found %v", disk.ErrEntry, test.says, err)
			}
		})
	}
}

// Content that isn't what it is said to be stops the build, and no file is left.
func TestWriteChecksContent(t *testing.T) {
	requireTools(t)
	good := disk.Entry{Path: "f", Mode: 0o644, Size: 5, Open: disk.Bytes([]byte("right")), Digest: verity.Sum(verity.SHA256, []byte("right")), Verity: true}
	broken := errors.New("disk on fire")
	for _, test := range []struct {
		name   string
		change func(*disk.Entry)
		want   error
	}{
		{"other content", func(e *disk.Entry) { e.Open = disk.Bytes([]byte("wrong")) }, verity.ErrMismatch},
		{"other content, without fs-verity", func(e *disk.Entry) { e.Open, e.Verity = disk.Bytes([]byte("wrong")), false }, verity.ErrMismatch},
		{"shorter", func(e *disk.Entry) { e.Open = disk.Bytes([]byte("righ")) }, disk.ErrEntry},
		{"longer", func(e *disk.Entry) { e.Open = disk.Bytes([]byte("right!")) }, disk.ErrEntry},
		{"unreadable", func(e *disk.Entry) { e.Open = func() (io.ReadCloser, error) { return nil, broken } }, broken},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := good
			test.change(&e)
			dir := t.TempDir()
			err := disk.Write(context.Background(), filepath.Join(dir, "d"), disk.Image{Arch: "amd64", Root: []disk.Entry{e}}, nil)
			if left, _ := filepath.Glob(dir + "/*"); !errors.Is(err, test.want) || len(left) > 0 {
				t.Errorf("want %v, found %v; left behind %v", test.want, err, left)
			}
		})
	}
	for name, e := range map[string]disk.Entry{
		"ESP file shorter":     {Path: "f", Size: 6, Open: disk.Bytes([]byte("right"))},
		"ESP file longer":      {Path: "f", Size: 4, Open: disk.Bytes([]byte("right"))},
		"ESP symlink":          {Path: "f", Mode: fs.ModeSymlink, Target: "x"},
		"ESP name with colons": {Path: "a:b", Size: 5, Open: disk.Bytes([]byte("right"))},
	} {
		t.Run(name, func(t *testing.T) {
			err := disk.Write(context.Background(), filepath.Join(t.TempDir(), "d"), disk.Image{Arch: "amd64", ESP: []disk.Entry{e}}, nil)
			if !errors.Is(err, disk.ErrEntry) {
				t.Errorf("want %v, found %v", disk.ErrEntry, err)
			}
		})
	}
}

// Sizes follow from the content, and a size that is too small is said to be.
func TestPlanSizes(t *testing.T) {
	const mib = 1 << 20
	big := disk.Entry{Path: "f", Size: 700 * mib, Open: disk.Bytes(nil)}
	for _, test := range []struct {
		name      string
		im        disk.Image
		esp, root int64 // least MiB
		says      string
	}{
		{"empty", disk.Image{Arch: "amd64"}, 512, 512, ""},
		{"much in the ESP", disk.Image{Arch: "arm64", ESP: []disk.Entry{big}}, 2100, 512, ""},
		{"much in the root", disk.Image{Arch: "amd64", Root: []disk.Entry{big}}, 512, 1500, ""},
		{"sizes given", disk.Image{Arch: "amd64", ESPSize: 100 * mib, RootSize: 1000*mib + 17}, 100, 1000, ""},
		{"ESP too small for FAT32", disk.Image{Arch: "amd64", ESPSize: 16 * mib}, 0, 0, "EFI system partition needs at least 34 MiB"},
		{"ESP too small for its files", disk.Image{Arch: "amd64", ESP: []disk.Entry{big}, ESPSize: 600 * mib}, 0, 0, "for 701 MiB of content"},
		{"root too small", disk.Image{Arch: "amd64", Root: []disk.Entry{big}, RootSize: 700 * mib}, 0, 0, "root partition needs"},
		{"unknown architecture", disk.Image{Arch: "pdp11"}, 0, 0, "amd64, arm"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, err := disk.MakePlan(test.im)
			if test.says != "" {
				if err == nil || !strings.Contains(err.Error(), test.says) {
					t.Errorf("want an error saying %q, found %v", test.says, err)
				}
				return
			}
			if err != nil || p.ESP.Size < test.esp*mib || p.Root.Size < test.root*mib ||
				p.Root.Offset != p.ESP.Offset+p.ESP.Size || p.Size != p.Root.Offset+p.Root.Size+mib {
				t.Errorf("plan %+v, error %v", p, err)
			}
		})
	}
}

// The smallest root partition that the plan allows does hold its content.
func TestSmallestRootIsEnough(t *testing.T) {
	var root []disk.Entry
	for i := range 3000 {
		b := content(i%9000 + 1)
		d := verity.Sum(verity.SHA256, b)
		root = append(root, disk.Entry{Path: "composefs/objects/" + d.ObjectPath(), Size: int64(len(b)), Open: disk.Bytes(b), Digest: d, Verity: true})
	}
	im := disk.Image{Arch: "amd64", Root: root, ESPSize: 34 << 20}
	for im.RootSize = 1 << 20; ; im.RootSize += 1 << 20 {
		if _, err := disk.MakePlan(im); err == nil {
			break
		} else if !errors.Is(err, disk.ErrSize) {
			t.Fatal(err)
		}
	}
	name := write(t, im)
	run(t, "e2fsck", "-fn", cut(t, name, plan(t, im).Root))
}

// A disk image that can't fit is refused at once.
func TestSpaceIsCheckedFirst(t *testing.T) {
	requireTools(t)
	dir := t.TempDir()
	huge := disk.Entry{Path: "f", Size: 1 << 50, Open: func() (io.ReadCloser, error) { t.Error("it was begun"); return nil, io.EOF }}
	err := disk.Write(context.Background(), filepath.Join(dir, "d"), disk.Image{Arch: "amd64", Root: []disk.Entry{huge}}, nil)
	if left, _ := filepath.Glob(dir + "/.*"); !errors.As(err, new(*disk.SpaceError)) || !errors.Is(err, syscall.ENOSPC) || len(left) > 0 {
		t.Errorf("want a SpaceError, found %v; left behind %v", err, left)
	}
}

// mtools is in /usr/bin everywhere.
func TestAMissingProgramIsNamed(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := disk.Write(context.Background(), filepath.Join(t.TempDir(), "d"), disk.Image{Arch: "amd64"}, nil)
	if missing := (*disktool.MissingError)(nil); !errors.As(err, &missing) || missing.Program == "" {
		t.Errorf("want a MissingError, found %v", err)
	}
}
