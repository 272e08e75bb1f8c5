// Package archtest holds the import rules of ARCHITECTURE.md.
package archtest

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/composefs-go/composefs/"

// allowed says, for each package of ours, which others of ours and which modules
// of others it may import. What isn't listed is forbidden; the reason for a row
// is in ARCHITECTURE.md.
var allowed = map[string][]string{
	"verity":                     {"golang.org/x/sys"},
	"sign":                       {"verity", "aead.dev/minisign"},
	"bootcfg":                    {"verity", "erofs", "sign", "github.com/BurntSushi/toml"},
	"bootcfg/uki":                {},
	"sign/secureboot":            {"github.com/foxboron/go-uefi"},
	"internal/boot/kernel":       {"golang.org/x/sys"},
	"internal/boot/kmsg":         {},
	"internal/version":           {},
	"internal/boot/tpm":          {"golang.org/x/sys"},
	"internal/testing/testutil":  {},
	"internal/testing/testtree":  {"golang.org/x/sys"},
	"internal/testing/archtest":  {},
	"erofs/tree":                 {"verity"},
	"internal/osfile":            {"golang.org/x/sys"},
	"erofs/dumpfile":             {"erofs/tree", "verity"},
	"internal/source/tarball":    {"erofs/tree", "verity", "github.com/klauspost/compress", "golang.org/x/sync"},
	"internal/source/crfs":       {"erofs/tree"},
	"internal/check/treediff":    {"erofs/tree", "verity"},
	"internal/source/transform":  {"erofs/tree", "github.com/dlclark/regexp2"},
	"erofs/directory":            {"internal/osfile", "erofs/tree", "verity", "golang.org/x/sys", "golang.org/x/sync"},
	"internal/store/digestcache": {"internal/osfile", "verity", "golang.org/x/sys"},
	"erofs":                      {"erofs/tree", "verity"},
	"internal/boot/mount":        {"internal/boot/kernel", "golang.org/x/sys"},
	"internal/boot/blockdev":     {},
	"internal/store/repo":        {"verity", "sign", "erofs", "erofs/directory", "internal/osfile", "golang.org/x/sys"},
	"internal/boot/setup": {"bootcfg", "verity", "sign", "erofs", "internal/boot/mount", "internal/boot/blockdev", "internal/osfile",
		"internal/boot/kernel", "internal/boot/kmsg", "internal/boot/tpm", "golang.org/x/sys"},
	"internal/artifact/initrd":    {"github.com/u-root/u-root", "github.com/klauspost/compress", "github.com/pierrec/lz4", "github.com/ulikunitz/xz"},
	"internal/check/doctor":       {"bootcfg", "bootcfg/uki", "sign", "sign/secureboot", "verity", "erofs", "erofs/tree", "internal/artifact/initrd", "internal/boot/blockdev"},
	"internal/artifact/disk":      {"verity", "internal/osfile", "golang.org/x/sys"},
	"internal/testing/kernelview": {"erofs", "erofs/tree", "golang.org/x/sys"},
	"dracut":                      {},
	"cmd/composefs-setup-root":    {"internal/boot/setup", "internal/version", "bootcfg", "internal/boot/kmsg"},
	"cmd/mkimage": {"internal/version", "verity", "sign", "bootcfg", "bootcfg/uki", "sign/secureboot", "erofs", "erofs/tree", "erofs/dumpfile", "internal/source/tarball", "internal/source/crfs", "internal/source/transform", "internal/check/treediff",
		"erofs/directory", "internal/store/digestcache", "internal/store/repo", "internal/artifact/initrd", "internal/artifact/disk", "internal/check/doctor", "internal/osfile", "internal/boot/mount", "internal/boot/kernel",
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

func TestNoRuleIsUnused(t *testing.T) {
	used := map[string]bool{}
	for p := range goList(t, module+"...") {
		name := strings.TrimPrefix(p.ImportPath, module)
		for _, rule := range allowed[name] {
			if slices.ContainsFunc(p.Imports, func(imported string) bool { return permits([]string{rule}, imported) && !standard(imported) }) {
				used[name+" "+rule] = true
			}
		}
	}
	for name, rules := range allowed {
		for _, rule := range rules {
			if !used[name+" "+rule] {
				t.Errorf("%s may import %s and doesn't: take that out of its row here and in ARCHITECTURE.md", name, rule)
			}
		}
	}
}

func standard(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return !strings.Contains(first, ".")
}

func permits(rules []string, imported string) bool {
	if standard(imported) {
		return true
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
