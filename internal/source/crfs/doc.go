// Package crfs reads the JSON that composefs-from-json took: the table of contents of
// an eStargz or CRFS archive, with two keys more.
//
//	{"version": 1, "entries": [
//	  {"name": "usr/", "type": "dir", "mode": 493, "modtime": "2024-05-01T12:00:00Z"},
//	  {"name": "usr/a", "type": "reg", "mode": 420, "size": 100, "digest": "sha256:aabb…"},
//	  {"name": "usr/b", "type": "reg", "x-content": "aGk="},
//	  {"name": "usr/c", "type": "hardlink", "linkName": "usr/a"}]}
//
// The types are reg, dir, char, block, fifo, symlink and hardlink; an entry of type
// chunk is skipped. A name that comes again changes the file's attributes that the
// entry has; several texts are applied in order to one tree. Parents without an entry
// are 0755, 0:0, time 0. A digest is only the path of the content in the object store
// (x-payload gives another one): no digest goes into the image. There are no whiteouts:
// .wh.NAME is a name like any other.
//
// Where composefs-from-json went on with something undefined, or lost what it didn't
// understand, Apply says which key of which entry is wrong: types that don't exist, a
// key twice, numbers out of range, text that isn't base64, times that aren't RFC 3339,
// paths with "..", a file that changes its type. Keys that it didn't know it ignored,
// and so does Apply.
package crfs
