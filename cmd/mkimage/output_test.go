package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/testing/testutil"
	"github.com/composefs-go/composefs/verity"
)

// writers are the command lines by which a file is written that the user names, by
// flag. What they read needn't be there: the name is looked at first.
var writers = map[string][]string{
	"build --output":          {"build", "ROOT"},
	"build --one-use-key":     {"build", "--repo", "repo", "ROOT"},
	"build --cache":           {"build", "ROOT"},
	"seal --output":           {"seal", "--repo", "repo", "--statement-only", "--sequence", "1", "image"},
	"seal --one-use-key":      {"seal", "--repo", "repo", "image"},
	"initrd --output":         {"initrd", "--modules", "modules"},
	"uki build --output":      {"uki", "build", "--linux", "linux", "--initrd", "initrd"},
	"uki addon --output":      {"uki", "addon"},
	"uki sign --output":       {"uki", "sign", "--sb-key", "key", "--sb-cert", "cert", "linux.efi"},
	"uki sign --to-be-signed": {"uki", "sign", "linux.efi"},
	"disk --output":           {"disk", "--repo", "repo", "--image", "image", "--uki", "linux.efi"},
}

// isRead reports whether a flag names no file, or one that is read.
func isRead(flag *pflag.Flag) bool {
	name, _ := pflag.UnquoteUsage(flag)
	return name != "FILE" || !strings.Contains(flag.Usage, "write ") && !strings.Contains(flag.Usage, "remember in")
}

func TestEveryFlagThatWritesAFileIsTried(t *testing.T) {
	var walk func(cmd *cobra.Command, path string)
	walk = func(cmd *cobra.Command, path string) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if _, known := writers[path+" --"+f.Name]; !known && !isRead(f) {
				t.Errorf("%s --%s writes a file and is in no test", path, f.Name)
			}
		})
		for _, sub := range cmd.Commands() {
			walk(sub, strings.TrimSpace(path+" "+sub.Name()))
		}
	}
	for _, add := range commands {
		cmd := add(newUI(nil, io.Discard, io.Discard))
		walk(cmd, cmd.Name())
	}
}

// mkimageIn runs a command line in this process.
func mkimageIn(t *testing.T, args ...string) (status int, out, errs string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	status = run(t.Context(), args, newUI(strings.NewReader(""), &stdout, &stderr))
	return status, stdout.String(), stderr.String()
}

func TestNothingButAFileIsReplaced(t *testing.T) {
	testutil.RequireRoot(t) // to make devices
	dir := t.TempDir()
	for name, make := range map[string]func(path string) error{
		"character device": func(p string) error { return unix.Mknod(p, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 7))) },
		"block device":     func(p string) error { return unix.Mknod(p, unix.S_IFBLK|0o600, int(unix.Mkdev(7, 250))) },
		"socket":           func(p string) error { return unix.Mknod(p, unix.S_IFSOCK|0o600, 0) },
		"directory":        func(p string) error { return os.Mkdir(p, 0o700) },
	} {
		path, link := filepath.Join(dir, name), filepath.Join(dir, "link to "+name)
		if err := make(path); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(name, link); err != nil {
			t.Fatal(err)
		}
		before, _ := os.Lstat(path)
		for flag, args := range writers {
			for _, target := range []string{path, link} {
				status, _, errs := mkimageIn(t, append(slices.Clone(args), flag[strings.Index(flag, "--"):], target)...)
				if status == 0 || !strings.Contains(errs, target) || !strings.Contains(errs, "a "+name) || strings.Contains(errs, ".tmp-") {
					t.Errorf("%s %s: status %d: %s", flag, target, status, errs)
				}
			}
		}
		if after, err := os.Lstat(path); err != nil || !os.SameFile(before, after) || after.Mode() != before.Mode() {
			t.Errorf("the %s has become %v, %v", name, after, err)
		}
		if st, err := os.Lstat(link); err != nil || st.Mode()&os.ModeSymlink == 0 {
			t.Errorf("the link has become %v, %v", st, err)
		}
	}
}

// small is a tree for an image of a few bytes; it is where the test runs.
func small(t *testing.T) (image []byte) {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.MkdirAll("root/usr", 0o755); err != nil {
		t.Fatal(err)
	}
	if status, _, errs := mkimageIn(t, "build", "--output", "image", "root"); status != 0 {
		t.Fatal(errs)
	}
	image, err := os.ReadFile("image")
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func TestALinkStaysAndItsFileIsReplaced(t *testing.T) {
	image := small(t)
	os.Mkdir("elsewhere", 0o755)
	for _, name := range []string{"new", "old"} {
		os.Symlink("elsewhere/"+name, name)
	}
	os.WriteFile("elsewhere/old", []byte("old"), 0o644)
	for _, name := range []string{"new", "old"} {
		if status, _, errs := mkimageIn(t, "build", "--output", name, "root"); status != 0 {
			t.Fatal(errs)
		}
		if target, err := os.Readlink(name); target != "elsewhere/"+name {
			t.Errorf("the link is %q, %v", target, err)
		}
		if got, err := os.ReadFile("elsewhere/" + name); !bytes.Equal(got, image) {
			t.Errorf("%s: found %d bytes, %v", name, len(got), err)
		}
	}
}

func TestStandardOutputGetsTheImageAndStandardErrorTheResult(t *testing.T) {
	image := small(t)
	for _, args := range [][]string{
		{"--output", "-"}, {"--output", "/dev/stdout"}, {"--output", "-", "--quiet"},
		{"--output", "-", "--repo", "repo"}, {"--output", "-", "--json"},
	} {
		status, out, errs := mkimageIn(t, append([]string{"build", "root"}, args...)...)
		if status != 0 || out != string(image) || !strings.Contains(errs, verity.Sum(verity.SHA256, image).Hex()) {
			t.Errorf("%v: status %d, %d bytes, %s", args, status, len(out), errs)
		}
	}
}

func TestAPipeAndTheNullDeviceAreWrittenTo(t *testing.T) {
	image := small(t)
	if status, _, errs := mkimageIn(t, "build", "--output", os.DevNull, "root"); status != 0 {
		t.Error(errs)
	}
	if st, err := os.Stat(os.DevNull); err != nil || st.Mode()&os.ModeCharDevice == 0 {
		t.Fatalf("%s has become %v, %v", os.DevNull, st, err)
	}
	if err := unix.Mkfifo("fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	got := make(chan []byte)
	go func() {
		b, _ := os.ReadFile("fifo")
		got <- b
	}()
	if status, _, errs := mkimageIn(t, "build", "--output", "fifo", "root"); status != 0 {
		t.Error(errs)
	}
	if !bytes.Equal(<-got, image) {
		t.Error("the pipe got something else")
	}
}

func TestWhatIsReadAgainGoesIntoNoPipe(t *testing.T) {
	small(t)
	if err := unix.Mkfifo("fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	for _, cache := range []string{"fifo", os.DevNull, "/dev/stdout", "-"} {
		status, out, errs := mkimageIn(t, "build", "--cache", cache, "--output", "new", "root")
		if _, err := os.Stat("new"); err == nil || status != exitFailure || out != "" || !strings.Contains(errs, "write "+cache+": want a regular file") {
			t.Errorf("%s: status %d: %s%s", cache, status, out, errs)
		}
	}
}

func TestADiskIsNotWrittenThroughAPipe(t *testing.T) {
	for _, name := range []string{"-", os.DevNull} {
		status, _, errs := mkimageIn(t, "disk", "--repo", "repo", "--image", "image", "--uki", "linux.efi", "--output", name)
		if status != exitUsage || !strings.Contains(errs, "name a file") {
			t.Errorf("%s: status %d: %s", name, status, errs)
		}
	}
}

func TestWriteDeviceWantsAWholeDisk(t *testing.T) {
	t.Chdir(t.TempDir())
	os.WriteFile("file", []byte("text"), 0o644)
	status, _, errs := mkimageIn(t, "disk", "--repo", "repo", "--image", "image", "--uki", "linux.efi", "--write-device", "--output", "file")
	if status != exitUsage || !strings.Contains(errs, "leave --write-device out") {
		t.Errorf("status %d: %s", status, errs)
	}
	if text, _ := os.ReadFile("file"); string(text) != "text" {
		t.Errorf("the file has become %q", text)
	}
}
