package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/internal/boot/setup"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// advisers are the files whose messages a refused boot may end with.
var advisers = []string{"*.go", "../../internal/boot/setup/*.go",
	"../../bootcfg/cmdline.go", "../../bootcfg/config.go", "../../internal/boot/blockdev/spec.go", "../../internal/boot/blockdev/wait.go"}

// triedBy are the tests that carry out a remedy that no row of trials is about: in this
// package, in setup or boots of test/boot, where it takes fs-verity, a TPM, another disk
// or the first process.
var triedBy = map[string]string{
	"boot without what keeps composefs-setup-root from running":       "TestEachRemedyBeforeTheSwitchWorks",
	"boot without what mounts there":                                  "TestOnlyTheVerifiedRootIsSwitchedTo",
	"boot without what unmounts it":                                   "TestEachRemedyBeforeTheSwitchWorks",
	"remove what mounts it":                                           "TestEachRemedyBeforeTheSwitchWorks",
	"boot another kernel, or add what is missing":                     "TestAKernelThatHasWhatIsMissingBoots",
	"boot a kernel that has them":                                     "TestAccessControlListsNeedAKernelThatObeysThem",
	"make the initrd again with the modules of this kernel":           "TestModulesOfThisKernelAreLoaded",
	"correct root=, or add the driver's module":                       "TestEachRemedyOfTheRootDeviceWorks",
	"want /dev/NAME, PARTLABEL=":                                      "TestEachRemedyOfTheRootDeviceWorks",
	"name it with rootfstype=":                                        "TestEachRemedyOfTheRootDeviceWorks",
	"for a root that can't be written":                                "TestARootThatCantBeWrittenBootsWithoutState",
	"make room on the root partition, or set full-disk = ":            "TestAFullDiskStillBootsANewDeployment",
	"make room and boot again":                                        "TestAFullDiskStillBootsANewDeployment",
	"\"make room on the root partition\"":                             "TestAFullDiskKeepsTheStateThatIsThere",
	"for a shell set shell = ":                                        "TestAShellIsRefusedWithAReason",
	"or ask for the shell later":                                      "TestAShellWaitsForTheTPM",
	"want a directory of the image there, as mkimage build --boot":    "TestSwitchRootExecutesTheFirstInitThatIsThere",
	"takes flags only, see --help":                                    "flags.txtar",
	"flag provided but not defined":                                   "flags.txtar",
	"takes no value, found":                                           "flags.txtar",
	"wants a value: %s":                                               "flags.txtar",
	"install it again (a plain copy loses it), or boot another entry": "TestRefused/image without fs-verity",
	"restore the image from a good copy":                              "TestRefused/image byte flipped",
	"use a file system with fs-verity":                                "TestUserspace/good",
	"name one with root=PARTUUID=":                                    "TestTwoDisks",
}

// noRemedy are the messages after which there is nothing to be done, and why.
var noRemedy = map[string]string{
	"unknown mode %q":                             "the policy's reader knows all modes",
	"no shell is allowed":                         "the line before it says what to do",
	"this is no initramfs":                        "nothing is wrong",
	"waiting %v before looking":                   "it goes on by itself",
	"the contents of its files are not":           "what the policy says",
	"nothing is verified, neither":                "what the policy says",
	"what is booted is unverified":                "what the policy says",
	"nothing proves that it is unchanged":         "what the policy and the command line say",
	"boot refused, exit status %d":                "the line before it has the remedy",
	"no room for the state of a new":              "the cause of problems with remedies",
	"would not be started":                        "mkimage says so of a UKI: at such a boot nobody of ours is there to say it",
	"the kernel takes another initramfs, or none": "mkimage says so of a UKI: at such a boot nobody of ours is there to say it",
	"rdinit=%s has the kernel start that":         "mkimage says so of a UKI: at such a boot nobody of ours is there to say it",
	"malformed kernel command line":               "the beginning of messages with remedies",
	"malformed setup-root-conf.toml":              "the beginning of messages with remedies",
	"%w: %d bytes, at most %d expected":           "a larger policy isn't read in the first place",
	`"boot another kernel"`:                       "only a kernel with that fault says so, and there is none to boot",
	"%w: line %d: %s":                             "a mistake of TOML, in the words of its reader",
	"is there more than once":                     "it has a remedy",
	"contradict each other":                       "it has a remedy",
	"more than one device fits":                   "it has remedies",
	"\"didn't appear":                             "it has remedies",
	"find the root device: %s %w within %v":       "it has remedies",
	"find the root device: %w %s: %s, %s":         "it has remedies",
	"no partition type for a root on %s":          "it has a remedy",
	"there is no root=":                           "it has a remedy",
	"name the device with root=":                  "only on machines without such a type",
	"put the .pub file of the signing key":        "a policy without a key is refused before any seal is read",
}

// messages returns the texts of errors and of lines on the console, as they are in the
// source, each with its place, and the remedies. It leaves out those of problems, which have
// a remedy, and those that only say what was being done.
func messages(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, r := range remedies {
		found[strconv.Quote(r.say)] = "advice.go"
	}
	for _, say := range policyRemedies[1:] {
		found[strconv.Quote(say)] = "advice.go"
	}
	for _, r := range imageRemedies {
		found[strconv.Quote(r.say)] = "advice.go"
	}
	for _, pattern := range advisers {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v, %v", pattern, files, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			set := token.NewFileSet()
			tree, err := parser.ParseFile(set, file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(tree, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok || !slices.Contains([]string{"Errorf", "New", "Printf", "warn", "complain"}, calledName(call)) {
					return true
				}
				for _, a := range call.Args {
					text, ok := a.(*ast.BasicLit)
					if ok && text.Kind == token.STRING && !context.MatchString(text.Value) {
						found[text.Value] = set.Position(text.Pos()).String()
					}
				}
				return true
			})
		}
	}
	return found
}

// context is a text that says what was being done, and leaves the rest to the cause.
var context = regexp.MustCompile("^[\"`][^;]*%[wv][\"`]$|^\"help\"$")

func calledName(call *ast.CallExpr) string {
	switch f := call.Fun.(type) {
	case *ast.SelectorExpr:
		return f.Sel.Name
	case *ast.Ident:
		return f.Name
	}
	return ""
}

// parts are the texts that the refusal of a row has; the last one is that of its message.
func (r trial) parts() []string { return strings.Split(r.says, "|") }

// textOf matches what becomes of a text in the source.
func textOf(source string) *regexp.Regexp {
	text, err := strconv.Unquote(`"` + source + `"`)
	if err != nil {
		text = source
	}
	verb := regexp.MustCompile(`%[.0-9]*[a-z]`)
	return regexp.MustCompile(verb.ReplaceAllString(regexp.QuoteMeta(text), ".*"))
}

// A message or a remedy that is added needs a trial.
func TestEveryRemedyOfARefusalIsTried(t *testing.T) {
	all := messages(t)
	if len(all) < 60 {
		t.Fatalf("found %d messages only", len(all))
	}
	known := map[string]string{}
	for _, r := range trials {
		says := r.parts()
		known[says[len(says)-1]] = "a row"
	}
	maps.Copy(known, triedBy)
	maps.Copy(known, noRemedy)
	used := map[string][]string{}
	for _, text := range slices.Sorted(maps.Keys(all)) {
		tried := false
		for says := range known {
			if strings.Contains(text, says) {
				tried = true
				used[says] = append(used[says], text)
			}
		}
		if !tried {
			t.Errorf("%s: %s: no trial carries out what it says", all[text], text)
		}
	}
	for says := range known {
		if len(used[says]) != 1 {
			t.Errorf("%q is in %d messages, want one: %q", says, len(used[says]), used[says])
		}
	}
}

// The tests that are named exist: a function, or a row with that name.
func TestTheTestsOfRemediesExist(t *testing.T) {
	var source strings.Builder
	for _, pattern := range []string{"*_test.go", "../../internal/boot/setup/*_test.go", "../../test/boot/*_test.go", "testdata/script/*"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			source.WriteString("\nfile " + filepath.Base(file) + "(\n")
			source.Write(text)
		}
	}
	for says, test := range triedBy {
		name, row, isRow := strings.Cut(test, "/")
		if !strings.Contains(source.String(), "\nfunc "+name+"(") && !strings.Contains(source.String(), "\nfile "+name+"(") || isRow && !strings.Contains(source.String(), `name: "`+row+`"`) {
			t.Errorf("%q is tried by %s, which doesn't exist", says, test)
		}
	}
}

// Each reason for which package sign refuses an image has a remedy.
func TestEachReasonOfARefusedSealHasARemedy(t *testing.T) {
	for _, file := range []string{"../../sign/errors.go", "../../sign/seal.go", "../../sign/signature.go"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`(?m)^(?:var |\t)(Err\w+)\s+= errors\.New`).FindAllSubmatch(text, -1) {
			if name := string(name[1]); name != "ErrRefused" && !strings.Contains(adviceSource(t), "&sign."+name+",") {
				t.Errorf("sign.%s: no remedy", name)
			}
		}
	}
	image := verity.Sum(verity.SHA256, nil)
	said := advise(&setup.Refusal{Code: setup.CodeSignature, Err: &sign.RefusedError{Image: image, Reason: fmt.Errorf("%w: x", sign.ErrNoSeal)}})
	if !strings.HasSuffix(said, "mkimage seal --repo REPO --key KEY --sequence N "+image.Hex()) {
		t.Errorf("found %q", said)
	}
}

func adviceSource(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("advice.go")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A kind of problem that is added needs a remedy, and no remedy is for a kind that isn't.
func TestEachKindOfProblemHasARemedy(t *testing.T) {
	tree, err := parser.ParseFile(token.NewFileSet(), "../../internal/boot/setup/problem.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	kinds := 0
	ast.Inspect(tree, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok {
			kinds++
			text, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			problem := &setup.Problem{Kind: setup.Kind(text), Err: errors.New("x")}
			if said := advise(&setup.Refusal{Code: setup.CodeMount, Err: problem}); !strings.HasPrefix(said, "x: ") {
				t.Errorf("%s: no remedy", v.Names[0])
			}
		}
		return true
	})
	if kinds < 20 {
		t.Errorf("found %d kinds only", kinds)
	}
}
