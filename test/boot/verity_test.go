package boot

import (
	"strings"
	"testing"
)

// What turns fs-verity on, and what then insists on it, is tested by the packages'
// own tests, which need a file system that has it: the guest's /var.
func TestFSVerityIsTurnedOn(t *testing.T) {
	t.Parallel()
	b := need(t)
	disk := changedDisk(t, b, func(*testing.T, base, string) {})
	facts := bootDirect(t, "trixie", shared.initrd(t, "trixie", ""), disk, pin(b.image)+" guest.tests", true).Guest()
	for _, name := range []string{
		"verity TestEnableThenMeasureGivesTheDigest",
		"repo TestOnFSVerityEveryObjectHasItAndCannotBeWrittenTo",
		"repo TestOnFSVerityARestoredMetaHasIt",
		"repo TestOnFSVerityACopyGetsItBack",
		"repo TestCommitPutsObjectsUnderTheirDigests",
		"repo TestAnObjectThatACrashCutShortIsWrittenAnew",
	} {
		if got := facts["test "+name]; got != "PASS" {
			t.Errorf("%s: %q\n%s", name, got, strings.Join(testFacts(facts), "\n"))
		}
	}
}

func testFacts(facts map[string]string) (lines []string) {
	for key, value := range facts {
		if strings.HasPrefix(key, "test ") {
			lines = append(lines, key+": "+value)
		}
	}
	return lines
}
