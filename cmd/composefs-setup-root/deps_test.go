package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/composefs-go/composefs/"

// never are the packages that the initramfs must not link, each with the reason.
// A name that ends in a slash stands for all below it.
var never = map[string]string{
	"net":                   "the initramfs stays offline",
	"net/":                  "the initramfs stays offline",
	"crypto/tls":            "the initramfs stays offline",
	"crypto/x509":           "keys are minisign's",
	"os/exec":               "it starts no other program",
	"os/user":               "there are no users",
	"regexp":                "80 KB",
	"text/template":         "it keeps the linker from dropping methods",
	"html/":                 "it keeps the linker from dropping methods",
	"archive/":              "nothing is unpacked",
	"compress/":             "nothing is unpacked",
	"debug/":                "large, and for other inputs",
	"log/slog":              "400 KB; internal/boot/kmsg says one line",
	"plugin":                "the program is static",
	"runtime/cgo":           "the program is static",
	"github.com/foxboron/":  "Secure Boot belongs to building",
	"github.com/hanwen/":    "FUSE belongs to mkimage",
	"github.com/klauspost/": "nothing is unpacked",
	"github.com/u-root/":    "mounting is internal/boot/mount",
}

func goList(t *testing.T, args ...string) []string {
	t.Helper()
	c := exec.Command("go", append([]string{"list"}, args...)...)
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := c.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	return strings.Fields(string(out))
}

func TestTheInitramfsLinksOnlyWhatItMay(t *testing.T) {
	for _, p := range goList(t, "-deps", ".") {
		for name, why := range never {
			if p == name || strings.HasSuffix(name, "/") && strings.HasPrefix(p, name) {
				t.Errorf("the initramfs links %s: %s", p, why)
			}
		}
	}
	// The TOML reader brings encoding/json along; ours have no business with it.
	for _, p := range goList(t, "-f", "{{if not .Standard}}{{.ImportPath}}:{{join .Imports \",\"}}{{end}}", "-deps", ".") {
		name, imports, _ := strings.Cut(p, ":")
		if strings.HasPrefix(name, module) && slices.Contains(strings.Split(imports, ","), "encoding/json") {
			t.Errorf("%s imports encoding/json: a record of a few lines is written by hand", name)
		}
	}
}

// maxSize is 3 MiB: the most that the program may ever have.
const maxSize = 3 << 20

// A commit that makes the program more than 2 % larger has to say so, by
// changing the number in testdata/size.amd64.
func TestTheProgramIsSmall(t *testing.T) {
	text, err := os.ReadFile("testdata/size.amd64")
	if err != nil {
		t.Fatal(err)
	}
	recorded, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "composefs-setup-root")
	c := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-gcflags=all=-l", "-o", name, ".")
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes, recorded are %d", info.Size(), recorded)
	if info.Size() > maxSize {
		t.Errorf("the program has %d bytes, more than %d", info.Size(), maxSize)
	}
	if most := recorded + recorded/50; info.Size() > most {
		t.Errorf("the program has %d bytes, more than 2 %% above the %d recorded in testdata/size.amd64", info.Size(), recorded)
	}
}
