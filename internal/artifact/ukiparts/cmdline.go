package ukiparts

import (
	"fmt"
	"strings"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/verity"
)

// A NoDigestError is about a name in the place of a digest; it may be a ref's.
type NoDigestError struct{ Name string }

func (e *NoDigestError) Error() string { return fmt.Sprintf("want a digest, found %q", e.Name) }

// ImageArgument returns the kernel argument that names an image, which is given as a
// digest or as that argument already.
func ImageArgument(image string) (string, error) {
	if !strings.Contains(image, "=") {
		d, err := verity.ParseAnyHex(image)
		if err != nil && strings.Trim(image, "0123456789abcdefABCDEF") != "" {
			return "", &NoDigestError{image}
		}
		if err != nil {
			return "", err
		}
		return bootcfg.NewImage(d, erofs.V1).Argument, nil
	}
	c, err := bootcfg.ParseCmdline(image)
	if err != nil {
		return "", err
	}
	if arguments := c.ImageArguments(); len(c.Args) == 1 && len(arguments) == 1 {
		return arguments[0], nil
	}
	return "", fmt.Errorf("want a digest, composefs.digest=…, composefs=… or composefs.ref=…, found %q", image)
}

// WithMode adds "ro" to a command line that has neither that nor "rw". Without it
// systemd assumes that / is to be writable, fails to make the image so, and reports that
// as a failed unit.
func WithMode(line string) string {
	args, _ := bootcfg.SplitCmdline(line)
	for _, a := range args {
		if a.Key == "ro" || a.Key == "rw" {
			return line
		}
	}
	return strings.TrimSpace("ro " + line)
}
