package main

import (
	"errors"
	"fmt"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/internal/artifact/disk"
)

// espEntries are the files of the EFI system partition, and the architecture that
// they are for, as Go calls it.
func (o *diskOptions) espEntries(cmd *cobra.Command) (entries []disk.Entry, goarch string, err error) {
	var esp disk.ESP
	if o.uki != "" {
		if err := esp.AddUKI(o.uki); err != nil {
			return nil, "", fmt.Errorf("--uki: %w", ukiAdvice(err))
		}
	}
	for _, pair := range o.esp {
		name, file, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, "", usagef(cmd, "--esp: want PATH=FILE, found %q", pair)
		}
		if err := esp.Add(name, file); err != nil {
			return nil, "", fmt.Errorf("--esp %w", err)
		}
	}
	if len(esp.Entries) == 0 {
		return nil, "", usagef(cmd, "nothing to boot: say --uki FILE, or --esp PATH=FILE for another boot loader")
	}
	if a, known := esp.Arch(); known {
		return esp.Entries, a.Go, nil
	}
	return esp.Entries, runtime.GOARCH, nil
}

// ukiAdvice says what to do with a program that isn't a UKI to boot from.
func ukiAdvice(err error) error {
	var not *disk.NotUKIError
	switch {
	case !errors.As(err, &not):
		return err
	case not.Lacks == ".linux":
		return fmt.Errorf("%w: if it is the kernel, put it into one with `mkimage uki build --linux %s`; if it is a boot loader, say --esp %s=%s",
			err, not.Path, disk.BootPath(not.Arch), not.Path)
	}
	return fmt.Errorf("%w: build it again with `mkimage uki build --initrd FILE`", err)
}

// bootEntryRemarks says which boot loader entries can't boot, and what to do.
func bootEntryRemarks(esp []disk.Entry) (remarks []string, err error) {
	problems, err := disk.CheckBootEntries(esp)
	for _, p := range problems {
		advice := "; add a line: initrd /PATH"
		switch {
		case p.Err != nil:
			advice = ""
		case p.Key != "":
			advice = "; put it there with --esp"
		}
		remarks = append(remarks, p.Error()+advice)
	}
	return remarks, err
}
