package main

import "bytes"

// otherKinds are what is taken for a thing that doctor knows, by its first bytes.
var otherKinds = []struct {
	at    int
	magic string
	kind  string
}{
	{0, "\x7fELF", "a program"},
	{257, "ustar", "a tar archive"},
	{1080, "\x53\xef", "an ext4 file system without a disk around it"},
	{0, "XFSB", "an XFS file system without a disk around it"},
	{54, "FAT", "a FAT file system without a disk around it"},
	{82, "FAT", "a FAT file system without a disk around it"},
	{0, "hsqs", "a squashfs file system"},
}

// otherKind tells what a file is that doctor doesn't know and that is no text.
func otherKind(head []byte) string {
	if len(bytes.TrimLeft(head, "\x00")) == 0 {
		return "a file of zeros"
	}
	for _, k := range otherKinds {
		if len(head) >= k.at+len(k.magic) && string(head[k.at:k.at+len(k.magic)]) == k.magic {
			return k.kind
		}
	}
	return "a file of another kind"
}
