package disk_test

import (
	"io"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/internal/artifact/disk"
)

func TestEntriesThatCantBootAreNamedWhenADiskIsMade(t *testing.T) {
	file := func(path, text string) disk.Entry {
		return disk.Entry{Path: path, Size: int64(len(text)), Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }}
	}
	for _, tt := range []struct{ entry, want string }{
		{"linux /linux\ninitrd /a.img\ninitrd b//B.img\noptions ro\n", ""},
		{"linux /linux\noptions ro\n", "loader/entries/x.conf: the entry has no initrd, so nothing will verify and mount the image"},
		{"linux /linux\noptions ro initrd=\\a.img\n", ""},
		{"linux /linux\ninitrd /c.img\n", "loader/entries/x.conf: initrd names /c.img, which isn't on the EFI system partition"},
		{"linux /kernel\ninitrd /a.img\n", "loader/entries/x.conf: linux names /kernel, which isn't on the EFI system partition"},
		{"efi /EFI/x.efi\n", "loader/entries/x.conf: efi names /EFI/x.efi, which isn't on the EFI system partition"},
		{"uki /linux\n", ""},
		{"title \x01\n", `loader/entries/x.conf: malformed boot loader entry: line 1: want UTF-8 text, found "\x01"`},
	} {
		esp := []disk.Entry{file("linux", "k"), file("a.img", "i"), file("b/b.img", "i"), file("loader/entries/x.conf", tt.entry), file("loader/loader.conf", "timeout 0\n")}
		problems, err := disk.CheckBootEntries(esp)
		var got []string
		for _, p := range problems {
			got = append(got, p.Error())
		}
		if err != nil || strings.Join(got, "\n") != tt.want {
			t.Errorf("%q: found %q, %v; want %q", tt.entry, got, err, tt.want)
		}
	}
}
