package initrd_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/composefs-go/composefs/internal/artifact/initrd"
)

// debian is the kernel of linux-image-amd64 of Debian 13 as depmod describes it, so far
// as it has to do with storage.
const debian = "testdata/debian-6.12-amd64"

// What a real machine needs to reach its disk is there without being asked for, after all
// that it needs in turn.
func TestADistributionsKernelReachesRealDisks(t *testing.T) {
	k, err := initrd.NewKernel(os.DirFS(debian), debian, "6.12.117+deb13-amd64")
	if err != nil {
		t.Fatal(err)
	}
	modules, err := k.Resolve(initrd.RootModules("ext4"))
	if err != nil {
		t.Fatal(err)
	}
	order := strings.Fields(names(modules))
	for _, name := range []string{"vmd", "ata_piix", "megaraid_sas", "mpt3sas", "smartpqi", "hpsa", "ufshcd_pci", "nvme", "ahci", "mptspi"} {
		if !slices.Contains(order, name) {
			t.Errorf("%s isn't there", name)
		}
	}
	loaded := map[string]bool{}
	for _, m := range modules {
		for _, need := range m.Needs {
			if !loaded[need] {
				t.Errorf("%s comes before %s, which it needs", m.Name, need)
			}
		}
		loaded[m.File] = true
	}
}

// The same module has a dash or an underscore, is built in or isn't there: all is well.
func TestDriversAreTakenUnderTheirFilesNames(t *testing.T) {
	const (
		base   = "kernel/erofs.ko:\nkernel/overlay.ko:\nkernel/ext4.ko:\n"
		boards = "kernel/drivers/mmc/host/dw_mmc.ko.xz: kernel/drivers/mmc/core/mmc_core.ko.xz\n" +
			"kernel/drivers/mmc/core/mmc_core.ko.xz:\n" +
			"kernel/drivers/mmc/host/dw_mmc-pltfm.ko.xz: kernel/drivers/mmc/host/dw_mmc.ko.xz kernel/drivers/mmc/core/mmc_core.ko.xz\n" +
			"kernel/drivers/mmc/host/dw_mmc-pci.ko.xz: kernel/drivers/mmc/host/dw_mmc.ko.xz kernel/drivers/mmc/core/mmc_core.ko.xz\n" +
			"kernel/drivers/mmc/host/dw_mmc-rockchip.ko.xz: kernel/drivers/mmc/host/dw_mmc-pltfm.ko.xz kernel/drivers/mmc/host/dw_mmc.ko.xz kernel/drivers/mmc/core/mmc_core.ko.xz\n"
	)
	for _, c := range []struct{ name, dep, builtin, want string }{
		{"none", base, "", "erofs overlay ext4"},
		{"modules", base + boards, "", "erofs overlay ext4 mmc_core dw_mmc dw_mmc_pci dw_mmc_pltfm dw_mmc_rockchip"},
		{"built in", base, "kernel/drivers/mmc/host/dw_mmc.ko\nkernel/drivers/mmc/host/dw_mmc-pltfm.ko\n", "erofs overlay ext4"},
	} {
		k, err := initrd.NewKernel(fstest.MapFS{
			"modules.dep": {Data: []byte(c.dep)}, "modules.builtin": {Data: []byte(c.builtin)},
		}, "modules", "6.12")
		if err != nil {
			t.Fatal(err)
		}
		modules, err := k.Resolve(initrd.RootModules("ext4"))
		if got := names(modules); err != nil || got != c.want {
			t.Errorf("%s: %q, %v; want %q", c.name, got, err, c.want)
		}
	}
}

// Of several that are wanted those that are missing are named, and no other.
func TestMissingModulesAreNamed(t *testing.T) {
	for wants, says := range map[string]string{
		"overlay floppy erofs":         `lacks "floppy", which is neither`,
		"floppy overlay":               `lacks "floppy", which is neither`,
		"overlay floppy erofs parport": `lacks "floppy", "parport", which are neither`,
	} {
		var list []initrd.Want
		for name := range strings.FieldsSeq(wants) {
			list = append(list, initrd.Want{Name: name})
		}
		_, err := kernel(t).Resolve(list)
		if !errors.Is(err, initrd.ErrModules) || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "overlay") {
			t.Errorf("%s: %v, want it to say %q", wants, err, says)
		}
	}
}
