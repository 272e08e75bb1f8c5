// Package archtest holds the import rules of ARCHITECTURE.md.
package archtest

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/composefs-go/composefs/"

// allowed says, for each package of ours, which others of ours and which modules
// of others it may import. What isn't listed is forbidden; the reason for a row
// is in ARCHITECTURE.md.
var allowed = map[string][]string{
	"verity":               {"golang.org/x/sys"},
	"sign":                 {"verity", "aead.dev/minisign"},
	"bootcfg":              {"verity", "sign", "github.com/BurntSushi/toml"},
	"bootcfg/uki":          {},
	"sign/secureboot":      {"github.com/foxboron/go-uefi"},
	"internal/kernel":      {"golang.org/x/sys"},
	"internal/kmsg":        {"golang.org/x/sys"},
	"internal/version":     {},
	"internal/tpm":         {"golang.org/x/sys"},
	"internal/testutil":    {},
	"internal/testtree":    {"golang.org/x/sys"},
	"internal/archtest":    {},
	"internal/tree":        {"verity"},
	"internal/osfile":      {"internal/kernel", "golang.org/x/sys"},
	"internal/dumpfile":    {"internal/tree", "verity"},
	"internal/tarball":     {"internal/tree", "verity", "github.com/klauspost/compress", "golang.org/x/sync"},
	"internal/crfs":        {"internal/tree"},
	"internal/treediff":    {"internal/tree", "verity"},
	"internal/transform":   {"internal/tree", "verity", "github.com/dlclark/regexp2"},
	"internal/directory":   {"internal/osfile", "internal/tree", "verity", "golang.org/x/sys", "golang.org/x/sync"},
	"internal/digestcache": {"internal/osfile", "verity", "golang.org/x/sys"},
	"erofs":                {"internal/tree", "verity"},
	"internal/mount":       {"internal/kernel", "internal/osfile", "golang.org/x/sys"},
	"internal/blockdev":    {"internal/osfile", "golang.org/x/sys"},
	"internal/repo":        {"verity", "sign", "erofs", "internal/osfile", "golang.org/x/sys"},
	"internal/setup": {"bootcfg", "verity", "sign", "erofs", "internal/mount", "internal/blockdev", "internal/osfile",
		"internal/kernel", "internal/kmsg", "internal/tpm", "golang.org/x/sys"},
	"internal/initrd":          {"github.com/u-root/u-root", "github.com/klauspost/compress", "github.com/pierrec/lz4", "github.com/ulikunitz/xz"},
	"internal/doctor":          {"bootcfg", "bootcfg/uki", "sign", "sign/secureboot", "verity", "erofs", "internal/initrd", "internal/blockdev"},
	"internal/disk":            {"verity", "internal/osfile", "golang.org/x/sys"},
	"internal/kernelview":      {"erofs", "internal/tree", "golang.org/x/sys"},
	"dracut":                   {},
	"cmd/composefs-setup-root": {"internal/setup", "internal/version", "bootcfg", "sign", "internal/kmsg", "golang.org/x/sys"},
	"cmd/mkimage": {"internal/version", "verity", "sign", "bootcfg", "bootcfg/uki", "sign/secureboot", "erofs", "internal/tree", "internal/dumpfile", "internal/tarball", "internal/crfs", "internal/transform", "internal/treediff",
		"internal/directory", "internal/digestcache", "internal/repo", "internal/initrd", "internal/disk", "internal/doctor", "internal/osfile", "internal/mount", "internal/kernel",
		"github.com/spf13/cobra", "github.com/spf13/pflag", "golang.org/x/term", "golang.org/x/sys"},
}

type listed struct {
	ImportPath string
	Imports    []string
}

func TestImportsPointDown(t *testing.T) {
	for p := range goList(t, module+"...") {
		name := strings.TrimPrefix(p.ImportPath, module)
		rules, ok := allowed[name]
		if !ok {
			t.Errorf("package %s has no row in the table of import rules: add it here and to ARCHITECTURE.md", name)
		}
		for _, imported := range p.Imports {
			if !permits(rules, imported) {
				t.Errorf("%s imports %s, which its row in ARCHITECTURE.md doesn't allow", name, imported)
			}
		}
	}
}

func permits(rules []string, imported string) bool {
	if first, _, _ := strings.Cut(imported, "/"); !strings.Contains(first, ".") {
		return true // the standard library
	}
	ours, isOurs := strings.CutPrefix(imported, module)
	for _, r := range rules {
		if isOurs && r == ours || !isOurs && (imported == r || strings.HasPrefix(imported, r+"/")) {
			return true
		}
	}
	return false
}

// goList yields the packages of the pattern.
func goList(t *testing.T, pattern string) func(func(listed) bool) {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", pattern).Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	return func(yield func(listed) bool) {
		for d := json.NewDecoder(strings.NewReader(string(out))); ; {
			var p listed
			if err := d.Decode(&p); errors.Is(err, io.EOF) {
				return
			} else if err != nil {
				t.Errorf("go list: %v", err)
				return
			}
			if !yield(p) {
				return
			}
		}
	}
}
