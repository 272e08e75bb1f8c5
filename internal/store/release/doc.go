// Package release puts sealed images into registries and layouts, and gets them from there.
//
// A release is a container image, which any program can pull, and beside it for each sealed
// composefs image a manifest that refers to it:
//
//	index or tag  ─▶  manifest  ─▶  configuration, layers (zstd:chunked)
//	                     ▲
//	                  subject
//	                     │
//	          application/vnd.composefs.metadata.v1  ─▶  EROFS image, seal, signatures
//
// So a machine gets the bytes that were signed, and need not make them again of the layers. It
// verifies the seal by its own keys before anything else, and then fetches the objects that it
// lacks: with a table of contents and a server that knows ranges no other file, otherwise whole
// layers. Nothing but the seal is believed: all that a registry can do is to withhold.
//
// docs/release.md describes the format.
package release
