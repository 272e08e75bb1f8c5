package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/composefs-go/composefs/erofs/directory"
	"github.com/composefs-go/composefs/internal/filekind"
	"github.com/composefs-go/composefs/internal/hurry"
	"github.com/composefs-go/composefs/internal/oci"
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
	case errors.Is(err, oci.ErrDenied):
		return fmt.Errorf("%w; log in with docker login or podman login, or name a file with the credentials in REGISTRY_AUTH_FILE", err)
	case errors.Is(err, oci.ErrUnknown):
		return fmt.Errorf("%w; check the name and the tag", err)
	case errors.Is(err, oci.ErrImage), errors.Is(err, oci.ErrLimit), errors.Is(err, hurry.ErrSlow):
		return adviseImage(err)
	case errors.As(err, &noDirectory):
		return fmt.Errorf("%w%s", err, adviseDirectory(noDirectory))
	case errors.Is(err, fs.ErrNotExist) && strings.Contains(pathOf(err), ":"):
		return fmt.Errorf("%w; a source that isn't a directory begins with %s", err, prefixes())
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
		return fmt.Errorf("%w; if you trust the archive, raise the limit with --max-entries N", err)
	case errors.As(err, &expansion):
		return fmt.Errorf("%w; if you trust the archive, raise the limit with --max-expansion BYTES", err)
	case errors.As(err, &packed):
		return fmt.Errorf("%w; unpack it on the way: %s %s | mkimage build tar:-", err, packed.Unpack, shellWord(fileOf(err)))
	case errors.As(err, &link):
		return fmt.Errorf("%w; to let layers write through links, as container runtimes do, say --follow-layer-links", err)
	}
	return err
}

// prefixes lists what sources other than directories begin with.
func prefixes() string {
	var all []string
	for _, k := range source.Kinds() {
		all = append(all, k.Prefix)
	}
	last := len(all) - 1
	return strings.Join(all[:last], ", ") + " or " + all[last]
}

// adviseImage adds advice to an error about a container image.
func adviseImage(err error) error {
	var name *oci.NameError
	var platform *oci.PlatformError
	var mismatch *oci.MismatchError
	var media *oci.TypeError
	switch {
	case errors.As(err, &name) && len(name.Names) > 0:
		return fmt.Errorf("%w; add :NAME of one of them", err)
	case errors.As(err, &platform):
		return fmt.Errorf("%w; choose one of them with --platform", err)
	case errors.As(err, &mismatch):
		return fmt.Errorf("%w; it is damaged or was changed: get it again", err)
	case errors.As(err, &media):
		return fmt.Errorf("%w; name an image with files for a root", err)
	case errors.Is(err, hurry.ErrSlow):
		return fmt.Errorf("%w; try again", err)
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
	return ", or one of tar:FILE, oci-archive:FILE, docker-archive:FILE, dump:FILE and crfs:FILE"
}

// adviseSourceRemark adds to a remark about a source how to get another result.
func adviseSourceRemark(err error) error {
	var order *tarball.WhiteoutOrder
	var chosen *source.ChosenError
	var layout *source.LayoutError
	switch {
	case errors.As(err, &layout):
		return fmt.Errorf("%w; for the container image in it say oci:%s", err, shellWord(layout.Path))
	case errors.As(err, &chosen):
		return fmt.Errorf("%w; to choose another say --platform", err)
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
