// Command show mounts the images in a directory, one after the other, and prints for
// each whether the kernel shows what it should. NAME.img is an image. NAME.want has a
// line that says whether it is mounted with ACLs, followed by the lines of package
// kernelview.
//
//	GUEST image NAME=ok
//	GUEST image NAME=line 7, at 20: want …, found …
//	GUEST images mounted from=files
//	GUEST lists are obeyed=true
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/composefs-go/composefs/internal/boot/kernel"
	"github.com/composefs-go/composefs/internal/boot/mount"
	"github.com/composefs-go/composefs/internal/testing/kernelview"
)

func main() {
	images, _ := filepath.Glob(filepath.Join(os.Args[1], "*.img"))
	k := kernel.New()
	for _, image := range images {
		verdict, err := look(k, image)
		if err != nil {
			verdict = err.Error()
		}
		fmt.Printf("GUEST image %s=%q\n", strings.TrimSuffix(filepath.Base(image), ".img"), verdict)
	}
	from := "loop devices"
	if k.Has(kernel.EROFSFile) {
		from = "files"
	}
	fmt.Printf("GUEST images mounted from=%s\n", from)
	fmt.Printf("GUEST lists are obeyed=%t\n", k.Has(kernel.EROFSACL))
}

func look(k *kernel.Kernel, image string) (string, error) {
	text, err := os.ReadFile(strings.TrimSuffix(image, ".img") + ".want")
	if err != nil {
		return "", err
	}
	acl, want, _ := strings.Cut(string(text), "\n")
	f, err := os.Open(image)
	if err != nil {
		return "", err
	}
	defer f.Close()
	root, err := mount.EROFS(k, f, acl == "acl")
	if err != nil {
		return "", err
	}
	defer root.Close()
	got, err := kernelview.Mounted(root)
	if difference := kernelview.FirstDifference(strings.Split(want, "\n"), got); difference != "" && err == nil {
		return difference, nil
	}
	return "ok", err
}
