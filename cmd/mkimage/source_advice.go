package main

import (
	"errors"
	"fmt"

	"github.com/composefs-go/composefs/erofs/directory"
	"github.com/composefs-go/composefs/internal/filekind"
	"github.com/composefs-go/composefs/internal/source"
	"github.com/composefs-go/composefs/internal/source/tarball"
)

// adviseSource adds advice to an error in reading a source.
func adviseSource(err error) error {
	var other *filekind.Error
	var noDirectory *source.DirectoryError
	var mount *directory.MountError
	var noNumber *tarball.NoNumberError
	var packed *tarball.PackedError
	var link *tarball.LinkError
	var expansion *tarball.ExpansionError
	switch {
	case errors.As(err, &noDirectory):
		return fmt.Errorf("%w%s", err, adviseDirectory(noDirectory))
	case errors.As(err, &other) && other.Found == "a directory":
		return fmt.Errorf("%w, or the name of the directory alone", err)
	case errors.As(err, &mount):
		return fmt.Errorf("%w; unmount it, or say --mounts=empty for an empty directory in its place, --mounts=include for the mounted files", err)
	case errors.Is(err, directory.ErrChanged):
		return fmt.Errorf("%w; build from a tree that no program writes to", err)
	case errors.Is(err, directory.ErrSocket):
		return fmt.Errorf("%w; remove it from the tree", err)
	case errors.As(err, &noNumber):
		return fmt.Errorf("%w; make the archive with --xattrs --xattrs-include='*'", err)
	case errors.Is(err, tarball.ErrTooMany):
		return fmt.Errorf("%w; if you trust the archive, raise the limit: mkimage build --max-entries N", err)
	case errors.As(err, &expansion):
		return fmt.Errorf("%w; if you trust the archive, raise the limit: mkimage build --max-expansion BYTES", err)
	case errors.As(err, &packed):
		return fmt.Errorf("%w; unpack it on the way: %s %s | mkimage build tar:-", err, packed.Unpack, shellWord(fileOf(err)))
	case errors.As(err, &link):
		return fmt.Errorf("%w; to let layers write through links, as container runtimes do, say --follow-layer-links", err)
	}
	return err
}

// adviseDirectory says how to name a source that isn't a directory.
func adviseDirectory(e *source.DirectoryError) string {
	switch {
	case e.Prefix != "":
		return ", or " + e.Prefix + e.Path
	case e.Image:
		return " to make one of"
	}
	return ", or one of tar:FILE, dump:FILE and crfs:FILE"
}

// adviseSourceRemark adds to a remark about a source how to get another result.
func adviseSourceRemark(err error) error {
	var order *tarball.WhiteoutOrder
	switch {
	case errors.As(err, &order) && order.InOrder:
		return fmt.Errorf("%w; for the image as container runtimes have it leave --whiteouts out", err)
	case order != nil:
		return fmt.Errorf("%w; to get its digest say --whiteouts=in-order", err)
	case errors.Is(err, tarball.ErrNoEnd):
		return fmt.Errorf("%w; to refuse such archives say --strict", err)
	}
	return err
}

// fileOf returns the name of the file that an error is about, FILE for standard input.
func fileOf(err error) string {
	var file *source.FileError
	if errors.As(err, &file) && file.Name != "-" {
		return file.Name
	}
	return "FILE"
}
