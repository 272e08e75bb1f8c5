package bootcfg_test

import (
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/verity"
)

// The argument that pins an image is written and read by the same type.
func ExampleNewImage() {
	digest := verity.Sum(verity.SHA256, []byte("an image"))
	line := "root=LABEL=os " + bootcfg.NewImage(digest, erofs.V1).Argument + " ro quiet"
	fmt.Println(line)
	c, err := bootcfg.ParseCmdline(line)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(c.Images[0].Digest == digest, c.Images[0].Format)
	// Output:
	// root=LABEL=os composefs.digest=v1-sha256-12:8641ff9409059a8a029cc66bb2d390c35ddad122d8307f81cf07bda1e2fe7045 ro quiet
	// true erofs-v1
}

// A policy where nothing is written holds whatever is the safe choice.
func ExampleParseConfig() {
	c, err := bootcfg.ParseConfig([]byte("[etc]\nmount = \"transient\"\n\n[verify]\nsignature = \"require\"\n"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(c.Etc, c.Var, c.Verify.Signature, c.Verify.FSVerity)
	_, err = bootcfg.ParseConfig([]byte("[etc]\nmout = \"transient\"\n"))
	fmt.Println(err)
	// Output:
	// transient bind require require
	// malformed setup-root-conf.toml: line 2: [etc] mout: unknown key: did you mean mount?
}

// An entry keeps what it doesn't know, comments and the order.
func ExampleEntry_Set() {
	e, err := bootcfg.ParseEntry(strings.NewReader("# by hand\ntitle Debian\nlinux /vmlinuz\noptions quiet\n"))
	if err != nil {
		log.Fatal(err)
	}
	e.Set(bootcfg.EntryOptions, "quiet ro")
	e.Set(bootcfg.EntryInitrd, "/initrd.img")
	text, err := e.Format()
	if err != nil {
		log.Fatal(err)
	}
	os.Stdout.Write(text)
	// Output:
	// # by hand
	// title Debian
	// linux /vmlinuz
	// options quiet ro
	// initrd /initrd.img
}

// Boot counting is in the name of the entry.
func ExampleParseEntryName() {
	n, err := bootcfg.ParseEntryName("debian-42+0-3.efi")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(n.ID, n.Bad(), n.Done)
	// Output:
	// debian-42 true 3
}
