// Package oci reads container images: from OCI layouts, from archives as podman, skopeo and
// docker save write them, and from registries.
//
//	oci:DIR[:TAG]             ─▶ layout ─┐
//	oci-archive:FILE[:TAG]    ─▶ layout ─┤              ┌ Manifest, Config: bytes and digests
//	docker-archive:FILE[:TAG] ──────────┼─▶ Image ─▶ ──┤
//	docker://HOST/NAME[:TAG]  ─▶ remote ─┘              └ Layers: archives, lowest first
//
// Whatever is read is compared with the digest and the size that name it: index, manifest
// and configuration at once, a layer while it is read. A configuration's diff_ids are the
// digests of the unpacked layers; Layer.CheckDiff compares them. Sizes are limited before
// anything is read.
//
// An image of several platforms is an index; Options.Platform chooses among its images.
package oci
