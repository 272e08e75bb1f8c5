package main

import (
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/composefs-go/composefs/internal/testing/manpage"
	"github.com/composefs-go/composefs/internal/testing/testutil"
)

var update = flag.Bool("update", false, "write the manual pages anew")

const manDir = "../../man"

// manSections are what pages say that isn't in the help.
var manSections = map[string][]manpage.Section{
	"mkimage": {{Title: "FILES", Text: `
  /etc/composefs/keys.d   the public keys, *.pub, that mkimage mount --signed trusts; with --keys other ones
  meta.json               in a repository: its hash and the format of its images
  objects/xx/yyyy…        in a repository: the contents of files, each under its fs-verity digest
  images, seals           in a repository: images by digest and by ref, and their seals with the signatures
  exit-codes.md           in /usr/share/doc/composefs-go: the exit statuses of mkimage and composefs-setup-root, in full;
                          beside it json.md, seals.md, threat-model.md and others`}},
	"mkimage disk": {{Title: "ENVIRONMENT", Text: `
  SOURCE_DATE_EPOCH   the time that the file systems and their files get, in seconds since 1970 (default 0)
  TMPDIR              the directory in which the image is made before --write-device copies it to the disk (default /var/tmp)`}},
	"mkimage mount": {{Title: "FILES", Text: `
  /etc/composefs/keys.d   the public keys, *.pub, that --signed trusts without --keys`}},
}

// manAlso are related pages that the help doesn't mention.
var manAlso = map[string][]string{
	"mkimage":           {"composefs-info(1)", "mkcomposefs(1)", "composefs-setup-root(8)", "mount.composefs(8)"},
	"mkimage build":     {"mkcomposefs(1)"},
	"mkimage diff":      {"diff(1)"},
	"mkimage dump":      {"composefs-info(1)", "composefs-dump(5)"},
	"mkimage initrd":    {"composefs-setup-root(8)", "dracut(8)"},
	"mkimage key":       {"minisign(1)"},
	"mkimage key new":   {"minisign(1)"},
	"mkimage key show":  {"minisign(1)"},
	"mkimage ls":        {"composefs-info(1)"},
	"mkimage measure":   {"fsverity(1)", "composefs-setup-root(8)"},
	"mkimage missing":   {"composefs-info(1)"},
	"mkimage mount":     {"mount(8)", "mount.composefs(8)"},
	"mkimage objects":   {"composefs-info(1)"},
	"mkimage seal":      {"minisign(1)"},
	"mkimage uki":       {"systemd-stub(7)"},
	"mkimage uki addon": {"systemd-stub(7)"},
	"mkimage uki build": {"ukify(1)", "systemd-stub(7)"},
	"mkimage uki sign":  {"sbsign(1)", "openssl(1)"},
	"mkimage umount":    {"umount(8)"},
	"mkimage verify":    {"composefs-setup-root(8)"},
}

// visitCommands calls a function for every command.
func visitCommands(f func(*cobra.Command)) {
	var visit func(*cobra.Command)
	visit = func(cmd *cobra.Command) {
		cmd.InitDefaultHelpFlag()
		f(cmd)
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
	}
	root := newRoot(newUI(strings.NewReader(""), io.Discard, io.Discard))
	root.InitDefaultVersionFlag()
	visit(root)
}

// manPages returns the page of every command, by file name.
func manPages() map[string]string {
	pages := map[string]string{}
	visitCommands(func(cmd *cobra.Command) {
		path := cmd.CommandPath()
		pages[manpage.FileName(cmd)] = manpage.Render(cmd, manSections[path], manAlso[path]...)
	})
	return pages
}

// The manual has a page for every command, and it says what the help says.
func TestManualPagesSayWhatTheHelpSays(t *testing.T) {
	pages := manPages()
	if *update {
		old, _ := filepath.Glob(manDir + "/mkimage*.1")
		for _, name := range old {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
		for name, text := range pages {
			if err := os.WriteFile(filepath.Join(manDir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	found, _ := filepath.Glob(manDir + "/mkimage*.1")
	for _, name := range found {
		if _, ok := pages[filepath.Base(name)]; !ok {
			t.Errorf("%s is the page of no command; run go test ./cmd/mkimage -run TestManualPages -update", name)
		}
	}
	for name, want := range pages {
		if got, err := os.ReadFile(filepath.Join(manDir, name)); err != nil || string(got) != want {
			t.Errorf("man/%s isn't what the help says (%v); run go test ./cmd/mkimage -run TestManualPages -update", name, err)
		}
	}
}

// What a page prints has every option of its command, in characters that can be copied
// into a shell: roff makes typographical ones of an unescaped hyphen or quote.
func TestManualPagesPrintEveryOption(t *testing.T) {
	mandoc := testutil.RequireTool(t, "mandoc")
	visitCommands(func(cmd *cobra.Command) {
		name := manpage.FileName(cmd)
		out, err := exec.Command(mandoc, "-Tutf8", filepath.Join(manDir, name)).Output()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		text := overstruck.ReplaceAllString(string(out), "")
		want := []string{strings.ReplaceAll(cmd.CommandPath(), " ", "-") + " - ", "EXIT STATUS", "SEE ALSO"}
		cmd.Flags().VisitAll(func(f *pflag.Flag) { want = append(want, "--"+f.Name) })
		for line := range strings.Lines(cmd.Example) {
			want = append(want, strings.TrimSpace(line))
		}
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%s doesn't print %q", name, w)
			}
		}
	})
}

// overstruck is how a terminal of old prints bold and underlined characters.
var overstruck = regexp.MustCompile(".\b")

// mandoc, which is stricter than groff, has nothing to say against any page of the manual but
// that there is no date.
func TestManualPagesAreWellFormed(t *testing.T) {
	mandoc := testutil.RequireTool(t, "mandoc")
	pages, _ := filepath.Glob(manDir + "/*.[18]")
	if len(pages) < 20 {
		t.Fatalf("found %d pages", len(pages))
	}
	// With -Wwarning the exit status isn't 0 for the missing dates.
	out, _ := exec.Command(mandoc, append([]string{"-Tlint", "-Wwarning"}, pages...)...).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if !strings.Contains(line, "missing date") {
			t.Error(line)
		}
	}
}
