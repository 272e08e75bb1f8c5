package main

import (
	"context"
	"fmt"

	"github.com/composefs-go/composefs/erofs/dumpfile"
	"github.com/composefs-go/composefs/internal/check/listing"
	"github.com/composefs-go/composefs/internal/osfile"
	"github.com/composefs-go/composefs/internal/source"
	"github.com/composefs-go/composefs/verity"
)

const infoUsage = `
usage: composefs-info [--basedir=DIR] [--filter=NAME]... COMMAND IMAGE...
  ls               list the names
  dump             print as text, in composefs-dump format
  objects          list the files that are needed in the object store
  missing-objects  list the ones that aren't in DIR
  measure-file     print the fs-verity digests of files of any kind
`

// An info is one call of composefs-info.
type info struct {
	look    lookOptions
	basedir *string // nil if it isn't given
	names   []string
}

// infoCommands are the commands of composefs-info.
var infoCommands = map[string]func(*info, *ui) error{
	"ls":              (*info).ls,
	"dump":            (*info).dump,
	"objects":         (*info).objects,
	"missing-objects": (*info).missing,
	"measure-file":    (*info).measure,
}

// runComposefsInfo is main of composefs-info.
func runComposefsInfo(_ context.Context, u *ui, args []string) error {
	var i info
	rest, err := getopt(args, []option{
		{name: "basedir", set: func(s string) error { i.basedir = &s; return nil }},
		{name: "filter", set: func(s string) error { i.look.filter = append(i.look.filter, s); return i.look.check() }},
	})
	switch {
	case err != nil:
		return ctoolUsagef(infoUsage, "%w", err)
	case len(rest) == 0:
		return ctoolUsagef(infoUsage, "no COMMAND")
	}
	command, ok := infoCommands[rest[0]]
	if !ok {
		return ctoolUsagef(infoUsage, "there is no command %q", rest[0])
	}
	if i.names = rest[1:]; len(i.names) == 0 {
		return ctoolUsagef(infoUsage, "no IMAGE")
	}
	if i.basedir != nil {
		dir, err := osfile.OpenDir(*i.basedir)
		if err != nil {
			return fmt.Errorf("--basedir: %w", err)
		}
		dir.Close()
	}
	return command(&i, u)
}

func (i *info) ls(u *ui) error {
	return i.look.each(i.names, func(m source.Image) error { return listing.Write(u.out, m.Root) })
}

func (i *info) dump(u *ui) error {
	return i.look.eachWhole(i.names, func(m source.Image) error { return dumpfile.Write(u.out, m.Root, i.look.filter...) })
}

func (i *info) objects(u *ui) error {
	paths, err := i.look.objectPaths(i.names)
	if err != nil {
		return err
	}
	return u.lines(paths)
}

// missing prints all objects if --basedir isn't given.
func (i *info) missing(u *ui) error {
	paths, err := i.look.objectPaths(i.names)
	if err == nil && i.basedir != nil {
		paths, err = missingFrom(u, "", []string{*i.basedir}, paths)
	}
	if err != nil {
		return err
	}
	return u.lines(paths)
}

func (i *info) measure(u *ui) error { return i.look.measure(u, verity.SHA256, i.names) }
