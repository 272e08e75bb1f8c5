package boot

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/internal/testing/testutil"
	"github.com/composefs-go/composefs/test/vm"
)

// With [measure] in the policy the TPM is told what was booted, before any of it
// runs: a disk key can be bound to that.
func TestMeasure(t *testing.T) {
	b := need(t)
	testutil.RequireTool(t, "dumpe2fs")
	testutil.RequireTool(t, vm.TPMProgram)
	withTPM := func(m *vm.Machine) { m.TPM = true }
	cases := []struct {
		row
		event string // without the digest; none if empty
		pcr   int
	}{
		{row{name: "into the usual PCR", policy: measure("require", ""), machine: withTPM}, "composefs:", 15},
		{row{name: "into another PCR", policy: measure("if-present", "pcr = 9\n"), machine: withTPM}, "composefs:", 9},
		{row{name: "of an image that only we have hashed", policy: measure("require", "") + "[verify]\nfs-verity = \"userspace\"\n", machine: withTPM}, "composefs-userspace:", 15},
		{row{name: "not asked for", machine: withTPM}, "", 15},
		{row{name: "no TPM, where it is needed", policy: measure("require", ""), status: 7, says: "the policy requires a TPM 2.0"}, "", 15},
		{row{name: "no TPM, where it isn't needed", policy: measure("if-present", ""), says: `"status":"absent"`}, "", 15},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			console := c.boot(t, b)
			c.check(t, b, console)
			if c.machine == nil {
				return
			}
			want := fmt.Sprintf("%064x", 0)
			if c.event != "" {
				want = extended(c.event+"fsverity-sha256-12:"+b.image, "composefs-root:"+rootUUID(t, b.disk), "composefs-handover")
				checkPredicted(t, b, c.row, c.pcr, want)
				checkMeasured(t, console, c.pcr, c.event+"fsverity-sha256-12:"+b.image)
			}
			if got := console.Guest()[fmt.Sprintf("pcr %d", c.pcr)]; got != want {
				t.Errorf("PCR %d is %s, want %s", c.pcr, got, want)
			}
		})
	}
}

func measure(tpm, more string) string { return "[measure]\ntpm = \"" + tpm + "\"\n" + more }

// extended is what a SHA-256 PCR holds after the events, its first and only ones.
func extended(events ...string) string {
	var pcr [sha256.Size]byte
	for _, event := range events {
		digest := sha256.Sum256([]byte(event))
		pcr = sha256.Sum256(append(pcr[:], digest[:]...))
	}
	return fmt.Sprintf("%x", pcr)
}

// checkPredicted checks that mkimage says of the boot what the register is to be.
func checkPredicted(t *testing.T, b base, r row, pcr int, want string) {
	t.Helper()
	policy := filepath.Join(t.TempDir(), "policy")
	if err := os.WriteFile(policy, []byte(r.policy), 0o644); err != nil {
		t.Fatal(err)
	}
	said, err := shared.mkimage("measure", "--repo", b.repo, "--pcr", "--policy", policy, "--root-uuid", rootUUID(t, b.disk), b.image)
	if line := fmt.Sprintf("%d:sha256=%s", pcr, want); err != nil || !strings.Contains(said+"\n", line+"\n") {
		t.Errorf("mkimage predicts %q, %v; want %s", said, err, line)
	}
}

// rootUUID is the UUID of the root partition's file system, without hyphens.
func rootUUID(t *testing.T, disk string) string {
	t.Helper()
	out, err := run("sh", "-c", `dumpe2fs -h "$1" 2>/dev/null | sed -n 's/^Filesystem UUID: *//p'`, "sh", fmt.Sprintf("%s?offset=%d", disk, partitionOffset(t, disk, rootPartition)))
	if err != nil || len(out) != 36 {
		t.Fatalf("dumpe2fs: %q, %v", out, err)
	}
	return strings.ReplaceAll(out, "-", "")
}

// checkMeasured checks that boot.json tells of it.
func checkMeasured(t *testing.T, c vm.Console, pcr int, event string) {
	t.Helper()
	var record struct {
		TPM struct {
			Status, Event string
			PCR           int
			Digests       map[string]string
		}
	}
	text := c.Guest()["boot.json"]
	if err := json.Unmarshal([]byte(text), &record); err != nil {
		t.Fatalf("boot.json is %q: %v", text, err)
	}
	m := record.TPM
	if want := fmt.Sprintf("%x", sha256.Sum256([]byte(event))); m.Status != "measured" || m.Event != event || m.PCR != pcr || m.Digests["sha256"] != want {
		t.Errorf("boot.json says %+v, want PCR %d, %q, %s", m, pcr, event, want)
	}
}
