// Package kernelview says what Linux shows of an image: what it should, by the tree
// and the rules of the format, and what it does, by a walk through the mounted image.
// Tests compare the two. What should be seen is worked out here from the rules anew,
// not by asking the writer.
//
// Both are lines of text, one for each name, in the order of a walk:
//
//	"/usr/bin/sh": mode 100755 links 1 owner 0:0 time 1700000000.5 size 5 content "hello" user.a="1"
//	"/usr/bin/ash": = "/usr/bin/sh"
package kernelview
