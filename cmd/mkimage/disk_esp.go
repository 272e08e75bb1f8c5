package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/bootcfg/uki"
	"github.com/composefs-go/composefs/internal/artifact/disk"
)

// espEntries returns the files of the EFI system partition, and their architecture as Go
// calls it.
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

// ukiRemarks says which UKIs name no image that the disk has.
func ukiRemarks(esp []disk.Entry, layout disk.Layout) (remarks []string, err error) {
	for _, e := range esp {
		if !strings.EqualFold(path.Ext(e.Path), ".efi") {
			continue
		}
		named, err := imagesOf(e)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", e.Path, err)
		}
		for _, line := range named {
			_, refs := layout.Refs[line.Ref]
			there := slices.ContainsFunc(line.Images, func(i bootcfg.Image) bool { return slices.Contains(layout.Images, i.Digest) })
			if line.Asked() && !refs && !there {
				remarks = append(remarks, fmt.Sprintf("%s names the image %s, which isn't among those on the disk: it won't boot; add that with --image, or build the UKI for one that is there",
					e.Path, strings.Join(line.ImageArguments(), " ")))
				break
			}
		}
	}
	return remarks, nil
}

// imagesOf returns the command line of each profile of a UKI; none of anything else.
func imagesOf(e disk.Entry) (lines []bootcfg.Cmdline, err error) {
	r, err := e.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	content, err := io.ReadAll(io.LimitReader(r, maxPart))
	if err != nil {
		return nil, err
	}
	f, err := uki.Parse(bytes.NewReader(content))
	if err != nil || f.Kind() != uki.KindUKI {
		return nil, nil
	}
	profiles, _ := f.Profiles()
	for _, p := range profiles {
		text, err := p.Cmdline()
		if err != nil {
			continue
		}
		if line, err := bootcfg.ParseCmdline(text); err == nil {
			lines = append(lines, line)
		}
	}
	return lines, nil
}
