package bootcfg

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// The arguments that name an image.
const (
	argImage  = "composefs"
	argDigest = "composefs.digest"
	argRef    = "composefs.ref"
)

// ErrCmdline is the cause when a composefs argument is malformed.
var ErrCmdline = errors.New("malformed kernel command line")

// The causes when two well-formed arguments don't go together. Errors with these causes
// are ErrCmdline too.
var (
	ErrRepeated = errors.New("is there more than once") // only composefs.digest may be
	ErrConflict = errors.New("contradict each other")   // a ref and a digest
)

// An Arg is one kernel parameter, quotes removed.
type Arg struct {
	Key   string
	Value string
	// Assigned tells "key=" from "key".
	Assigned bool
}

// An Image is the image that one composefs argument names.
type Image struct {
	Digest verity.Digest
	// Format is the image format that the argument names.
	Format erofs.Format
	// Optional is the "?" mark: fs-verity may be missing. The policy decides whether
	// the mark is obeyed.
	Optional bool
	// Argument is the text of the argument.
	Argument string
}

// NewImage returns the argument that pins an image of the format. For V0 the argument
// says v1, as with composefs-rs.
func NewImage(d verity.Digest, f erofs.Format) Image {
	if f == erofs.V2 {
		return Image{Digest: d, Format: f, Argument: argImage + "=" + d.Hex()}
	}
	hash := strings.TrimPrefix(d.Algorithm().String(), "fsverity-")
	return Image{Digest: d, Format: erofs.V1, Argument: argDigest + "=v1-" + hash + ":" + d.Hex()}
}

// A Cmdline is a parsed kernel command line.
type Cmdline struct {
	// Text is the command line itself.
	Text string
	// Images are in the order of the command line: the first that exists is booted.
	Images []Image
	// Ref is the value of composefs.ref; there are no Images then.
	Ref string
	// Args are all kernel parameters, up to "--".
	Args []Arg
	// Init is what follows "--".
	Init []string
}

// Asked reports whether the command line names an image.
func (c Cmdline) Asked() bool { return len(c.Images) > 0 || c.Ref != "" }

// ImageArguments returns the arguments that name the image, as they are written on the
// command line.
func (c Cmdline) ImageArguments() []string {
	if c.Ref != "" {
		return []string{"composefs.ref=" + c.Ref}
	}
	var arguments []string
	for _, i := range c.Images {
		arguments = append(arguments, i.Argument)
	}
	return arguments
}

// Lookup returns the value of a parameter. The last one wins, as in the kernel.
func (c Cmdline) Lookup(key string) (value string, ok bool) {
	for i := len(c.Args) - 1; i >= 0; i-- {
		if c.Args[i].Key == key {
			return c.Args[i].Value, true
		}
	}
	return "", false
}

// ErrInit is the cause when the kernel would start something other than /init of the
// initramfs.
var ErrInit = errors.New("composefs-setup-root would not be started")

// CheckInit returns ErrInit for a command line with which the kernel doesn't start
// /init of the initramfs: rdinit= with another value, noinitrd or initrdmem=. If there
// are several rdinit=, the last one counts; without "=" it isn't a kernel parameter. If
// the initramfs doesn't have the program that rdinit= names, or with noinitrd, the
// kernel mounts root= itself. initrdmem= is the address of another initramfs.
func (c Cmdline) CheckInit() error {
	if i := slices.IndexFunc(c.Args, func(a Arg) bool { return a.Key == "noinitrd" || a.Key == "initrdmem" }); i >= 0 {
		return fmt.Errorf("%w: with %s the kernel takes another initramfs, or none", ErrInit, c.Args[i].Key)
	}
	for _, a := range slices.Backward(c.Args) {
		if a.Key != "rdinit" || !a.Assigned {
			continue
		}
		if a.Value != "/init" {
			return fmt.Errorf("%w: rdinit=%s has the kernel start that instead of /init of the initramfs", ErrInit, a.Value)
		}
		return nil
	}
	return nil
}

// inits are the programs that the kernel, and systemd before it, look for.
var inits = []string{"/sbin/init", "/usr/lib/systemd/systemd", "/etc/init", "/bin/init", "/bin/sh"}

// Inits returns the candidates for the init program: the one that init= names, or the
// usual ones if init is "". The first that exists is executed.
func Inits(init string) []string {
	if init != "" {
		return []string{init}
	}
	return slices.Clone(inits)
}

// ParseCmdline parses a kernel command line. Parameters that aren't ours are kept
// unchanged; a malformed composefs argument is an error (ErrCmdline) and is never
// skipped.
func ParseCmdline(line string) (Cmdline, error) {
	args, rest := SplitCmdline(line)
	c := Cmdline{Text: line, Args: args, Init: rest}
	seen := map[string]bool{}
	for _, a := range args {
		if a.Key != argImage && !strings.HasPrefix(a.Key, argImage+".") {
			continue
		}
		if seen[a.Key] && a.Key != argDigest {
			return Cmdline{}, fmt.Errorf("%w: %s= %w", ErrCmdline, a.Key, ErrRepeated)
		}
		seen[a.Key] = true
		if err := c.add(a); err != nil {
			return Cmdline{}, err
		}
	}
	if c.Ref != "" && len(c.Images) > 0 {
		return Cmdline{}, fmt.Errorf("%w: composefs.ref=%s and %s %w", ErrCmdline, c.Ref, c.Images[0].Argument, ErrConflict)
	}
	return c, nil
}

// add takes one composefs argument in.
func (c *Cmdline) add(a Arg) (err error) {
	var img Image
	switch {
	case !a.Assigned:
		return fmt.Errorf("%w: %s has no value, want %s=…", ErrCmdline, a.Key, a.Key)
	case a.Key == argImage:
		img, err = parseImage(a.Value)
	case a.Key == argDigest:
		img, err = parseDigest(a.Value)
	case a.Key == argRef:
		c.Ref = a.Value
		if err := sign.CheckRef(a.Value); err != nil {
			return fmt.Errorf("%w: composefs.ref: %w", ErrCmdline, err)
		}
		return nil
	default:
		return fmt.Errorf("%w: %s is unknown; known are composefs=, composefs.digest= and composefs.ref=", ErrCmdline, a.Key)
	}
	if err != nil {
		return fmt.Errorf("%w: %s=%.180s: %w", ErrCmdline, a.Key, a.Value, err)
	}
	img.Argument = a.Key + "=" + a.Value
	c.Images = append(c.Images, img)
	return nil
}

// parseImage reads the value of composefs=, which is how a version 2 image is named.
func parseImage(s string) (Image, error) {
	hex, optional := strings.CutPrefix(s, "?")
	d, err := verity.ParseAnyHex(hex)
	return Image{Digest: d, Format: erofs.V2, Optional: optional}, err
}

// parseDigest reads the value of composefs.digest=, "[?]v1-sha256-12:<hex>".
func parseDigest(s string) (Image, error) {
	s, optional := strings.CutPrefix(s, "?")
	kind, hex, ok := strings.Cut(s, ":")
	parts := strings.Split(kind, "-")
	if !ok || len(parts) != 3 {
		return Image{}, errors.New("want v1-sha256-12:HEX")
	}
	format, err := erofs.ParseFormat("erofs-" + parts[0])
	if err != nil {
		return Image{}, fmt.Errorf("want format v0, v1 or v2, found %q", parts[0])
	}
	if parts[2] != "12" {
		return Image{}, fmt.Errorf("want blocks of 2^12 bytes, found %q", parts[2])
	}
	if parts[1] != verity.SHA256.Hash() && parts[1] != verity.SHA512.Hash() {
		return Image{}, fmt.Errorf("want sha256 or sha512, found %q", parts[1])
	}
	alg, err := verity.ParseAlgorithm(parts[1])
	if err != nil {
		return Image{}, err
	}
	d, err := verity.ParseHex(alg, hex)
	return Image{Digest: d, Format: format, Optional: optional}, err
}
