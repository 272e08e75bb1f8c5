package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/internal/testing/testutil"
)

// layouts are container images, and what cfsctl 0.9.4 makes of them: ids.json has what its
// oci compute-id prints for our flags, "" where it refuses the image.
const layouts = "testdata/oci/layouts/"

// We read what cfsctl refuses.
var ociMore = map[string]string{
	"implicit-parents": "a directory without an entry",
	"implicit-usr":     "a directory without an entry",
	"docker-schema2":   "media types of docker",
	"mtime-negative":   "a time before 1970",
	"no-eof-blocks":    "no end of the archive",
	"sparse-gnu":       "a sparse file",
}

// We refuse what cfsctl reads.
var ociLess = map[string]string{
	"wrong-diff-id": "want the diff_id",
	"name-256":      "at most 255 are allowed",
}

func TestComputeIDPrintsWhatCfsctlPrints(t *testing.T) {
	var all map[string]map[string]string
	if err := json.Unmarshal(testutil.ReadFile(t, "testdata/oci/ids.json"), &all); err != nil {
		t.Fatal(err)
	}
	for image, ids := range all {
		t.Run(strings.ReplaceAll(image, ":", "-"), func(t *testing.T) {
			equal := 0
			for _, flags := range slices.Sorted(maps.Keys(ids)) {
				args := append(strings.Fields("mkimage oci compute-id --quiet --platform linux/amd64 "+flags), "oci:"+layouts+image)
				if image == "whiteouts" {
					args = append(args, "--whiteouts=in-order")
				}
				out, status := call(t, nil, args...)
				got, want := strings.TrimSpace(out), ids[flags]
				switch {
				case ociLess[image] != "" && status == 0:
					t.Errorf("%s: found %s, want it refused: %s", flags, got, ociLess[image])
				case ociLess[image] != "", ociMore[image] != "" && want == "" && (status == 0 || strings.Contains(flags, "--bootable")):
				case got != want || (status == 0) != (want != ""):
					t.Errorf("%s: found %q with status %d, want %q", flags, got, status, want)
				case want != "":
					equal++
				}
			}
			t.Logf("%d ids are equal", equal)
		})
	}
	if all["basic-plain"]["--digest sha256 --format v1"] == "" {
		t.Error("the ids of cfsctl are missing")
	}
}

func TestWhatIsWrongWithAContainerImageIsSaid(t *testing.T) {
	for _, c := range []struct {
		image string
		args  []string
		says  string
	}{
		{"oci:" + layouts + "wrong-diff-id", nil, `layer 1: want the diff_id sha256:0000000000000000000000000000000000000000000000000000000000000000, found sha256:b30df87b`},
		{"oci:" + damaged(t, layouts+"basic-gzip"), nil, "layer 1: want the digest sha256:"},
		{"oci:" + layouts + "two-tags", nil, "there are several images: one, two; add :NAME of one of them"},
		{"oci:" + layouts + "two-tags:three", nil, `want the image "three", found one, two; add :NAME`},
		{"oci:" + layouts + "two-tags:two@sha256:" + strings.Repeat("0", 64), nil, `want the manifest sha256:0000000000000000000000000000000000000000000000000000000000000000, found sha256:`},
		{"oci:" + layouts + "two-tags@sha256:" + strings.Repeat("0", 64), nil, `want the image "sha256:0000`},
		{"oci:" + layouts + "artifact-a", nil, `its media type "application/vnd.oci.empty.v1+json" isn't one of a container image; name an image with files`},
		{"oci:" + layouts + "multi-arch-flat", []string{"--platform", "linux/riscv64"}, "want an image for linux/riscv64, found images for linux/amd64, linux/arm64; choose one of them with --platform"},
		{"oci:" + layouts + "multi-arch-flat", []string{"--platform", "linux"}, "--platform: \"linux\": want a platform OS/ARCHITECTURE[/VARIANT]"},
		{"oci:testdata", nil, "testdata: it isn't an OCI layout: it has no file oci-layout"},
		{"oci:nosuch", nil, "nosuch: no such file or directory"},
		{"oci:", nil, "there is no path"},
		{"oci:x:", nil, "there is no tag after the colon"},
		{"oci:x@sha256:12", nil, "want 64 hexadecimal digits"},
		{"docker://", nil, "want docker://HOST/NAME[:TAG]"},
		{"oci-archive:testdata/oci/ids.json", nil, "ids.json"},
		{"docker-archive:testdata", nil, "testdata: want an archive, found a directory"},
	} {
		out, status := callBoth(t, append([]string{"mkimage", "build", c.image}, c.args...)...)
		if status == 0 || !strings.Contains(out, c.says) {
			t.Errorf("%s: want a refusal that says %q, found status %d:\n%s", c.image, c.says, status, out)
		}
	}
}

func TestInspectShowsWhatAContainerImageConsistsOf(t *testing.T) {
	const image = "oci:" + layouts + "whiteouts"
	out, status := call(t, nil, "mkimage", "oci", "inspect", image)
	for _, want := range []string{"manifest  sha256:addbdd73", "config    sha256:86a7a9bc", "platform  linux/amd64", "layer 1   diff_id sha256:", "layer 3   diff_id sha256:", "stored as sha256:", "application/vnd.oci.image.layer.v1.tar"} {
		if status != 0 || !strings.Contains(out, want) {
			t.Errorf("want %q, found status %d:\n%s", want, status, out)
		}
	}
	for flag, want := range map[string]string{"--manifest": "addbdd7360e207a8c1e9e5f1f03f21b528cfdfd0eb7bb2c5c08a6b91c42c40dd", "--config": "86a7a9bcf8d69a63a68428303d0cf949bc1cb99442528d24c08bdbaffd49df8a"} {
		out, _ := call(t, nil, "mkimage", "oci", "inspect", flag, image)
		if out != string(testutil.ReadFile(t, layouts+"whiteouts/blobs/sha256/"+want)) {
			t.Errorf("%s: found %s", flag, out)
		}
	}
}

// A tree has one digest, as a layout, as archives of it, and as its layers.
func TestAContainerImageHasTheDigestOfItsLayers(t *testing.T) {
	for _, tool := range []string{"tar", "gzip", "sh"} {
		testutil.RequireTool(t, tool)
	}
	dir := t.TempDir()
	abs, err := filepath.Abs(layouts + "hardlinks-cross-layer")
	if err != nil {
		t.Fatal(err)
	}
	if out, status := shell(t, dir, `tar -C "$1" -cf a.tar . && gzip -k a.tar`, abs); status != 0 {
		t.Fatal(out)
	}
	bootable, _ := call(t, nil, "mkimage", "oci", "compute-id", "--bootable", "oci:"+layouts+"bootable")
	if got, _ := call(t, nil, "mkimage", "build", "--boot=composefs-rs-0.9.4", "oci:"+layouts+"bootable"); got != bootable || got == "" {
		t.Errorf("to boot from: build prints %s, compute-id %s", got, bootable)
	}
	config, _ := call(t, nil, "mkimage", "oci", "inspect", "--json", "oci:"+abs)
	var report ociReport
	if err := json.Unmarshal([]byte(config), &report); err != nil || len(report.Layers) < 2 {
		t.Fatalf("%v: %s", err, config)
	}
	var files []string
	for _, l := range report.Layers {
		files = append(files, filepath.Join(abs, "blobs", strings.Replace(l.Digest, ":", "/", 1)))
	}
	want, _ := call(t, nil, "mkimage", "build", "tar:"+strings.Join(files, ","))
	for _, source := range []string{"oci:" + abs, "oci:" + abs + "@" + report.Digest, "oci-archive:" + dir + "/a.tar", "oci-archive:" + dir + "/a.tar.gz"} {
		if got, _ := call(t, nil, "mkimage", "build", source); got != want || want == "" {
			t.Errorf("%s: found %s, want %s", source, got, want)
		}
	}
}

// damaged copies a layout, and changes a byte in the middle of its largest blob.
func damaged(t *testing.T, from string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "layout")
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	blobs, err := filepath.Glob(dir + "/blobs/sha256/*")
	if err != nil {
		t.Fatal(err)
	}
	name, content := "", []byte(nil)
	for _, blob := range blobs {
		if b := testutil.ReadFile(t, blob); len(b) > len(content) {
			name, content = blob, b
		}
	}
	content[len(content)/2] ^= 0xff
	if err := os.WriteFile(name, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// callBoth returns what a command prints to both of its outputs.
func callBoth(t *testing.T, args ...string) (out string, status int) {
	t.Helper()
	var both bytes.Buffer
	status = dispatch(t.Context(), args, newUI(strings.NewReader(""), &both, &both))
	return both.String(), status
}

// The trees of stored container images are the ones that cfsctl oci dump prints.
func TestDumpsOfStoredImagesAreThoseOfCfsctl(t *testing.T) {
	dumps, err := filepath.Glob("testdata/oci/dumps/*.dump")
	if err != nil || len(dumps) < 20 {
		t.Fatal(dumps, err)
	}
	tags := map[string]string{"two-tags": ":two", "with-referrer": ":img"}
	for _, dump := range dumps {
		name, bootable := strings.CutSuffix(strings.TrimSuffix(filepath.Base(dump), ".dump"), ".boot")
		if ociLess[name] != "" {
			continue
		}
		t.Run(filepath.Base(dump), func(t *testing.T) {
			repo := filepath.Join(t.TempDir(), "repo")
			pull := strings.Fields("mkimage oci pull --quiet --platform linux/amd64 --whiteouts in-order --repo")
			if _, status := call(t, nil, append(pull, repo, "oci:"+layouts+name+tags[name], "t")...); status != 0 {
				t.Fatal("status", status)
			}
			args := strings.Fields("mkimage oci dump --quiet --whiteouts in-order t --repo " + repo)
			if bootable {
				args = append(args, "--bootable")
			}
			out, status := call(t, nil, args...)
			if want := string(testutil.ReadFile(t, dump)); status != 0 || out != want {
				t.Errorf("status %d, found %d bytes, want %d", status, len(out), len(want))
			}
		})
	}
}
