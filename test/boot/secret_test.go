package boot

import (
	"fmt"
	"path"
	"testing"

	"github.com/composefs-go/composefs/internal/testing/testutil"
	"github.com/composefs-go/composefs/test/vm"
)

// A secret that the TPM keeps for the initramfs is out of reach for whatever the booted
// system runs, be it from a root partition that somebody has put in the place of ours,
// with the same label, image and seal and an /etc of their own.
func TestSecrets(t *testing.T) {
	b := need(t)
	testutil.RequireTool(t, vm.TPMProgram)
	testutil.RequireTool(t, "tune2fs")
	const (
		released = "released"
		initrd   = "initramfs secret"
		early    = " asks for the initramfs secret"
		late     = " asks for the system secret"
	)
	measured := measure("require", "")
	for _, c := range []struct {
		name   string
		policy string
		change change
		want   map[string]bool // whether each is released
	}{
		// The first boot seals one secret before composefs-setup-root runs, and another in
		// the system that it has booted.
		{"sealed", measured, nil, map[string]bool{initrd: true, "system" + early: false, "system" + late: true}},
		{"the good disk", measured, nil, map[string]bool{initrd: true, "system" + early: false, "system" + late: true}},
		{"a replaced root partition", measured, both(withService, anotherUUID), map[string]bool{
			initrd: true, "service" + early: false, "service" + late: false}},
		// Whoever can read the good disk can copy its UUID: what is sealed to a running
		// system is his, what is sealed to the initramfs isn't.
		{"a copied root partition", measured, withService, map[string]bool{
			initrd: true, "service" + early: false, "service" + late: true}},
		// The twin of all: with a register that nobody extends, the service gets it.
		{"a replaced root partition, where nothing is measured", "", withService, map[string]bool{
			initrd: true, "service" + early: true}},
	} {
		// One after the other, in one TPM.
		ok := t.Run(c.name, func(t *testing.T) {
			disk := changedDisk(t, b, c.change)
			initrd := overlaid(t, shared.initrdWith(t, "trixie", c.policy, []string{b.pub}), []entry{
				{path: "init", program: "guest"}, {path: "setup-root", program: "composefs-setup-root"}})
			console := bootDirect(t, "trixie", initrd, disk, pin(b.image), false, func(m *vm.Machine) { m.TPM, m.TPMState = true, tpmState(t) })
			checkBoots(t, console, b.image)
			facts := console.Guest()
			for who, want := range c.want {
				if got := facts[who]; got == "" || (got == released) != want {
					t.Errorf("%s: %q, want it released: %t", who, got, want)
				}
			}
			t.Logf("service: %q: %q, %q", facts["service"], facts["service"+early], facts["service"+late])
		})
		if !ok {
			break
		}
	}
}

// tpmState is the directory of the TPM of all of a test's subtests.
func tpmState(t *testing.T) string {
	t.Helper()
	return shared.once(t, "tpm-state", func(path string) error {
		_, err := run("mkdir", path)
		return err
	})
}

// withService puts a program where the root partition keeps /etc. The guest's init runs
// it, as systemd would.
func withService(t *testing.T, b base, disk string) {
	t.Helper()
	where := fmt.Sprintf("%s?offset=%d", disk, partitionOffset(t, disk, rootPartition))
	dir := "/"
	for _, name := range []string{"state", "deploy", b.image, "etc", "upper"} {
		dir = path.Join(dir, name)
		if _, err := run("debugfs", "-w", "-R", "mkdir "+dir, where); err != nil { // it may be there
			t.Fatal(err)
		}
	}
	debugfs(t, disk, "cd "+dir, "write "+shared.path("guest")+" service")
}

func anotherUUID(t *testing.T, _ base, disk string) {
	t.Helper()
	const uuid = "01234567-89ab-cdef-0123-456789abcdef"
	if _, err := run("tune2fs", "-f", "-U", uuid, fmt.Sprintf("%s?offset=%d", disk, partitionOffset(t, disk, rootPartition))); err != nil {
		t.Fatal(err)
	}
	if rootUUID(t, disk) != "0123456789abcdef0123456789abcdef" {
		t.Fatal("the UUID is still the same")
	}
}

func both(changes ...change) change {
	return func(t *testing.T, b base, disk string) {
		t.Helper()
		for _, c := range changes {
			c(t, b, disk)
		}
	}
}
