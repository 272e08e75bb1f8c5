package initrd

// A Want is a kernel module that the initrd should have.
type Want struct {
	Name     string // "-" and "_" are the same
	Optional bool   // silently left out if the kernel doesn't have it
}

// storage lists storage drivers of real and virtual machines. Kernels of distributions have
// some built in, and their variants for clouds lack some.
var storage = []string{
	"virtio_pci", "virtio_mmio", "virtio_blk", "virtio_scsi", // QEMU, most clouds
	"nvme", "vmd", "ahci", "ata_piix", "sd_mod", // disks
	"megaraid_sas", "mpt3sas", "smartpqi", "hpsa", // controllers of servers
	"xhci_pci", "usb_storage", "uas", // USB
	"sdhci_pci", "sdhci_acpi", "mmc_block", "ufshcd_pci", // eMMC, SD cards, UFS
	"dw_mmc", "dw_mmc_pci", "dw_mmc_pltfm", "dw_mmc_rockchip", "dw_mmc_exynos", "dw_mmc_k3", // small boards
	"hv_vmbus", "hv_storvsc", "pci_hyperv", "xen_blkfront", "vmw_pvscsi", "mptspi", // other hypervisors
}

// TPMModules returns the modules to measure into a TPM 2.0, which most kernels have built
// in.
func TPMModules() []Want {
	return []Want{{Name: "tpm_tis", Optional: true}, {Name: "tpm_crb", Optional: true}}
}

// RootModules returns the modules to boot from a composefs on a file system of the given
// type, as in "ext4", on any device.
func RootModules(fstype string) []Want {
	out := []Want{{Name: "erofs"}, {Name: "overlay"}, {Name: fstype}}
	for _, name := range storage {
		out = append(out, Want{Name: name, Optional: true})
	}
	// Kernels before 6.12 mount images through loop devices. An EFI variable says which disk
	// the boot loader came from.
	return append(out, Want{Name: "loop", Optional: true}, Want{Name: "efivarfs", Optional: true})
}
