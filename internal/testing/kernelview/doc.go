// Package kernelview describes what Linux shows of a mounted image: what it should
// show, derived from the tree and the rules of the format, and what it does show,
// from a walk through the mounted image. Tests compare the two. The expectation is
// derived from the rules independently of the writer.
//
// Both are lines of text, one per name, in the order of the walk:
//
//	"/usr/bin/sh": mode 100755 links 1 owner 0:0 time 1700000000.5 size 5 content "hello" user.a="1"
//	"/usr/bin/ash": = "/usr/bin/sh"
package kernelview
