package disk_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/internal/artifact/disk"
	"github.com/composefs-go/composefs/internal/testing/testutil"
)

// A name that FAT can't hold, or would hold as another one, is refused and not changed.
func TestFATNamesAreRefused(t *testing.T) {
	for _, test := range []struct {
		name  string
		paths []string
		says  string
	}{
		{"an umlaut", []string{"EFI/Linux/größe.efi"}, "the character 'ö'"},
		{"a directory with an umlaut", []string{"größe/a"}, "the character 'ö'"},
		{"beyond U+FFFF", []string{"😀"}, "the character '😀'"},
		{"not UTF-8", []string{"a\xff"}, "the character"},
		{"a dot at the end", []string{"trail."}, "at the end of the name"},
		{"a space at the end", []string{"EFI/trail "}, "at the end of the name"},
		{"a star", []string{"a*b"}, "the character '*'"},
		{"a colon", []string{"a:b"}, "the character ':'"},
		{"a backslash", []string{`a\b`}, `the character '\\'`},
		{"a control character", []string{"a\x01b"}, `the character '\x01'`},
		{"a device of DOS", []string{"EFI/aux"}, "DOS has a device of that name"},
		{"a device with a suffix", []string{"EFI/Com1.cfg"}, "DOS has a device of that name"},
		{"256 characters", []string{strings.Repeat("x", 256)}, "too long"},
		{"two files that are one", []string{"EFI/a.efi", "efi/A.EFI"}, `"EFI/a.efi" and "efi/A.EFI" are one file on FAT`},
		{"the same file twice", []string{"EFI/a.efi", "EFI/a.efi"}, "twice"},
		{"a file and a directory", []string{"EFI/a", "efi/A/b"}, "not a directory"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var esp []disk.Entry
			for _, p := range test.paths {
				esp = append(esp, file(p))
			}
			_, err := disk.MakePlan(disk.Image{Arch: "amd64", ESP: esp})
			if !errors.Is(err, disk.ErrEntry) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("want %v saying %q, found %v", disk.ErrEntry, test.says, err)
			}
		})
	}
	link := disk.Entry{Path: "a", Mode: fs.ModeSymlink, Target: "b"}
	if _, err := disk.MakePlan(disk.Image{Arch: "amd64", ESP: []disk.Entry{link}}); !errors.Is(err, disk.ErrEntry) {
		t.Errorf("a symlink: %v", err)
	}
	// The root partition takes what FAT doesn't.
	if _, err := disk.MakePlan(disk.Image{Arch: "amd64", Root: []disk.Entry{file("größe."), file("a"), file("A"), file("aux"), file("a\xff\xfe")}}); err != nil {
		t.Error(err)
	}
}

// Directories that differ in case are one, with the spelling that came first, and
// every name that is allowed reads as it was written.
func TestFATNamesAreKept(t *testing.T) {
	requireTools(t)
	for _, tool := range []string{"mdir", "fsck.fat"} {
		testutil.RequireTool(t, tool)
	}
	want := []string{
		"EFI/BOOT/BOOTX64.EFI", "EFI/BOOT/grub.cfg", "EFI/Linux/Linux.Efi", "loader/loader.conf", "console", "aux1", "a b;c=d,e+f'g.h.i",
		"con~1", "console.log", "console.logs", strings.Repeat("x", 100), ".hidden", "MiXeD.TxT",
	}
	given := slices.Clone(want)
	given[1], given[2], given[3] = "efi/boot/grub.cfg", "efi/Linux/Linux.Efi", "loader/loader.conf"
	im := disk.Image{Arch: "amd64", ESPSize: 34 << 20}
	for _, p := range given {
		im.ESP = append(im.ESP, file(p))
	}
	name := filepath.Join(t.TempDir(), "disk")
	if err := disk.Write(context.Background(), name, im, nil); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("mdir", "-i", name+"@@1M", "-b", "-/", "::").Output()
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for line := range strings.Lines(string(out)) {
		if p := strings.TrimPrefix(strings.TrimSpace(line), "::/"); !strings.HasSuffix(p, "/") {
			found = append(found, p)
		}
	}
	slices.Sort(want)
	slices.Sort(found)
	if !slices.Equal(found, want) {
		t.Errorf("the file system has %q, want %q", found, want)
	}
	fat := filepath.Join(t.TempDir(), "fat")
	if out, err := exec.Command("dd", "if="+name, "of="+fat, "bs=1M", "skip=1", fmt.Sprintf("count=%d", 34)).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := exec.Command("fsck.fat", "-n", fat).CombinedOutput(); err != nil {
		t.Errorf("fsck.fat: %v: %s", err, out)
	}
}
