package main

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

// A checking says how far fs-verity is insisted on.
type checking uint8

const (
	checkUnset   checking = iota
	checkOff              // not at all: the image is hashed once, files are read as they are
	checkTry              // if the kernel can
	checkRequire          // for the image, and for each file whenever it is read
)

// A mounting is one image to be mounted, as mkimage mount or mount.composefs were
// asked for it.
type mounting struct {
	digest   verity.Digest // what the image must have; zero: anything
	signed   bool
	objects  *os.File // open directory of contents, looked through before basedirs; or nil
	basedirs []string
	upper    string // both or none
	work     string
	userns   string // path of a user namespace, or ""
	checking checking
	readOnly bool
	set      uint64 // MOUNT_ATTR_* to set
	clear    uint64 // ... and to take off
	named    bool   // the digest is shown as the mount's source

	keys     sign.Keyring
	readSeal sign.ReadSeal
}

// A mounted is what is known of an image that was mounted.
type mounted struct {
	At      string         `json:"at"`
	Digest  *verity.Digest `json:"digest,omitempty"`
	Key     string         `json:"key,omitempty"`
	KeyName string         `json:"key-name,omitempty"`
	Verity  bool           `json:"verity"` // every file is checked when it is read
	Lack    error          `json:"-"`      // why files aren't checked, though that was to be tried
}

// known reports whether it is known which image it must be.
func (m *mounting) known() bool { return m.signed || !m.digest.IsZero() }

// level is how far fs-verity is insisted on: whoever says which image it must be means
// its files as well.
func (m *mounting) level() checking {
	switch {
	case m.checking != checkUnset:
		return m.checking
	case m.known():
		return checkRequire
	}
	return checkOff
}

// mount verifies the open image and mounts it at the directory. What is mounted is
// the file that was verified, not one found again by its name.
func (m *mounting) mount(k *kernel.Kernel, image *os.File, dir string) (mounted, error) {
	result := mounted{At: dir}
	if (m.upper == "") != (m.work == "") {
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
		ReadOnly: m.readOnly,
	}
	if m.named && result.Digest != nil {
		i.Source += ":" + result.Digest.Hex()
	}
	err = m.attach(k, i, dir, &result)
	return result, err
}

// verify holds the image against the digest and the keys, before anything reads it.
func (m *mounting) verify(image *os.File, result *mounted) error {
	if !m.known() {
		return nil
	}
	found, err := m.measure(image, result)
	if err != nil {
		return err
	}
	if !m.digest.IsZero() && found != m.digest {
		return fmt.Errorf("%w: want %s, found %s", verity.ErrMismatch, m.digest, found.Hex())
	}
	result.Digest = &found
	if !m.signed {
		return nil
	}
	verdict, err := sign.Policy{Keys: m.keys, Need: sign.Require}.Check(found, m.readSeal)
	if err != nil {
		return err
	}
	result.Key, result.KeyName = verdict.Key.ID.String(), verdict.Key.Name
	return nil
}

// measure asks the kernel for the image's digest. Where it has none and fs-verity isn't
// insisted on, the content is hashed: that finds damage, but nobody who changes the file
// later.
func (m *mounting) measure(image *os.File, result *mounted) (verity.Digest, error) {
	algorithms := []verity.Algorithm{m.digest.Algorithm()}
	if m.digest.IsZero() {
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
	if m.level() == checkRequire {
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
func (m *mounting) checkFiles(k *kernel.Kernel, objects []*os.File, result *mounted) {
	switch m.level() {
	case checkRequire:
		result.Verity = true
		return
	case checkOff:
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

// checkFileSystem returns a noVerityError if no file of a directory can have fs-verity. A
// directory has none itself, which only a file system with fs-verity can say.
func checkFileSystem(dir *os.File) error {
	_, err := verity.Measure(dir, verity.SHA256)
	if lack := explainNoVerity(dir, err); lack != nil && lack.Lack != lackEnabled {
		return lack
	}
	return nil
}

// attach opens what goes by a name, once, and mounts the image.
func (m *mounting) attach(k *kernel.Kernel, i mount.Image, dir string, result *mounted) error {
	var opened files
	defer opened.close()
	at := opened.open(dir, unix.O_PATH|unix.O_DIRECTORY)
	if m.objects != nil {
		i.Objects = append(i.Objects, m.objects)
	}
	for _, name := range m.basedirs {
		i.Objects = append(i.Objects, opened.open(name, unix.O_RDONLY|unix.O_DIRECTORY))
	}
	if m.upper != "" {
		i.Upper = opened.open(m.upper, unix.O_RDONLY|unix.O_DIRECTORY)
		i.Work = opened.open(m.work, unix.O_RDONLY|unix.O_DIRECTORY)
	}
	if m.userns != "" {
		i.UserNS = opened.open(m.userns, unix.O_RDONLY|unix.O_NOCTTY)
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
	if m.set|m.clear != 0 {
		if err := mount.SetAttributes(root, m.set, m.clear); err != nil {
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
