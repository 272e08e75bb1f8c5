package imagemount

import (
	"cmp"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/internal/boot/kernel"
	"github.com/composefs-go/composefs/internal/boot/mount"
	"github.com/composefs-go/composefs/internal/source"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// A VerityLevel says how far fs-verity is insisted on.
type VerityLevel uint8

const (
	Implied VerityLevel = iota
	Off                 // not at all: the image is hashed once, files are read as they are
	Try                 // if the kernel can
	Require             // for the image, and for each file whenever it is read
)

// Options are one image to be mounted, as mkimage mount or mount.composefs were
// asked for it.
type Options struct {
	Digest   verity.Digest // what the image must have; zero: anything
	Signed   bool
	Objects  *os.File // open directory of contents, looked through before basedirs; or nil
	Basedirs []string
	Upper    string // both or none
	Work     string
	UserNS   string // path of a user namespace, or ""
	Verity   VerityLevel
	ReadOnly bool
	Set      uint64 // MOUNT_ATTR_* to set
	Clear    uint64 // ... and to take off
	Named    bool   // the digest is shown as the mount's source

	Keys     sign.Keyring
	ReadSeal sign.ReadSeal
}

// A Report is what is known of an image that was mounted.
type Report struct {
	At      string         `json:"at"`
	Digest  *verity.Digest `json:"digest,omitempty"`
	Key     string         `json:"key,omitempty"`
	KeyName string         `json:"key-name,omitempty"`
	Verity  bool           `json:"verity"` // every file is checked when it is read
	Lack    error          `json:"-"`      // why files aren't checked, though that was to be tried
}

// known reports whether it is known which image it must be.
func (m *Options) known() bool { return m.Signed || !m.Digest.IsZero() }

// level is how far fs-verity is insisted on: whoever says which image it must be means
// its files as well.
func (m *Options) level() VerityLevel {
	switch {
	case m.Verity != Implied:
		return m.Verity
	case m.known():
		return Require
	}
	return Off
}

// Mount verifies the open image and mounts it at the directory. What is mounted is
// the file that was verified, not one found again by its name.
func (m *Options) Mount(k *kernel.Kernel, image *os.File, dir string) (Report, error) {
	result := Report{At: dir}
	if (m.Upper == "") != (m.Work == "") {
		return result, errors.New("an upper directory needs a work directory, and the other way round")
	}
	if err := m.verify(image, &result); err != nil {
		return result, err
	}
	header, err := erofs.ReadHeader(image)
	if err != nil {
		return result, cmp.Or(source.NotAnImage(image, err), err)
	}
	if header.HasACL {
		if err := k.Need(kernel.EROFSACL); err != nil {
			return result, fmt.Errorf("the image has access control lists: %w", err)
		}
	}
	i := mount.Image{
		Source: "composefs", File: image, ACL: header.MayHaveACL(),
		// Only V2 images are without the whiteouts that hide an object store.
		Hides:    header.Version != erofs.V2,
		ReadOnly: m.ReadOnly,
	}
	if m.Named && result.Digest != nil {
		i.Source += ":" + result.Digest.Hex()
	}
	err = m.attach(k, i, dir, &result)
	return result, err
}

// verify holds the image against the digest and the keys, before anything reads it.
func (m *Options) verify(image *os.File, result *Report) error {
	if !m.known() {
		return nil
	}
	found, err := m.measure(image, result)
	if err != nil {
		return err
	}
	if !m.Digest.IsZero() && found != m.Digest {
		return fmt.Errorf("%w: want %s, found %s", verity.ErrMismatch, m.Digest, found.Hex())
	}
	result.Digest = &found
	if !m.Signed {
		return nil
	}
	verdict, err := sign.Policy{Keys: m.Keys, Need: sign.Require}.Check(found, m.ReadSeal)
	if err != nil {
		return err
	}
	result.Key, result.KeyName = verdict.Key.ID.String(), verdict.Key.Name
	return nil
}

// measure asks the kernel for the image's digest. Where it has none and fs-verity isn't
// insisted on, the content is hashed: that finds damage, but nobody who changes the file
// later.
func (m *Options) measure(image *os.File, result *Report) (verity.Digest, error) {
	algorithms := []verity.Algorithm{m.Digest.Algorithm()}
	if m.Digest.IsZero() {
		algorithms = []verity.Algorithm{verity.SHA256, verity.SHA512}
	}
	var found verity.Digest
	var err error
	for _, alg := range algorithms {
		if found, err = verity.Measure(image, alg); !errors.Is(err, verity.ErrMismatch) {
			break
		}
	}
	lack := explainNoVerity(image, err)
	if lack == nil {
		return found, err
	}
	if m.level() == Require {
		return found, lack
	}
	result.Lack = lack
	info, err := image.Stat()
	if err != nil {
		return found, err
	}
	return verity.SumFile(algorithms[0], image, info.Size())
}

// checkFiles decides whether the kernel checks files. If it should and can't,
// result.Lack is the reason.
func (m *Options) checkFiles(k *kernel.Kernel, objects []*os.File, result *Report) {
	switch m.level() {
	case Require:
		result.Verity = true
		return
	case Off:
		result.Lack = nil
		return
	}
	if result.Lack == nil {
		result.Lack = k.Need(kernel.OverlayVerity)
	}
	for _, dir := range objects {
		if result.Lack == nil {
			result.Lack = checkFileSystem(dir)
		}
	}
	result.Verity = result.Lack == nil
}

// checkFileSystem returns a NoVerityError if no file of a directory can have fs-verity. A
// directory has none itself, which only a file system with fs-verity can say.
func checkFileSystem(dir *os.File) error {
	_, err := verity.Measure(dir, verity.SHA256)
	if lack := explainNoVerity(dir, err); lack != nil && lack.Lack != NotEnabled {
		return lack
	}
	return nil
}

// attach opens what goes by a name, once, and mounts the image.
func (m *Options) attach(k *kernel.Kernel, i mount.Image, dir string, result *Report) error {
	var opened files
	defer opened.close()
	at := opened.open(dir, unix.O_PATH|unix.O_DIRECTORY)
	if m.Objects != nil {
		i.Objects = append(i.Objects, m.Objects)
	}
	for _, name := range m.Basedirs {
		i.Objects = append(i.Objects, opened.open(name, unix.O_RDONLY|unix.O_DIRECTORY))
	}
	if m.Upper != "" {
		i.Upper = opened.open(m.Upper, unix.O_RDONLY|unix.O_DIRECTORY)
		i.Work = opened.open(m.Work, unix.O_RDONLY|unix.O_DIRECTORY)
	}
	if m.UserNS != "" {
		i.UserNS = opened.open(m.UserNS, unix.O_RDONLY|unix.O_NOCTTY)
	}
	if opened.err != nil {
		return opened.err
	}
	m.checkFiles(k, i.Objects, result)
	i.Verity = result.Verity
	root, err := i.Mount(k)
	if errors.Is(err, unix.EPERM) && os.Geteuid() != 0 {
		return fmt.Errorf("%w: mounting needs root", err)
	}
	if err != nil {
		return err
	}
	defer root.Close()
	if m.Set|m.Clear != 0 {
		if err := mount.SetAttributes(root, m.Set, m.Clear); err != nil {
			return err
		}
	}
	return mount.Attach(root, at, "")
}

// files opens several, and keeps the first error.
type files struct {
	all []*os.File
	err error
}

func (f *files) open(name string, flags int) *os.File {
	if f.err != nil {
		return nil
	}
	var file *os.File
	if file, f.err = os.OpenFile(name, flags, 0); f.err == nil {
		f.all = append(f.all, file)
	}
	return file
}

func (f *files) close() {
	for _, file := range f.all {
		file.Close()
	}
}
