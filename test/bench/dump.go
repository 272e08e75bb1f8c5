package main

import (
	"bufio"
	"fmt"
	"io"
)

// filesPerDirectory and directoriesPerTop shape the tree of writeDump.
const (
	filesPerDirectory = 30
	directoriesPerTop = 40
)

// writeDump writes the dump of a system of n files in two levels of directories, all
// with labels. Every tenth file is a symlink, the others are objects, each a different
// one.
func writeDump(w io.Writer, n int) error {
	b := bufio.NewWriterSize(w, 64<<10)
	label := func(kind string) string { return " security.selinux=system_u:object_r:" + kind + "_t:s0\n" }
	fmt.Fprint(b, "/ 0 40755 2 0 0 0 1700000000.0 - - -", label("root"))
	for i := range n {
		directory, f := i/filesPerDirectory, i%filesPerDirectory
		top := directory / directoriesPerTop
		if f == 0 && directory%directoriesPerTop == 0 {
			fmt.Fprintf(b, "/dir%05d 0 40755 2 0 0 0 1700000000.0 - - -%s", top, label("usr"))
		}
		if f == 0 {
			fmt.Fprintf(b, "/dir%05d/sub%05d 0 40755 2 0 0 0 1700000001.0 - - -%s", top, directory, label("usr"))
		}
		path := fmt.Sprintf("/dir%05d/sub%05d/file-number-%07d.so", top, directory, i)
		if f%10 == 9 {
			fmt.Fprintf(b, "%s 0 120777 1 0 0 0 1700000000.0 file-number-%07d.so - -%s", path, i-1, label("lib"))
			continue
		}
		sum := fmt.Sprintf("%064x", uint64(i)*0x9e3779b97f4a7c15)
		fmt.Fprintf(b, "%s %d 100644 1 0 0 0 17000000%02d.0 %s/%s - %s%s", path, 4096+i, i%100, sum[:2], sum[2:], sum, label("lib"))
	}
	return b.Flush()
}
