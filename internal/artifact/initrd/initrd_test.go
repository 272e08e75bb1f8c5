package initrd_test

import (
	"bytes"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/internal/artifact/initrd"
	"github.com/composefs-go/composefs/internal/testing/testutil"
)

func options(t *testing.T) initrd.Options {
	t.Helper()
	return initrd.Options{
		Init: elf("setup-root"), Policy: []byte("[verify]\n"), Keys: map[string][]byte{"ours": []byte("key 1"), "b.pub": []byte("key 2")},
		Kernel: kernel(t), Modules: []initrd.Want{{Name: "erofs"}, {Name: "overlay"}},
		Files: []initrd.File{{Path: "etc/initrd-release", Mode: 0o644, Data: []byte("ID=composefs\n")}},
	}
}

// list returns what cpio says of an archive, a line a member.
func list(t *testing.T, archive []byte, args ...string) string {
	t.Helper()
	cmd := exec.Command(testutil.RequireTool(t, "cpio"), args...)
	cmd.Stdin, cmd.Env = bytes.NewReader(archive), []string{"TZ=UTC", "LC_ALL=C"}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// write returns the archive, unpacked by the zstd tool if it is compressed.
func write(t *testing.T, o initrd.Options) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := initrd.Write(&out, o); err != nil {
		t.Fatal(err)
	}
	if o.Compression == initrd.None {
		return out.Bytes()
	}
	cmd := exec.Command(testutil.RequireTool(t, "zstd"), "-dc")
	cmd.Stdin = &out
	plain, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

// cpio lists what must be there, with owner, mode and time.
func TestCpioAgrees(t *testing.T) {
	for _, c := range []initrd.Compression{initrd.None, initrd.Zstd} {
		t.Run(string(c), func(t *testing.T) {
			o := options(t)
			o.Compression = c
			archive := write(t, o)
			out := list(t, archive, "-itvn", "--quiet")
			for _, want := range []string{
				"-rwxr-xr-x   1 0        0              15 Jan  1  1970 init",
				"drwxr-xr-x", "drwxrwxrwt   1 0        0               0 Jan  1  1970 tmp",
				"crw-------   1 0        0          5,   1 Jan  1  1970 dev/console",
				" sysroot\n", " usr/lib/composefs/keys.d/ours.pub\n", " usr/lib/composefs/keys.d/b.pub\n",
				" usr/lib/composefs/setup-root-conf.toml\n", " usr/lib/modules/6.12-test/kernel/fs/erofs/erofs.ko\n",
				" usr/lib/modules/6.12-test/kernel/lib/lz4.ko\n", " etc/initrd-release\n",
			} {
				if !strings.Contains(out, want) {
					t.Errorf("want %q in\n%s", want, out)
				}
			}
			for line := range strings.Lines(out) {
				if !strings.Contains(line, " 0        0  ") || !strings.Contains(line, "Jan  1  1970") {
					t.Errorf("not owned by root or not of time 0: %s", line)
				}
			}
			order := list(t, archive, "-i", "--quiet", "--to-stdout", "usr/lib/composefs/modules")
			const dir = "/usr/lib/modules/6.12-test/kernel/"
			want := dir + "lib/crc16.ko:\n" + dir + "lib/lz4.ko: " + dir + "lib/crc16.ko\n" +
				dir + "fs/erofs/erofs.ko: " + dir + "lib/crc16.ko " + dir + "lib/lz4.ko\n" + dir + "fs/overlayfs/overlay.ko:\n"
			if order != want {
				t.Errorf("the list of modules is\n%swant\n%s", order, want)
			}
			if got := list(t, archive, "-i", "--quiet", "--to-stdout", dir[1:]+"fs/erofs/erofs.ko"); got != string(elf("kernel/fs/erofs/erofs.ko.xz")) {
				t.Errorf("the module reads %q", got)
			}
		})
	}
}

// Directories come before what is in them, or the kernel leaves it out.
func TestParentsFirst(t *testing.T) {
	o := options(t)
	o.Compression = initrd.None
	seen := map[string]bool{".": true}
	for name := range strings.Lines(list(t, write(t, o), "-it", "--quiet")) {
		name = strings.TrimSpace(name)
		dir := "."
		if i := strings.LastIndexByte(name, '/'); i >= 0 {
			dir = name[:i]
		}
		if !seen[dir] || seen[name] {
			t.Errorf("%s comes before its directory, or twice", name)
		}
		seen[name] = true
	}
}

// Same input, same bytes.
func TestSameInputSameBytes(t *testing.T) {
	for _, c := range []initrd.Compression{initrd.None, initrd.Zstd} {
		var first []byte
		for range 3 {
			o := options(t)
			o.Compression = c
			o.Init = append(o.Init, bytes.Repeat([]byte("some text that repeats "), 200000)...)
			var out bytes.Buffer
			if err := initrd.Write(&out, o); err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first = out.Bytes()
			}
			if !bytes.Equal(first, out.Bytes()) {
				t.Errorf("compression %s: two builds differ", c)
			}
		}
	}
}

// The smallest initrd has no modules and no list of them.
func TestWithoutKernel(t *testing.T) {
	out := list(t, write(t, initrd.Options{Init: elf("x"), Compression: initrd.None}), "-it", "--quiet")
	if strings.Contains(out, "modules") || !strings.Contains(out, "init\n") {
		t.Errorf("found\n%s", out)
	}
}

func TestWriteRefuses(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*initrd.Options)
		want   error
		says   string
	}{
		{"no init", func(o *initrd.Options) { o.Init = nil }, initrd.ErrOptions, "composefs-setup-root"},
		{"script as init", func(o *initrd.Options) { o.Init = []byte("#!/bin/sh") }, initrd.ErrOptions, "ELF"},
		{"key with a slash", func(o *initrd.Options) { o.Keys["../x"] = nil }, initrd.ErrOptions, "../x"},
		{"key without a name", func(o *initrd.Options) { o.Keys[""] = nil }, initrd.ErrOptions, ".pub"},
		{"unknown compression", func(o *initrd.Options) { o.Compression = "lzo" }, initrd.ErrOptions, "lzo"},
		{"two files of one name", func(o *initrd.Options) { o.Files = append(o.Files, o.Files[0]) }, initrd.ErrOptions, "twice"},
		{"second init", func(o *initrd.Options) { o.Files[0].Path = "init" }, initrd.ErrOptions, "init"},
		{"path that climbs out", func(o *initrd.Options) { o.Files[0].Path = "../x" }, initrd.ErrOptions, "../x"},
		{"file in a file", func(o *initrd.Options) { o.Files[0].Path = "init/x" }, initrd.ErrOptions, "inside"},
		{"module that isn't there", func(o *initrd.Options) { o.Modules = initrd.RootModules("xfs") }, initrd.ErrModules, "xfs"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := options(t)
			test.change(&o)
			if err := initrd.Write(io.Discard, o); !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("want %v saying %q, found %v", test.want, test.says, err)
			}
		})
	}
}

// A writer that fails stops the work with its own error.
func TestWriteErrorIsPassedOn(t *testing.T) {
	o := options(t)
	for _, o.Compression = range []initrd.Compression{initrd.None, initrd.Zstd} {
		if err := initrd.Write(full{}, o); !errors.Is(err, errFull) {
			t.Errorf("compression %s: want %v, found %v", o.Compression, errFull, err)
		}
	}
}

var errFull = errors.New("no space left")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }
