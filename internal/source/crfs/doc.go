// Package crfs reads the JSON that composefs-from-json read: the table of contents of an
// eStargz or CRFS archive, with two additional keys.
//
//	{"version": 1, "entries": [
//	  {"name": "usr/", "type": "dir", "mode": 493, "modtime": "2024-05-01T12:00:00Z"},
//	  {"name": "usr/a", "type": "reg", "mode": 420, "size": 100, "digest": "sha256:aabb…"},
//	  {"name": "usr/b", "type": "reg", "x-content": "aGk="},
//	  {"name": "usr/c", "type": "hardlink", "linkName": "usr/a"}]}
//
// The types are reg, dir, char, block, fifo, symlink and hardlink; an entry of type
// chunk is skipped. If a name recurs, the entry changes those attributes of the file that it
// has keys for; several texts are applied to one tree in order. Parents without an entry are
// 0755, 0:0, time 0. A digest only gives the path of the content in the object store, for
// which x-payload takes precedence: the image has no digest. There are no whiteouts: .wh.NAME
// is a name like any other.
//
// Where composefs-from-json continued with undefined values, or dropped data that it didn't
// understand, Apply returns an error with the entry and the key: unknown types, duplicate
// keys, numbers out of range, text that isn't base64, times that aren't RFC 3339, paths with
// "..", a file that changes its type. Like composefs-from-json, Apply ignores unknown keys.
package crfs
