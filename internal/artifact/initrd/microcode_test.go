package initrd_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/internal/artifact/initrd"
	"github.com/composefs-go/composefs/internal/testing/testutil"
)

const ucode = "kernel/x86/microcode"

// microcodeDirs are the directories that microcode is in.
func microcodeDirs() []member {
	return []member{dir("kernel"), dir("kernel/x86"), dir(ucode)}
}

// goodMicrocode is for processors of two makers.
func goodMicrocode() []byte {
	return archive(append(microcodeDirs(), text(ucode+"/GenuineIntel.bin", "intel"), text(ucode+"/AuthenticAMD.bin", "amd"))...)
}

// What is unpacked before the main initrd may be microcode and nothing else: each
// other member is refused, however it is written.
func TestOnlyMicrocodeIsMicrocode(t *testing.T) {
	with := func(more ...member) []byte {
		return archive(append(append(microcodeDirs(), text(ucode+"/GenuineIntel.bin", "intel")), more...)...)
	}
	good := goodMicrocode()
	for _, test := range []struct {
		name  string
		image []byte
		says  string // "" if it is good
	}{
		{"good", good, ""},
		{"several archives, with zeros between them", bytes.Join([][]byte{good, archive(append(microcodeDirs(), text(ucode+"/.enuineIntel.align.0123456789abc", "x"))...)}, make([]byte, 512)), ""},
		{"with the directory at the top", with(dir(".")), ""},
		{"a directory with a slash at its end", archive(dir("kernel/"), dir("kernel/x86/"), dir(ucode+"/"), text(ucode+"/GenuineIntel.bin", "x")), ""},

		{"without directories, as Arch has it", archive(text(ucode+"/AuthenticAMD.bin", "x")), ""},
		{"the directory after its file", archive(dir("kernel"), dir("kernel/x86"), text(ucode+"/AuthenticAMD.bin", "x"), dir(ucode)), ""},
		{"with the mark of an early archive, as dracut has it", with(text("early_cpio", "1\n")), ""},

		{"nothing", nil, "found none"},
		{"zeros", make([]byte, 64), "found none"},
		{"directories alone", archive(microcodeDirs()...), "found none"},
		{"text", []byte("pretend\n"), "not compressed"},
		{"compressed", filter(t, good, "gzip"), "not compressed"},
		{"compressed data behind it", append(bytes.Clone(good), filter(t, archive(text("init", "x")), "zstd", "-q")...), "not compressed"},
		{"an archive that the kernel doesn't expect there", append(append(bytes.Clone(good), 0), good...), "at a multiple of 4"},
		{"cut off", good[:len(good)-20], "cut off"},
		{"a boot configuration", bootConfig(good, ""), "boot configuration"},

		{"init", with(text("init", "x")), `"init" is not below kernel/x86/microcode`},
		{"a key", with(dir("usr"), dir("usr/lib")), `"usr" is not below`},
		{"tables of the firmware", with(dir("kernel/firmware")), `"kernel/firmware" is not below`},
		{"a file beside the directory", with(text("kernel/x86/microcode.bin", "x")), "is not below"},
		{"a file above the directory", with(text("kernel/x86/x", "x")), "is not below"},
		{"a file of a similar directory", with(dir("kernel/x86/microcode2")), "is not below"},
		{"a link", with(link(ucode+"/a", "/usr")), "a symbolic link"},
		{"a link in the place of the directory", archive(dir("kernel"), dir("kernel/x86"), link(ucode, "/usr/lib/composefs"), text(ucode+"/x", "x")), "a symbolic link"},
		{"a hard link", with(member{name: ucode + "/a", ino: 1, links: 2}), "a hard link"},
		{"a device", with(member{name: ucode + "/a", mode: 0o060600}), "a device"},
		{"a terminal", with(member{name: ucode + "/a", mode: 0o020600}), "a device"},
		{"a pipe", with(member{name: ucode + "/a", mode: 0o010600}), "a named pipe"},
		{"a socket", with(member{name: ucode + "/a", mode: 0o140600}), "a socket"},
		{"an unknown type", with(member{name: ucode + "/a", mode: 0o170000}), "no known type"},
		{"dot dot", with(text(ucode+"/../../../init", "x")), "plain relative name"},
		{"dot dot at the end", with(dir(ucode + "/..")), "plain relative name"},
		{"a rooted name", with(text("/"+ucode+"/a", "x")), "plain relative name"},
		{"a name that begins with a dot", with(text("./"+ucode+"/a", "x")), "plain relative name"},
		{"two slashes", with(text(ucode+"//a", "x")), "plain relative name"},
		{"an empty name", with(text("", "x")), "plain relative name"},
		{"a file twice", with(text(ucode+"/GenuineIntel.bin", "y")), "is there twice"},
		{"a file that was a directory", with(dir(ucode+"/a"), text(ucode+"/a", "y")), "is nothing that the kernel looks for"},
		{"a key below it", with(text(ucode+"/evil.pub", "x")), "is nothing that the kernel looks for"},
		{"a program below it", with(text(ucode+"/init", "x")), "is nothing that the kernel looks for"},
		{"a directory below it", with(dir(ucode + "/amd")), "is nothing that the kernel looks for"},
		{"the directory that was a file", archive(dir("kernel"), dir("kernel/x86"), dir(ucode), text(ucode+"/GenuineIntel.bin", "x"), dir(ucode+"/GenuineIntel.bin")), "is there twice"},
		{"a file in a file", with(text(ucode+"/GenuineIntel.bin/a", "x")), "isn't a directory"},
		{"another file at the top", with(text("early_cpio2", "x")), "is not below"},
		{"the mark in the place of a directory", with(dir("early_cpio")), "is not below"},
		{"the mark alone", archive(text("early_cpio", "1")), "found none"},
		{"an end with an archive in it", trailerWith(good, archive(text("init", "x"))), "want an end without content"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := initrd.CheckMicrocode(test.image)
			switch {
			case test.says == "" && err != nil:
				t.Error(err)
			case test.says != "" && (!errors.Is(err, initrd.ErrMicrocode) || !strings.Contains(err.Error(), test.says)):
				t.Errorf("found %v, want ErrMicrocode with %q", err, test.says)
			}
		})
	}
}

// trailerWith gives the end of an archive content, which the kernel skips and other
// readers take for what follows.
func trailerWith(image, content []byte) []byte {
	at := bytes.LastIndex(image, []byte("070701"))
	out := bytes.Clone(image)
	copy(out[at+6+6*8:], fmt.Sprintf("%08X", len(content)))
	return append(out, content...)
}

// bootConfig appends a boot configuration as tools/bootconfig of the kernel does.
func bootConfig(image []byte, fill string) []byte {
	text := []byte("kernel.rdinit = /bin/sh\n")
	sum := uint32(0)
	for _, b := range text {
		sum += uint32(b)
	}
	out := append(bytes.Clone(image), text...)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(text)))
	out = binary.LittleEndian.AppendUint32(out, sum)
	return append(append(out, "#BOOTCONFIG\n"...), fill...)
}

// What cpio makes of such a directory is good, with everything that it puts there.
func TestMicrocodeFromCpioIsGood(t *testing.T) {
	top := t.TempDir()
	if err := errors.Join(os.MkdirAll(filepath.Join(top, ucode), 0o755), os.WriteFile(filepath.Join(top, ucode, "AuthenticAMD.bin"), []byte("amd"), 0o644)); err != nil {
		t.Fatal(err)
	}
	for _, list := range []string{"find .", "find kernel"} {
		cmd := exec.Command("sh", "-c", list+" | LC_ALL=C sort | cpio -o -H newc --quiet")
		testutil.RequireTool(t, "cpio")
		cmd.Dir = top
		image, err := cmd.Output()
		if err == nil {
			err = initrd.CheckMicrocode(image)
		}
		if err != nil {
			t.Errorf("%s: %v", list, err)
		}
	}
}

// The kernel takes a boot configuration at the end of an initrd for more of the
// command line. No initrd with one is read, even if it is hidden in what is unpacked.
func TestABootConfigurationIsRefused(t *testing.T) {
	good := archive(text("init", "x"))
	end := bytes.LastIndex(good, []byte("070701"))
	hidden := bytes.Clone(good[:end])
	name := "TRAILER!!!\x00" + string(bootConfig(nil, "")) + "\x00"
	hidden = append(hidden, fmt.Sprintf("070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s", 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, len(name), 0, name)...)
	for name, image := range map[string][]byte{
		"at the end": bootConfig(good, ""), "with a fill": bootConfig(good, "\x00\x00\x00"), "with another fill": bootConfig(good, "abc"), "in the name of the end": hidden,
	} {
		if _, err := initrd.Open(image); !errors.Is(err, initrd.ErrArchive) || !strings.Contains(err.Error(), "boot configuration") {
			t.Errorf("%s: %v, want ErrArchive about a boot configuration", name, err)
		}
	}
	if _, err := initrd.Open(append(bytes.Clone(good), make([]byte, 16)...)); err != nil {
		t.Error(err)
	}
}

// What the kernel would skip is not read as if it were there.
func TestAnEndWithContentIsRefused(t *testing.T) {
	good := archive(text("init", "x"))
	if _, err := initrd.Open(trailerWith(good, archive(text("key", "x")))); !errors.Is(err, initrd.ErrArchive) {
		t.Errorf("found %v, want ErrArchive", err)
	}
}

// What passes as microcode unpacks to nothing else, and leaves the initrd that follows
// it as it is.
func FuzzCheckMicrocode(f *testing.F) {
	f.Add(goodMicrocode())
	f.Add(archive(append(microcodeDirs(), link(ucode+"/a", "/"), text(ucode+"/a/init", "x"))...))
	f.Add(archive(append(microcodeDirs(), dir(ucode+"/a/"), text(ucode+"/a/x", "x"), member{name: ucode + "/h", ino: 1, links: 2, data: "x"})...))
	f.Add(trailerWith(goodMicrocode(), archive(text("init", "x"))))
	main := archive(dir("usr"), text("init", "of the initrd"))
	f.Fuzz(func(t *testing.T, image []byte) {
		if err := initrd.CheckMicrocode(image); err != nil {
			if !errors.Is(err, initrd.ErrMicrocode) {
				t.Errorf("%v is no ErrMicrocode", err)
			}
			return
		}
		both := append(bytes.Clone(image), make([]byte, -len(image)&3)...)
		a, err := initrd.Open(append(both, main...))
		if err != nil {
			t.Fatalf("what is good as microcode is no initrd: %v", err)
		}
		err = fs.WalkDir(a, ".", func(name string, e fs.DirEntry, err error) error {
			below := strings.HasPrefix(ucode+"/", name+"/") || strings.HasPrefix(name, ucode+"/")
			if name != "." && name != "usr" && name != "init" && (!below || !e.IsDir() && !e.Type().IsRegular()) {
				t.Errorf("%s, %v, was taken for microcode", name, e.Type())
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		if text, err := a.ReadFile("init"); err != nil || string(text) != "of the initrd" {
			t.Errorf("init is %q, %v", text, err)
		}
	})
}
