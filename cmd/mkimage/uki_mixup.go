package main

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/composefs-go/composefs/bootcfg/uki"
	"github.com/composefs-go/composefs/internal/artifact/initrd"
)

// checkMixup refuses parts in each other's place: such a UKI can be assembled, and
// doesn't boot.
func (o *ukiBuildOptions) checkMixup(linux []byte, initrds [][]byte) error {
	isProgram := func(b []byte) bool { return bytes.HasPrefix(b, []byte("MZ")) }
	switch {
	case len(linux) == 0:
	case isProgram(linux):
		f, err := uki.Parse(bytes.NewReader(linux))
		if err != nil {
			return nil // what is wrong with it will be said
		}
		if _, whole := f.Section(".linux"); whole {
			return fmt.Errorf("--linux: %s is a UKI already: want the kernel alone, as in ROOT/boot/vmlinuz-VERSION", o.linux)
		}
	default:
		if _, err := initrd.Open(linux); err == nil {
			return fmt.Errorf("--linux: %s is an initrd: want a kernel, as in ROOT/boot/vmlinuz-VERSION", o.linux)
		}
	}
	for i, b := range initrds {
		if isProgram(b) {
			return fmt.Errorf("--initrd: %s is an EFI program, perhaps a kernel: want an initrd, as `mkimage initrd` makes it", o.initrds[i])
		}
	}
	return nil
}

// notDigest is the error for an image that isn't named by its digest, but perhaps by a
// ref.
func notDigest(image string, err error) error {
	if strings.Trim(image, "0123456789abcdefABCDEF") == "" {
		return err
	}
	return fmt.Errorf("want a digest, found %q: for the ref of that name say --image composefs.ref=%s, which needs a sealed image", image, image)
}
