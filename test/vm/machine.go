package vm

import (
	"fmt"
	"strings"
)

// Machine describes the hardware that the guest sees.
type Machine struct {
	Name string // of the log; says what is tested

	// Boot by a kernel ...
	Kernel      string
	Initrd      string
	CommandLine string
	// ... or by firmware, from the disk's EFI system partition.
	Firmware *Firmware

	Disk        string   // raw image, the guest's /dev/vda; none if empty
	MoreDisks   []string // raw images, /dev/vdb and so on, never written to
	BootLast    bool     // firmware boots the last of them
	LargeBlocks bool     // Disk has blocks of 4096 bytes
	Share       string   // directory of this machine, the guest's virtiofs "share"
	Writable    bool     // let the guest's writes reach Disk
	Memory      int      // MiB; 512 if zero
	Processors  int      // 1 if zero
	Credentials []string // NAME:VALUE, by SMBIOS, for systemd in the guest
	SecondPort  string   // file for what the guest writes to /dev/ttyS1
	TPM         bool     // a new TPM 2.0
	TPMState    string   // directory for the persistent state of the TPM
}

// Firmware is UEFI firmware for QEMU, as the package ovmf has it.
type Firmware struct {
	Code      string // read only
	Variables string // a copy of this one's own, written by the guest
	Secure    bool   // Code is a build for Secure Boot: only it can write Variables
}

const defaultMemory = 512

// arguments returns the arguments of qemu-system-x86_64. The processor has no
// cmpxchg16b, which the kernel can do without: as QEMU 7.2 emulates it, a guest with
// two processors sometimes gets a double fault in the memory allocator.
func (m Machine) arguments() []string {
	memory := m.Memory
	if memory == 0 {
		memory = defaultMemory
	}
	machine := "q35"
	if m.Firmware != nil && m.Firmware.Secure {
		machine = "q35,smm=on"
	}
	args := []string{
		"-machine", machine, "-accel", "tcg,thread=multi", "-cpu", "Nehalem,-cx16", "-smp", fmt.Sprint(max(1, m.Processors)),
		"-m", fmt.Sprint(memory), "-nodefaults", "-no-user-config", "-display", "none",
		// A panicked guest asks for a reboot; the machine ends instead.
		"-no-reboot",
		"-serial", "stdio", "-device", "virtio-rng-pci",
	}
	if m.SecondPort != "" {
		args = append(args, "-serial", "file:"+m.SecondPort)
	}
	if m.Kernel != "" {
		args = append(args, "-kernel", m.Kernel, "-append", m.CommandLine)
	}
	if m.Initrd != "" {
		args = append(args, "-initrd", m.Initrd)
	}
	if f := m.Firmware; f != nil {
		args = append(args,
			"-drive", "if=pflash,format=raw,unit=0,readonly=on,file="+escaped(f.Code),
			"-drive", "if=pflash,format=raw,unit=1,file="+escaped(f.Variables))
		if f.Secure {
			args = append(args, "-global", "driver=cfi.pflash01,property=secure,value=on")
		}
	}
	if m.Disk != "" {
		blocks := ""
		if m.LargeBlocks {
			blocks = ",logical_block_size=4096,physical_block_size=4096"
		}
		args = append(args, disk("disk0", m.Disk, m.diskOptions(), blocks)...)
	}
	for i, d := range m.MoreDisks {
		first := ""
		if m.BootLast && i == len(m.MoreDisks)-1 {
			first = ",bootindex=0"
		}
		args = append(args, disk(fmt.Sprint("disk", i+1), d, ",snapshot=on", first)...)
	}
	for _, c := range m.Credentials {
		args = append(args, "-smbios", "type=11,value=io.systemd.credential:"+c)
	}
	return args
}

// disk is a disk with its controller. Linux names disks in the order of the arguments,
// except that disks to which QEMU itself gives a controller come last.
func disk(id, file, options, deviceOptions string) []string {
	return []string{"-drive", "if=none,id=" + id + ",format=raw,file=" + escaped(file) + options, "-device", "virtio-blk-pci,drive=" + id + deviceOptions}
}

// escaped quotes a file's name for a list of values.
func escaped(name string) string { return strings.ReplaceAll(name, ",", ",,") }

func (m Machine) diskOptions() string {
	if m.Writable {
		return ",cache=unsafe"
	}
	return ",snapshot=on"
}
