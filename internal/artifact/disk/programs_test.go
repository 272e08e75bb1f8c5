package disk_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/bootcfg/uki"
	"github.com/composefs-go/composefs/internal/artifact/disk"
	"github.com/composefs-go/composefs/internal/testing/testutil"
)

const (
	ia32, amd64, arm64, riscv64 = 0x014c, 0x8664, 0xaa64, 0x5064
)

// onDisk writes content to a file.
func onDisk(t *testing.T, content []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// ukiOf is a UKI for a machine, with these sections and no more.
func ukiOf(t *testing.T, machine uint16, names ...string) string {
	t.Helper()
	var sections []uki.Section
	for _, name := range names {
		sections = append(sections, uki.Section{Name: name, Data: []byte("x")})
	}
	program, err := uki.Build(testutil.EFIStub(machine, ""), sections)
	if err != nil {
		t.Fatal(err)
	}
	return onDisk(t, program)
}

// A UKI is put where the firmware of its machine looks, and says which machine that is.
func TestUKIIsPutWhereFirmwareLooks(t *testing.T) {
	for machine, want := range map[uint16]string{ia32: "EFI/BOOT/BOOTIA32.EFI", amd64: "EFI/BOOT/BOOTX64.EFI", arm64: "EFI/BOOT/BOOTAA64.EFI", riscv64: "EFI/BOOT/BOOTRISCV64.EFI"} {
		var esp disk.ESP
		if _, known := esp.Arch(); known {
			t.Error("an empty partition is for some machine")
		}
		if err := esp.AddUKI(ukiOf(t, machine, ".initrd", ".linux")); err != nil {
			t.Error(err)
			continue
		}
		a, _ := uki.ArchOfMachine(machine)
		if got, known := esp.Arch(); esp.Entries[0].Path != want || machine != ia32 && (!known || got != a) {
			t.Errorf("%s: found it at %s, for %v", a.Go, esp.Entries[0].Path, got.Go)
		}
	}
}

// What would boot without an initrd, or isn't for a machine that is known, is no UKI.
func TestOnlyUKIsAreStartedByFirmware(t *testing.T) {
	for _, test := range []struct{ name, file, lacks, says string }{
		{"no initrd", ukiOf(t, amd64, ".linux"), ".initrd", "want a UKI with an initrd in it (.initrd), found none"},
		{"no kernel", ukiOf(t, amd64, ".initrd"), ".linux", "without a kernel in it (.linux)"},
		{"another machine", ukiOf(t, 0x1234, ".initrd", ".linux"), "", "machine type 0x1234"},
		{"a text", onDisk(t, []byte("text")), "", "not a valid EFI program"},
		{"nothing", filepath.Join(t.TempDir(), "nothing"), "", "no such file"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var esp disk.ESP
			err := esp.AddUKI(test.file)
			if err == nil || !strings.Contains(err.Error(), test.says) || len(esp.Entries) > 0 {
				t.Fatalf("want %q, found %v", test.says, err)
			}
			var not *disk.NotUKIError
			if errors.As(err, &not) != (test.lacks != "") || not != nil && not.Lacks != test.lacks {
				t.Errorf("found %#v", not)
			}
		})
	}
}

// The programs of a partition are for one machine, which their names don't contradict; what
// isn't a program may be for any.
func TestProgramsAreForOneMachine(t *testing.T) {
	text := onDisk(t, []byte("title A\n"))
	for _, test := range []struct {
		name  string
		files map[string]string // in the order of their names
		says  string
	}{
		{"one", map[string]string{"EFI/Linux/a.efi": ukiOf(t, amd64, ".linux")}, ""},
		{"two", map[string]string{"EFI/Linux/a.efi": ukiOf(t, arm64, ".linux"), "EFI/BOOT/BOOTAA64.EFI": ukiOf(t, arm64)}, ""},
		{"two machines", map[string]string{"EFI/Linux/a.efi": ukiOf(t, amd64), "EFI/Linux/b.efi": ukiOf(t, arm64)}, "EFI/Linux/b.efi: parts of different architectures: it is for arm64, and EFI/Linux/a.efi is for amd64"},
		{"the name of another machine", map[string]string{"efi/boot/bootaa64.efi": ukiOf(t, amd64)}, "firmware of arm64 machines starts BOOTAA64.EFI, and the program is for amd64"},
		{"a name of no machine", map[string]string{"EFI/BOOT/BOOTSTRAP.EFI": ukiOf(t, amd64)}, ""},
		{"a loader for 32-bit firmware", map[string]string{"EFI/BOOT/BOOTIA32.EFI": ukiOf(t, ia32), "EFI/BOOT/BOOTX64.EFI": ukiOf(t, amd64)}, ""},
		{"a program for 32 bits elsewhere", map[string]string{"EFI/BOOT/BOOTX64.EFI": ukiOf(t, amd64), "EFI/Linux/a.efi": ukiOf(t, ia32)}, "it is for 386"},
		{"texts", map[string]string{"loader/entries/a.conf": text, "/loader//loader.conf": text}, ""},
		{"a path that leads out", map[string]string{"../x": text}, "want the path of a file below the root"},
		{"no path", map[string]string{"": text}, "want the path of a file below the root"},
		{"a directory", map[string]string{"loader/": text}, "want the path of a file below the root"},
		{"nothing", map[string]string{"a": text + "-"}, "no such file"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var esp disk.ESP
			var err error
			for _, name := range sortedNames(test.files) {
				if err = esp.Add(name, test.files[name]); err != nil {
					break
				}
			}
			if (err == nil) != (test.says == "") || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Fatalf("want %q, found %v", test.says, err)
			}
		})
	}
}

func sortedNames(files map[string]string) (names []string) {
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// An entry has the content of its file, under a clean name.
func TestEntriesHaveTheirContent(t *testing.T) {
	var esp disk.ESP
	if err := esp.Add("/loader//entries/./a.conf", onDisk(t, []byte("title A\n"))); err != nil {
		t.Fatal(err)
	}
	e := esp.Entries[0]
	r, err := e.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	content, err := io.ReadAll(r)
	if err != nil || string(content) != "title A\n" || e.Size != 8 || e.Path != "loader/entries/a.conf" {
		t.Errorf("found %q of %d bytes at %s, error %v", content, e.Size, e.Path, err)
	}
}
