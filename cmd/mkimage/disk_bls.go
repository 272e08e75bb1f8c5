package main

import (
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/internal/artifact/disk"
)

// entryMax is more than the longest boot loader entry.
const entryMax = 1 << 20

// entryRemarks says which boot loader entries among the files of an EFI system partition
// can't boot, and why. The disk is made all the same: they may be there to be replaced.
func entryRemarks(esp []disk.Entry) ([]string, error) {
	var remarks []string
	for _, e := range esp {
		name := strings.ToLower(e.Path)
		if path.Dir(name) != "loader/entries" || path.Ext(name) != ".conf" {
			continue
		}
		entry, err := readEntry(e)
		if errors.Is(err, bootcfg.ErrEntry) {
			remarks = append(remarks, fmt.Sprintf("%s: %v", e.Path, err))
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, problem := range entryProblems(entry, esp) {
			remarks = append(remarks, e.Path+": "+problem)
		}
	}
	return remarks, nil
}

func readEntry(e disk.Entry) (bootcfg.Entry, error) {
	r, err := e.Open()
	if err != nil {
		return bootcfg.Entry{}, err
	}
	defer r.Close()
	return bootcfg.ParseEntry(io.LimitReader(r, entryMax))
}

// entryProblems are what keeps an entry from booting: files that it names and that
// aren't there, and a kernel without the initrd that verifies the image.
func entryProblems(entry bootcfg.Entry, esp []disk.Entry) (problems []string) {
	for _, key := range []string{bootcfg.EntryLinux, bootcfg.EntryInitrd, "efi", "uki"} {
		for _, name := range entry.All(key) {
			there := slices.ContainsFunc(esp, func(e disk.Entry) bool {
				return strings.EqualFold(e.Path, strings.TrimPrefix(path.Clean("/"+name), "/"))
			})
			if !there {
				problems = append(problems, fmt.Sprintf("%s names %s, which isn't on the EFI system partition; put it there with --esp", key, name))
			}
		}
	}
	_, linux := entry.Get(bootcfg.EntryLinux)
	_, initrd := entry.Get(bootcfg.EntryInitrd)
	if linux && !initrd && !strings.Contains(entry.Options(), "initrd=") {
		problems = append(problems, "the entry has no initrd, so nothing will verify and mount the image; add a line: initrd /PATH")
	}
	return problems
}
