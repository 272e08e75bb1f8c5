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

// A Report is what is known of an image that was mounted, or will be.
type Report struct {
	At      string         `json:"at"`
	Digest  *verity.Digest `json:"digest,omitempty"`
	Key     sign.KeyID     `json:"key,omitzero"`
	KeyName string         `json:"key-name,omitempty"`
	Verity  bool           `json:"verity"` // every file is checked when it is read
	Lack    error          `json:"-"`      // with Try, why they aren't: a *NoVerityError or *kernel.MissingError
}

// A Plan is an image that was verified and what it is to be mounted with, all of it open:
// what Mount mounts is what was looked at, whatever stands at its name by then.
type Plan struct {
	Report Report // of what was found out
	Image  mount.Image

	at         *os.File
	set, clear uint64
	opened     files
}

// Plan verifies the open image, and decides how it will be mounted at the directory. The
// image must stay open until it is mounted.
func (o *Options) Plan(k *kernel.Kernel, image *os.File, dir string) (*Plan, error) {
	p := &Plan{Report: Report{At: dir}, set: o.Set, clear: o.Clear}
	if err := p.make(k, o, image); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

func (p *Plan) make(k *kernel.Kernel, o *Options, image *os.File) error {
	if (o.Upper == "") != (o.Work == "") {
		return errors.New("an upper directory needs a work directory, and the other way round")
	}
	if err := o.verify(image, &p.Report); err != nil {
		return err
	}
	header, err := erofs.ReadHeader(image)
	if err != nil {
		return cmp.Or(source.NotAnImage(image, err), err)
	}
	if header.HasACL {
		if err := k.Need(kernel.EROFSACL); err != nil {
			return needsRoot(fmt.Errorf("the image has access control lists: %w", err))
		}
	}
	p.Image = mount.Image{
		Source: "composefs", File: image, ACL: header.MayHaveACL(),
		// Only V2 images are without the whiteouts that hide an object store.
		Hides:    header.Version != erofs.V2,
		ReadOnly: o.ReadOnly,
	}
	if o.Named && p.Report.Digest != nil {
		p.Image.Source += ":" + p.Report.Digest.Hex()
	}
	p.at = p.opened.open(p.Report.At, unix.O_PATH|unix.O_DIRECTORY)
	if o.Objects != nil {
		p.Image.Objects = append(p.Image.Objects, o.Objects)
	}
	for _, name := range o.Basedirs {
		p.Image.Objects = append(p.Image.Objects, p.opened.open(name, unix.O_RDONLY|unix.O_DIRECTORY))
	}
	if o.Upper != "" {
		p.Image.Upper = p.opened.open(o.Upper, unix.O_RDONLY|unix.O_DIRECTORY)
		p.Image.Work = p.opened.open(o.Work, unix.O_RDONLY|unix.O_DIRECTORY)
	}
	if o.UserNS != "" {
		p.Image.UserNS = p.opened.open(o.UserNS, unix.O_RDONLY|unix.O_NOCTTY)
	}
	if p.opened.err != nil {
		return p.opened.err
	}
	o.checkFiles(k, p.Image.Objects, &p.Report)
	p.Image.Verity = p.Report.Verity
	return nil
}

// Mount does what was planned.
func (p *Plan) Mount(k *kernel.Kernel) error {
	root, err := p.Image.Mount(k)
	if err != nil {
		return needsRoot(err)
	}
	defer root.Close()
	if p.set|p.clear != 0 {
		if err := mount.SetAttributes(root, p.set, p.clear); err != nil {
			return err
		}
	}
	return mount.Attach(root, p.at, "")
}

// needsRoot says so if that is why an error came.
func needsRoot(err error) error {
	if errors.Is(err, unix.EPERM) && os.Geteuid() != 0 {
		return fmt.Errorf("%w: mounting needs root", err)
	}
	return err
}

// Close closes what Plan has opened. What was mounted stays.
func (p *Plan) Close() { p.opened.close() }

// Mount plans and mounts.
func (o *Options) Mount(k *kernel.Kernel, image *os.File, dir string) (Report, error) {
	p, err := o.Plan(k, image, dir)
	if err != nil {
		return Report{At: dir}, err
	}
	defer p.Close()
	err = p.Mount(k)
	if wrong := damage(image); err != nil && wrong != nil {
		err = wrong // the kernel's error says less
	}
	return p.Report, err
}

// damage says why a file can't be an image, nil if it may be one.
func damage(image *os.File) error {
	st, err := image.Stat()
	if err != nil {
		return nil
	}
	if _, err = erofs.Open(image, st.Size()); err != nil {
		return cmp.Or(source.NotAnImage(image, err), err)
	}
	return nil
}

// verify holds the image against the digest and the keys, before anything reads it.
func (o *Options) verify(image *os.File, result *Report) error {
	if !o.known() {
		return nil
	}
	found, err := o.measure(image, result)
	if err != nil {
		return err
	}
	if !o.Digest.IsZero() && found != o.Digest {
		return fmt.Errorf("%w: want %s, found %s", verity.ErrMismatch, o.Digest, found.Hex())
	}
	result.Digest = &found
	if !o.Signed {
		return nil
	}
	verdict, err := sign.Policy{Keys: o.Keys, Need: sign.Require}.Check(found, o.ReadSeal)
	if err != nil {
		return err
	}
	result.Key, result.KeyName = verdict.Key.ID, verdict.Key.Name
	return nil
}

// measure asks the kernel for the image's digest. If it has none and fs-verity isn't
// insisted on, the content is hashed. That finds damage, but doesn't keep anybody from
// changing the file later.
func (o *Options) measure(image *os.File, result *Report) (verity.Digest, error) {
	algorithms := []verity.Algorithm{o.Digest.Algorithm()}
	if o.Digest.IsZero() {
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
	if o.Level() == Require {
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
func (o *Options) checkFiles(k *kernel.Kernel, objects []*os.File, result *Report) {
	switch o.Level() {
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
