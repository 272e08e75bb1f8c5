package main

import (
	"archive/tar"
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/internal/testing/testutil"
)

// A layered build, what it says, and what of the advice in that works.
func TestLayersAreReadAsRuntimesDoAndOddOnesAreNamed(t *testing.T) {
	const cases = "../../internal/source/tarball/testdata/cases/"
	for _, tt := range []struct {
		name   string
		args   []string
		status int
		stderr string   // all of it, without "mkimage: " at the beginning
		files  []string // in the image
		gone   []string
	}{
		{"opaque marker after a file", []string{"tar:opq-low.tar,opq-dotfile.tar"}, 0,
			`remark: opq-low.tar,opq-dotfile.tar: composefs-rs, which applies whiteouts in the order of the entries, has another "/root/.bashrc": its digest of this image differs; to get its digest say --whiteouts=in-order` + "\n",
			[]string{"/root/.bashrc", "/root/z"}, []string{"/root/old"}},
		{"the same in order", []string{"--whiteouts=in-order", "tar:opq-low.tar,opq-dotfile.tar"}, 0,
			`remark: opq-low.tar,opq-dotfile.tar: "/root/.bashrc" isn't as the OCI image format has it: there whiteouts hide files of lower layers only; for the image as container runtimes have it leave --whiteouts out` + "\n",
			[]string{"/root/z"}, []string{"/root/old", "/root/.bashrc"}},
		{"an unknown rule", []string{"--whiteouts=x", "tar:opq-low.tar"}, exitUsage, "--whiteouts: want oci or in-order, found \"x\"\nsee: mkimage build --help\n", nil, nil},
		{"through a link", []string{"tar:link-lower.tar,link-upper.tar"}, exitFailure,
			`link-upper.tar: entry 1, "lib/new": want a directory at "lib", found a symbolic link to "usr/lib"; to let layers write through links, as container runtimes do, say --follow-layer-links` + "\n", nil, nil},
		{"through a link, as it says", []string{"--follow-layer-links", "tar:link-lower.tar,link-upper.tar"}, 0, "", []string{"/usr/lib/new", "/usr/lib/old"}, []string{"/lib/new"}},
		{"a whiteout through a link", []string{"--follow-layer-links", "tar:wh-low.tar,wh-symlink.tar"}, 0, "", []string{"/secret"}, []string{"/usr/lib/key"}},
		{"without an end", []string{"tar:noend.tar"}, 0, `remark: noend.tar: entry 1, "a": the archive ends here without two blocks of zeros: it may be truncated; to refuse such archives say --strict` + "\n", []string{"/a"}, nil},
		{"without an end, quietly", []string{"--quiet", "tar:noend.tar"}, 0, "", []string{"/a"}, nil},
		{"without an end, strictly", []string{"--strict", "tar:nullblock.tar"}, exitFailure, `nullblock.tar: entry 1, "a": the archive ends here without two blocks of zeros: it may be truncated` + "\n", nil, nil},
		{"lz4", []string{"tar:packed.tar.lz4"}, exitFailure, "packed.tar.lz4: the archive is packed with lz4: want plain, gzip or zstd; unpack it on the way: lz4 -dc packed.tar.lz4 | mkimage build tar:-\n", nil, nil},
		{"a large window", []string{"tar:long-window.tar.zst"}, exitFailure, "long-window.tar.zst: unpacking the archive takes a zstd window of more than 128 MiB, which is the limit; unpack it on the way: zstd --long=31 -dc long-window.tar.zst | mkimage build tar:-\n", nil, nil},
		{"too large", []string{"--max-expansion", "1000", "tar:opq-low.tar"}, exitFailure, `opq-low.tar: entry 2, "root/.bashrc": tar archive goes beyond a limit: it unpacks to more than 1000 bytes; if you trust the archive, raise the limit with --max-expansion BYTES` + "\n", nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			image := filepath.Join(t.TempDir(), "image")
			cmd := program(t, append([]string{"build", "--output", image}, tt.args...)...)
			cmd.Dir = cases
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			_ = cmd.Run()
			if got := strings.TrimPrefix(stderr.String(), "mkimage: "); got != tt.stderr || cmd.ProcessState.ExitCode() != tt.status {
				t.Errorf("status %d, %s\nwant %d, %s", cmd.ProcessState.ExitCode(), got, tt.status, tt.stderr)
			}
			if tt.status != 0 {
				return
			}
			out, err := program(t, "ls", image).CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			has := func(path string) bool { return strings.Contains("\n"+string(out), "\n"+path+"\n") }
			for _, f := range tt.files {
				if !has(f) {
					t.Errorf("%s isn't there: %s", f, out)
				}
			}
			for _, f := range tt.gone {
				if has(f) {
					t.Errorf("%s is there: %s", f, out)
				}
			}
		})
	}
}

// Each command that a message about a packed archive names does what it says.
func TestAPackedArchiveIsReadAsTheMessageSays(t *testing.T) {
	dir := t.TempDir()
	plain := writeIn(t, dir, "plain.tar", archiveOf(t, fileHeader("a", 10_000)))
	want, err := program(t, "build", "tar:"+plain).Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, pack := range [][]string{{"lz4", "-c"}, {"lz4", "-l", "-c"}, {"xz", "-c"}, {"xz", "--format=lzma", "-c"}, {"bzip2", "-c"}} {
		testutil.RequireTool(t, pack[0])
		packed, err := exec.Command(pack[0], append(pack[1:], plain)...).Output()
		if err != nil {
			t.Fatal(pack, err)
		}
		name := writeIn(t, dir, "packed", packed)
		out, err := program(t, "build", "tar:"+name).CombinedOutput()
		_, advice, ok := strings.Cut(string(out), "unpack it on the way: ")
		if err == nil || !ok {
			t.Errorf("%v: %s", pack, out)
			continue
		}
		unpack, rest, _ := strings.Cut(strings.TrimSpace(advice), " "+name+" | ")
		if rest != "mkimage build tar:-" {
			t.Errorf("%v: %s", pack, advice)
		}
		args := strings.Fields(unpack)
		unpacked, err := exec.Command(args[0], append(args[1:], name)...).Output()
		if err != nil {
			t.Fatal(args, err)
		}
		build := program(t, "build", "tar:-")
		build.Stdin = bytes.NewReader(unpacked)
		if got, err := build.Output(); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%v: %s, want %s: %v", pack, got, want, err)
		}
	}
}

// A name that is the magic number of a compression is a name all the same.
func TestAnArchiveIsNotTakenForAPackedOne(t *testing.T) {
	for _, name := range []string{"BZh", "]", "LZIP", "BZh91AY&SYarchive"} {
		for _, format := range []tar.Format{tar.FormatUSTAR, tar.FormatGNU} {
			h := fileHeader(name, 5)
			h.Format = format
			archive := writeIn(t, t.TempDir(), "a.tar", archiveOf(t, h))
			if out, err := program(t, "build", "tar:"+archive).CombinedOutput(); err != nil {
				t.Errorf("%q: %v: %s", name, err, out)
			}
		}
	}
}
