package initrd

// A Want is a kernel module that the initrd is to have.
type Want struct {
	Name     string // "-" and "_" are the same
	Optional bool   // left out without a word if the kernel doesn't have it
}

// Storage drivers of real and virtual machines. A distribution's kernel has
// some built in and, in its flavour for clouds, doesn't have some at all.
var storage = []string{
	"virtio_pci", "virtio_mmio", "virtio_blk", "virtio_scsi", // QEMU, most clouds
	"nvme", "vmd", "ahci", "ata_piix", "sd_mod", // disks
	"megaraid_sas", "mpt3sas", "smartpqi", "hpsa", // controllers of servers
	"xhci_pci", "usb_storage", "uas", // USB
	"sdhci_pci", "sdhci_acpi", "mmc_block", "ufshcd_pci", // eMMC, SD cards, UFS
	"dw_mmc", "dw_mmc_pci", "dw_mmc_pltfm", "dw_mmc_rockchip", "dw_mmc_exynos", "dw_mmc_k3", // of small boards
	"hv_vmbus", "hv_storvsc", "pci_hyperv", "xen_blkfront", "vmw_pvscsi", "mptspi", // other hypervisors
}

// TPMModules returns what is wanted to measure into a TPM 2.0. Most kernels have it
// built in.
func TPMModules() []Want {
	return []Want{{Name: "tpm_tis", Optional: true}, {Name: "tpm_crb", Optional: true}}
}

// RootModules returns what is wanted to boot from a composefs on the given file
// system type, as in "ext4", whatever the device.
func RootModules(fstype string) []Want {
	out := []Want{{Name: "erofs"}, {Name: "overlay"}, {Name: fstype}}
	for _, name := range storage {
		out = append(out, Want{Name: name, Optional: true})
	}
	// Images are mounted through loop devices on kernels before 6.12. The firmware knows
	// which disk the boot loader came from.
	return append(out, Want{Name: "loop", Optional: true}, Want{Name: "efivarfs", Optional: true})
}
