package erofs_test

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/composefs-go/composefs/erofs"
)

// manyFiles returns the dump of a system of n files: 30 to a directory, labelled,
// every tenth a symlink, the others objects.
func manyFiles(n int) []byte {
	var b bytes.Buffer
	label := func(kind string) string { return " security.selinux=system_u:object_r:" + kind + "_t:s0\n" }
	b.WriteString("/ 0 40755 2 0 0 0 1700000000.0 - - -" + label("root"))
	for i := range n {
		d, f := i/30, i%30
		if f == 0 && d%40 == 0 {
			fmt.Fprintf(&b, "/dir%05d 0 40755 2 0 0 0 1700000000.0 - - -%s", d/40, label("usr"))
		}
		if f == 0 {
			fmt.Fprintf(&b, "/dir%05d/sub%05d 0 40755 2 0 0 0 1700000001.0 - - -%s", d/40, d, label("usr"))
		}
		path := fmt.Sprintf("/dir%05d/sub%05d/file-number-%06d.so", d/40, d, i)
		if f%10 == 9 {
			fmt.Fprintf(&b, "%s 0 120777 1 0 0 0 1700000000.0 file-number-%06d.so - -%s", path, i-1, label("lib"))
			continue
		}
		sum := fmt.Sprintf("%064x", i*0x9e3779b9)
		fmt.Fprintf(&b, "%s %d 100644 1 0 0 0 17000000%02d.0 %s/%s - %s%s", path, 4096+i, i%100, sum[:2], sum[2:], sum, label("lib"))
	}
	return b.Bytes()
}

func BenchmarkWrite25000(b *testing.B) {
	root := parse(b, manyFiles(25000))
	b.ReportAllocs()
	for b.Loop() {
		if err := erofs.Write(io.Discard, root, erofs.V1); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTree25000(b *testing.B) {
	image := write(b, parse(b, manyFiles(25000)), erofs.V1)
	b.SetBytes(int64(len(image)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := open(b, image).Tree(); err != nil {
			b.Fatal(err)
		}
	}
}
