// Package repo is the content-addressed store of images and the contents of their
// files, in the layout of composefs-rs, plus seals.
//
//	meta.json                     version, algorithm, features, image formats
//	objects/xx/yyyy…              file contents and images, by fs-verity digest
//	images/<hex>                  -> ../objects/xx/yyyy…   what may be mounted
//	images/refs/NAME              -> ../<hex>
//	seals/<hex>.seal[.minisig]    what a key says of an image
//	tmp/…                         unfinished business of a running build
//
// # Order of writing
//
// A name in objects, images or seals never refers to data that a power failure could
// lose. New objects are written to a directory of their own below tmp, then made
// durable all at once, then renamed into place; an image gets its name after all its
// objects have theirs on stable storage:
//
//	write tmp/build-…/<hex> …  →  syncfs  →  rename to objects/…  →  syncfs  →
//	symlink images/<hex>  →  fsync  →  symlink images/refs/NAME  →  fsync
//
// A build that fails before the first rename leaves the repository as it was; if it
// made the repository and nobody else uses it, it removes that again. What a killed
// build left below tmp is removed by the next one.
//
// # Locks
//
// A process that has a repository open holds a shared flock on its directory, as
// with composefs-rs; to remove anything, it needs an exclusive one. Each directory
// below tmp is locked by the build that it belongs to; one that can be locked was
// left by a build that has ended.
//
// A Store is just the objects. mkcomposefs --digest-store keeps them in a directory
// without anything else; OpenStore opens such a directory, and objects are written
// in the same way.
//
// If the file system supports fs-verity, it is enabled on every object and on
// meta.json.
package repo
