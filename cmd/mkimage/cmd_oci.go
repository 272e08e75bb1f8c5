package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/composefs-go/composefs/internal/oci"
	"github.com/composefs-go/composefs/internal/printable"
)

// referenceHelp says how container images are named.
const referenceHelp = `  oci:DIR[:TAG]                    OCI layout
  oci-archive:FILE[:TAG]           tar archive of such a layout
  docker-archive:FILE[:NAME:TAG]   archive as docker save writes it
  docker://HOST/NAME[:TAG]         registry

Instead of the tag, or behind it, @sha256:HEX may name the manifest; in a docker archive
there is none. Archives may be compressed with gzip or zstd. The credentials for registries
are the ones of docker login and podman login; REGISTRY_AUTH_FILE names another file.`

func newOCI(u *ui) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "oci COMMAND",
		Short: "container images: look at them, and keep them in a repository",
		Long: `These commands are about container images. A REF is one of

` + referenceHelp + `

The container images in a repository are the ones of cfsctl oci, and have tags.

Whatever is read is compared with the digest that names it: manifest, configuration, each
layer as it is stored, and as it is unpacked. To make an image of a container image, name
it as the SOURCE of mkimage build.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newOCIPull(u), newOCIPush(u), newOCIList(u), newOCITag(u), newOCIUntag(u), newOCICopy(u), newOCIMount(u), newOCIDump(u), newOCIComputeID(u), newOCIInspect(u))
	return cmd
}

// openImage opens a container image. Errors say what to do. what is what becomes of the one
// for a platform that nobody chose.
func openImage(cmd *cobra.Command, u *ui, text, platform, what string) (*oci.Image, error) {
	r, err := oci.ParseReference(text)
	if err != nil {
		return nil, usagef(cmd, "REF: %w", err)
	}
	if err := oci.CheckPlatform(platform); err != nil {
		return nil, usagef(cmd, "--platform: %w", err)
	}
	i, err := oci.Open(cmd.Context(), r, oci.Options{Platform: platform})
	if err != nil {
		return nil, adviseSource(err)
	}
	if i.Chosen {
		u.remark("%s has images for several platforms, and the one for %s is %s, as this machine's: to choose another say --platform", r, i.Platform, what)
	}
	return i, nil
}

const platformUsage = "take the image for `OS/ARCH[/VARIANT]` if there are several (default: linux and this machine's)"

// ociReport is what oci inspect reports.
type ociReport struct {
	Digest       string     `json:"digest,omitempty"`
	MediaType    string     `json:"media-type,omitempty"`
	ConfigDigest string     `json:"config-digest"`
	Platform     string     `json:"platform"`
	Layers       []ociLayer `json:"layers"`
}

type ociLayer struct {
	Digest    string `json:"digest,omitempty"`
	DiffID    string `json:"diff-id"`
	MediaType string `json:"media-type"`
	Size      int64  `json:"size"`
}

func newOCIInspect(u *ui) *cobra.Command {
	var platform string
	var manifest, config bool
	cmd := &cobra.Command{
		Use:   "inspect REF",
		Short: "show what a container image consists of",
		Long: `Inspect shows the digests of a container image, its platform, and its layers, lowest
first. It reads the manifest and the configuration, and not the layers.

With --manifest or --config it prints the bytes of that document instead.`,
		Example: "  mkimage oci inspect oci:DIR:TAG\n  mkimage oci inspect --config docker://HOST/NAME:TAG",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			i, err := openImage(cmd, u, args[0], platform, "shown")
			if err != nil {
				return err
			}
			defer i.Close()
			switch {
			case manifest && i.Manifest == nil:
				return fmt.Errorf("%s: a docker archive has no manifest; --config prints the configuration", args[0])
			case manifest:
				return u.document(i.Manifest)
			case config:
				return u.document(i.Config)
			}
			return u.result(reportOCI(i))
		},
	}
	f := cmd.Flags()
	f.StringVar(&platform, "platform", "", platformUsage)
	f.BoolVar(&manifest, "manifest", false, "print the manifest")
	f.BoolVar(&config, "config", false, "print the configuration")
	cmd.MarkFlagsMutuallyExclusive("manifest", "config")
	return cmd
}

// document prints the bytes of a document to standard output.
func (u *ui) document(b []byte) error {
	_, err := u.out.Write(b)
	return err
}

func reportOCI(i *oci.Image) (ociReport, string) {
	r := ociReport{Digest: i.Digest, MediaType: string(i.MediaType), ConfigDigest: i.ConfigDigest, Platform: i.Platform, Layers: []ociLayer{}}
	var b strings.Builder
	if i.Digest != "" {
		fmt.Fprintf(&b, "manifest  %s\n", i.Digest)
	}
	fmt.Fprintf(&b, "config    %s\nplatform  %s", i.ConfigDigest, printable.Line(i.Platform))
	for _, l := range i.Layers {
		r.Layers = append(r.Layers, ociLayer{l.Digest, l.DiffID, string(l.MediaType), l.Size})
		fmt.Fprintf(&b, "\nlayer %-3d diff_id %s", l.Number, l.DiffID)
		if l.Digest != "" {
			fmt.Fprintf(&b, "\n          stored as %s, %s, %s", l.Digest, size(l.Size), l.MediaType)
		}
	}
	return r, b.String()
}
