package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/bootcfg/uki"
	"github.com/composefs-go/composefs/internal/artifact/ukiparts"
	"github.com/composefs-go/composefs/internal/testing/testutil"
)

// TestMain lets the scripts run mkimage as a program, by all its names.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"mkimage": main, "mkcomposefs": main, "composefs-info": main, "mount.composefs": main, "editpe": editPE})
}

// TestScripts runs testdata/script: each begins with the sentence that it proves.
// What a script can't do without stands in a line like [!have:minisign] skip;
// $STUB is systemd's stub for UKIs, $ADDON_STUB the one for addons, $EXAMPLES the directory of that name,
// $LAYOUTS has container images, and $SETUP_ROOT is composefs-setup-root.
func TestScripts(t *testing.T) {
	// The modes of their files are the usual ones, whatever the umask is here.
	umask := unix.Umask(0o022)
	t.Cleanup(func() { unix.Umask(umask) })
	setupRoot := buildSetupRoot(t, runtime.GOARCH)
	addons := addonStub(t)
	testscript.Run(t, testscript.Params{Dir: "testdata/script", RequireExplicitExec: true, Condition: have, Setup: func(e *testscript.Env) error {
		examples, err := filepath.Abs("../../examples")
		e.Setenv("EXAMPLES", examples)
		e.Setenv("SETUP_ROOT", setupRoot)
		e.Setenv("STUB", ukiparts.StubPath(uki.StubLinux, runtime.GOARCH))
		e.Setenv("ADDON_STUB", addons)
		images, layoutsErr := filepath.Abs(layouts)
		e.Setenv("LAYOUTS", images)
		return errors.Join(err, layoutsErr)
	}})
}

// addonStub returns a stub for addons; Debian 12 has none.
func addonStub(t *testing.T) string {
	t.Helper()
	if name := ukiparts.StubPath(uki.StubAddon, runtime.GOARCH); name != "" {
		if _, err := os.Stat(name); err == nil {
			return name
		}
	}
	linux, err := os.ReadFile(ukiparts.StubPath(uki.StubLinux, runtime.GOARCH))
	if err != nil {
		return "" // scripts that need it say so
	}
	name := filepath.Join(t.TempDir(), "addon.efi.stub")
	if err := os.WriteFile(name, testutil.AddonStub(t, linux), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// buildSetupRoot makes composefs-setup-root for an architecture.
func buildSetupRoot(t *testing.T, arch string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "composefs-setup-root")
	cmd := exec.Command("go", "build", "-o", name, "../composefs-setup-root")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+arch)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build composefs-setup-root: %v\n%s", err, out)
	}
	return name
}

// What needs a newer systemd than Debian 12's: its stubs of Debian 13 are $STUB and
// $ADDON_STUB; $SETUP_ROOT is for their machine.
func TestSystemdScripts(t *testing.T) {
	dir := testutil.RequireScript(t, "../../scripts/systemd-boot", "trixie")
	efi, err := filepath.Abs(filepath.Join(dir, "usr/lib/systemd/boot/efi"))
	if err != nil {
		t.Fatal(err)
	}
	setupRoot := buildSetupRoot(t, "amd64")
	testscript.Run(t, testscript.Params{Dir: "testdata/systemd", RequireExplicitExec: true, Condition: have, Setup: func(e *testscript.Env) error {
		e.Setenv("STUB", filepath.Join(efi, "linuxx64.efi.stub"))
		e.Setenv("SETUP_ROOT", setupRoot)
		e.Setenv("ADDON_STUB", filepath.Join(efi, "addonx64.efi.stub"))
		return nil
	}})
}

// have is the condition [have:PROGRAM], or [have:root]. With CI=true it fails the
// script rather than let it skip a check.
func have(condition string) (bool, error) {
	name, ok := strings.CutPrefix(condition, "have:")
	if !ok {
		return false, fmt.Errorf("unknown condition %s", condition)
	}
	if name == "root" {
		if os.Geteuid() != 0 && testutil.CI() {
			return false, errors.New("the test needs root")
		}
		return os.Geteuid() == 0, nil
	}
	_, err := exec.LookPath(name)
	if err != nil && testutil.ToolsRequired() {
		return false, fmt.Errorf("this machine lacks what the test needs; make setup installs programs: %w", err)
	}
	return err == nil, nil
}
