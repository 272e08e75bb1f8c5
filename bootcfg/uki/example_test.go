package uki_test

import (
	"bytes"
	"fmt"
	"log"

	"github.com/composefs-go/composefs/bootcfg/uki"
)

// A UKI is made of files, and read again. The digest is what a Secure Boot signature is for.
func Example() {
	program, err := uki.Assemble(uki.Options{
		Stub:      plainStub().bytes(),      // of a real one: linuxx64.efi.stub
		Linux:     kernel("6.12.1-example"), // ... vmlinuz
		Initrd:    []byte("initrd"),
		Cmdline:   "root=PARTLABEL=root ro quiet",
		OSRelease: []byte("ID=example\nPRETTY_NAME=\"An example\"\n"),
	})
	if err != nil {
		log.Fatal(err)
	}
	f, err := uki.Parse(bytes.NewReader(program))
	if err != nil {
		log.Fatal(err)
	}
	profiles, err := f.Profiles()
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range profiles {
		line, err := p.Cmdline()
		if err != nil {
			log.Fatal(err)
		}
		release, _ := p.Section(".uname")
		fmt.Printf("%s %s: %s\n", p, release, line)
	}
	digest, err := uki.Digest(program)
	fmt.Println(f.Kind(), f.Signed, len(digest), err)
	// Output:
	// @0 6.12.1-example: root=PARTLABEL=root ro quiet
	// UKI false 32 <nil>
}

// A command line that is longer than the kernel keeps it is refused before anybody boots it.
func ExampleCheckCmdlineLength() {
	a, _ := uki.ArchOf("arm")
	err := uki.CheckCmdlineLength(string(make([]byte, 2000)), a.Machine)
	fmt.Println(err)
	// Output:
	// the command line is too long: want at most 1023 bytes for Linux on arm, found 2000; it would be cut off there
}

// systemd-stub measures what it uses into PCR 11, each section's name and then its content.
func ExampleMeasureSections() {
	sha256 := uki.Banks[1]
	register := uki.MeasureSections(sha256, []uki.Section{{Name: ".cmdline", Data: []byte("quiet")}})
	register = uki.MeasurePhases(sha256, register, "enter-initrd:leave-initrd")
	fmt.Printf("%s %x\n", sha256.Name, register)
	// Output:
	// sha256 b40adbc95b1c1604a06f26c884e91d59c9c0d3a1d751576670637b1c111c2712
}
