package oci

import (
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// A Transport is where an image is.
type Transport string

// The transports, with the names that skopeo and podman use.
const (
	Layout        Transport = "oci"            // a directory, as the OCI image format describes it
	LayoutArchive Transport = "oci-archive"    // the same in a tar archive
	DockerArchive Transport = "docker-archive" // what docker save writes
	Registry      Transport = "docker"
)

// A Reference names an image.
type Reference struct {
	Transport Transport
	Path      string // of the directory or archive; of a registry, HOST/NAME with tag or digest
	Name      string // the tag in a layout, the name in a docker archive; or ""
	Digest    string // of the manifest, or ""; of a registry it is in Path
}

// prefixes are how references begin.
var prefixes = []struct {
	prefix    string
	transport Transport
}{
	{"oci:", Layout}, {"oci-archive:", LayoutArchive}, {"docker-archive:", DockerArchive}, {"docker://", Registry},
}

// ParseReference parses a reference: oci:DIR[:TAG], oci-archive:FILE[:TAG],
// docker-archive:FILE[:NAME[:TAG]] or docker://HOST/NAME[:TAG]. Instead of the tag, or
// behind it, there may be @sha256:HEX, the digest of the manifest; a docker archive has
// none. The error is a *SyntaxError.
func ParseReference(text string) (Reference, error) {
	for _, p := range prefixes {
		if rest, ok := strings.CutPrefix(text, p.prefix); ok {
			return parseRest(text, p.transport, rest)
		}
	}
	return Reference{}, &SyntaxError{text, "want oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:NAME:TAG] or docker://HOST/NAME[:TAG]"}
}

func parseRest(text string, transport Transport, rest string) (Reference, error) {
	r := Reference{Transport: transport}
	if transport == Registry {
		if _, err := name.ParseReference(rest); err != nil {
			return r, &SyntaxError{text, "want docker://HOST/NAME[:TAG], or @sha256:HEX instead of the tag"}
		}
		r.Path = rest
		return r, nil
	}
	if before, digest, ok := strings.Cut(rest, "@"); ok && transport != DockerArchive {
		if h, err := v1.NewHash(digest); err == nil && h.Algorithm == "sha256" {
			rest, r.Digest = before, digest
		} else if strings.HasPrefix(digest, "sha256:") {
			return r, &SyntaxError{text, "want 64 hexadecimal digits after @sha256:"}
		}
	}
	// A docker archive's name has colons and slashes of its own; the name of the file has
	// no colon then. In a layout the tag is what follows the last colon, and paths may
	// have some.
	cut := strings.IndexByte(rest, ':')
	if transport != DockerArchive {
		cut = strings.LastIndexByte(rest, ':')
		if strings.Contains(rest[cut+1:], "/") {
			cut = -1
		}
	}
	r.Path = rest
	if cut >= 0 {
		r.Path, r.Name = rest[:cut], rest[cut+1:]
		if r.Name == "" {
			return r, &SyntaxError{text, "there is no tag after the colon"}
		}
	}
	if r.Path == "" {
		return r, &SyntaxError{text, "there is no path"}
	}
	return r, nil
}

// String returns the text of the reference.
func (r Reference) String() string {
	text := string(r.Transport) + ":"
	if r.Transport == Registry {
		return text + "//" + r.Path
	}
	text += r.Path
	if r.Name != "" {
		text += ":" + r.Name
	}
	if r.Digest != "" {
		text += "@" + r.Digest
	}
	return text
}
