package initrd_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/internal/artifact/initrd"
)

const policyFile = "usr/lib/composefs/setup-root-conf.toml"

// withMagic is an archive of another magic.
func withMagic(magic string, image []byte) []byte {
	return bytes.ReplaceAll(image, []byte("070701"), []byte(magic))
}

// unended is an archive whose first name, of one letter, has this behind it instead of
// its NUL.
func unended(name string) []byte {
	return bytes.Replace(archive(text(name, "x")), []byte(name+"\x00"), []byte(name+"y"), 1)
}

// unpadded is an archive that ends right behind the name of its end.
func unpadded(members ...member) []byte {
	image := archive(members...)
	return image[:bytes.Index(image, []byte("TRAILER!!!\x00"))+len("TRAILER!!!\x00")]
}

// What the kernel would unpack to another tree than the bytes seem to say, or where it
// stops, is refused; what differs from that in one point only is read.
func TestWhatTheKernelReadsOtherwiseIsRefused(t *testing.T) {
	base := []member{dir("usr"), dir("usr/lib"), dir("usr/lib/composefs")}
	all := func(more ...member) []byte { return archive(append(append([]member{}, base...), more...)...) }
	lax, strict := text(policyFile, "LAX"), text(policyFile, "STRICT")
	hard := func(name, data string, ino uint32) member { return member{name: name, data: data, ino: ino, links: 2} }
	device := func(name, data string) member { return member{name: name, data: data, mode: 0o020600} }
	gzip := func(image []byte) []byte { return filter(t, image, "gzip", "-1") }
	second := all(strict)
	long := strings.Repeat("n", 256)
	for _, test := range []struct {
		name      string
		bad, good []byte
		says      string
	}{
		{"a link with a NUL", all(text("lax", "LAX"), strict, link("l", "/lax\x00junk")), all(strict, link("l", "/lax\x00")), "a symbolic link without a NUL"},
		{"a link to nothing", all(strict, link("l", "")), all(strict, link("l", ".")), "not empty"},
		{"a link of PATH_MAX", all(strict, link("l", strings.Repeat("/", 4096))), all(strict, link("l", strings.Repeat("/", 4095))), "at most 4095 bytes"},
		{"a link of many names", all(strict, link("l", strings.Repeat("x/", 65))), all(strict, link("l", strings.Repeat("x/", 63)+"x")), "at most 64 names"},
		{"a name without a NUL at its end", append(unended("x"), second...), append(archive(text("x", "x")), second...), "ends in a NUL"},
		{"a name with a NUL", all(strict, text("x\x00y", "")), all(strict, text("x\x00\x00", "")), "nothing behind its end"},
		{"a name of a part that is too long", all(strict, text(long, "")), all(strict, text(long[1:], "")), "at most 255 bytes"},
		{"a name that climbs", all(strict, dir("a"), link("l", "usr/lib"), text("l/../x", "")), all(strict, dir("a"), text("a/./x", "")), `without ".."`},
		{"no name", all(strict, text("", "x")), all(strict, dir("/")), "want the name of a file"},
		{"a file with the name of a directory", all(strict, text("x/", "")), all(strict, dir("x/")), "want the name of a file"},
		{"a directory with the name of a dot", all(strict, dir("x/.")), all(strict, dir(".")), "want the name of a file"},
		{"checksums", withMagic("070702", second), withMagic("070701", second), "070702, which has checksums"},
		{"a directory with content", all(member{name: "d", mode: 0o040755, data: "x"}, strict), all(dir("d"), strict), `"d" is a directory and has a content of 1 bytes`},
		{"a device with content", all(device("d", "x"), strict), all(device("d", ""), strict), `"d" is a device and has a content`},
		{"an unknown type", all(strict, member{name: "x", mode: 0o170000}), all(strict, text("x", "")), "a known type of file"},
		{"a file over a directory", all(strict, dir("x"), text("x", "")), all(strict, dir("x"), dir("x")), "it is a file, and already there as a directory"},
		{"a link over a directory", all(lax, dir("c"), text("c/setup-root-conf.toml", "STRICT"), link("usr/lib/composefs", "/c")), all(strict, link("c", "/usr/lib/composefs")), "it is a symbolic link, and already there as a directory"},
		{"a directory over a link", all(strict, link("l", "usr"), dir("l/")), all(strict, link("l", "usr"), link("l", "usr/lib")), "it is a directory, and already there as a symbolic link"},
		{"a link over one of two names", all(hard(policyFile, "STRICT", 7), hard("decoy", "", 7), link("decoy", "usr")), all(text(policyFile, "LAX"), link(policyFile, "/strict"), text("strict", "STRICT")), "one of 2 names of a file"},
		{"a directory over a device", all(strict, device("d", ""), dir("d")), all(link(policyFile, "/x"), strict, device("d", ""), text("d", "")), "it is a directory, and already there as a device"},
		{"a link over what is in the kernel", all(strict, link("dev", "usr")), all(strict, link("root", "usr")), "already there as a directory"},
		{"a link over what is in the kernel and used", all(strict, text("root/x", ""), link("root", "usr")), all(strict, link("root", "usr"), text("root/x", "")), "already there as a directory"},
		{"one name of two is rewritten", all(hard(policyFile, "STRICT", 7), hard("decoy", "", 7), text("decoy", "LAX")),
			all(hard(policyFile, "STRICT", 7), hard("decoy", "", 7), text("other", "LAX")), "one of 2 names of a file"},
		{"a hard link to itself", all(strict, hard("a", "x", 7), hard("a", "", 7)), all(strict, hard("a", "x", 7), hard("b", "", 7)), "a hard link to itself"},
		{"the first name is rewritten", all(hard("a", "STRICT", 7), text("a", "LAX"), hard(policyFile, "", 7)),
			all(text("a", "LAX"), hard("a", "STRICT", 7), hard(policyFile, "", 7)), `want a hard link to "a", found something else`},
		{"the first name is another file's", all(hard("a", "STRICT", 7), hard("b", "LAX", 8), hard("a", "", 8), hard(policyFile, "", 7)),
			all(hard("a", "STRICT", 7), hard("b", "LAX", 8), hard("c", "", 8), hard(policyFile, "", 7)), `want a hard link to "a"`},
		{"the first name leads elsewhere", all(dir("c"), text("c/a", "LAX"), link("l", "usr"), hard("l/a", "STRICT", 7), link("l", "c"), hard(policyFile, "", 7)),
			all(dir("c"), text("c/a", "LAX"), link("l", "usr"), hard("l/a", "STRICT", 7), link("l", "usr"), hard(policyFile, "", 7)), `want a hard link to "l/a"`},
		{"the first name is left out", all(hard("none/a", "STRICT", 7), hard(policyFile, "", 7)), all(hard("usr/a", "STRICT", 7), hard(policyFile, "", 7)), `want a hard link to "none/a"`},
		{"a compressed archive at an odd place", append(append(all(lax), 0), gzip(second)...), append(append(all(lax), 0, 0, 0, 0), gzip(second)...), "at a multiple of 4"},
		{"an archive at an odd place in a compressed one", gzip(append(append(all(lax), 0), second...)), gzip(append(append(all(lax), 0, 0, 0, 0), second...)), "at a multiple of 4"},
		{"an end without padding, compressed", append(gzip(unpadded(append(base, lax)...)), gzip(second)...), append(gzip(all(lax)), gzip(second)...), "isn't padded"},
		{"an end that is a link", append(withoutEnd(all(lax)), append(archive(link("TRAILER!!!", "")), second...)...), append(all(lax), second...), "as a symbolic link"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, err := initrd.Open(test.bad)
			if a != nil || !errors.Is(err, initrd.ErrArchive) || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("found %v, want one line of ErrArchive that says %q", err, test.says)
			}
			a, err = initrd.Open(test.good)
			if err != nil {
				t.Fatalf("its good twin: %v", err)
			}
			if got, err := a.ReadFile(policyFile); err != nil || string(got) != "STRICT" {
				t.Errorf("the policy of its good twin is %q, %v", got, err)
			}
		})
	}
}

// withoutEnd is the archive without the member that ends it.
func withoutEnd(image []byte) []byte {
	return bytes.Clone(image[:bytes.LastIndex(image, []byte("070701"))])
}

// An archive whose padding is missing at its very end is good: nothing follows.
func TestTheLastPaddingMayBeMissing(t *testing.T) {
	image := unpadded(text("a", "x"))
	for _, image := range [][]byte{image, filter(t, image, "gzip", "-1")} {
		if a, err := initrd.Open(image); err != nil {
			t.Error(err)
		} else if got, err := a.ReadFile("a"); err != nil || string(got) != "x" {
			t.Errorf("found %q, %v", got, err)
		}
	}
}

// /dev, /dev/console and /root are there before the initrd is unpacked: members below
// them need no directory.
func TestMembersBelowTheDirectoriesOfTheKernelAreThere(t *testing.T) {
	a, err := initrd.Open(archive(text("root/p", "of root"), link("p", "/root/p"), text("dev/q", "of dev"), text("dev/console/x", "in a device"), text("home/x", "of nowhere")))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"p": "of root", "root/p": "of root", "dev/q": "of dev"} {
		if got, err := a.ReadFile(name); err != nil || string(got) != want {
			t.Errorf("%s is %q, %v; want %q", name, got, err, want)
		}
	}
	for _, name := range []string{"dev/console/x", "home/x"} {
		if _, err := a.Stat(name); err == nil {
			t.Errorf("%s is there", name)
		}
	}
	if entries, err := a.ReadDir("."); err != nil || fmt.Sprint(entries) != "[d dev/ L p d root/]" {
		t.Errorf("found %v, %v", entries, err)
	}
}

// A later name of a file gives it its permissions, as it may give it its content.
func TestAHardLinkChangesPermissions(t *testing.T) {
	a, err := initrd.Open(archive(member{name: "a", ino: 7, links: 2, mode: 0o100755, data: "x"}, member{name: "b", ino: 7, links: 2, mode: 0o100600}))
	if err != nil {
		t.Fatal(err)
	}
	if info, err := a.Stat("a"); err != nil || info.Mode() != 0o600 {
		t.Errorf("found %v, %v", info, err)
	}
}

// A small initrd can't ask for endless work: the steps of all paths have a limit, which
// many members at ordinary depths don't reach.
func TestStepsAreBounded(t *testing.T) {
	members := func(n int, prefix string) (m []member) {
		for i := range 39 {
			m = append(m, link(fmt.Sprintf("l%d", i), strings.Repeat("l39/../", 31)+fmt.Sprintf("l%d", i+1)))
		}
		m = append(m, dir("l39"), dir("l39/deep"))
		for i := range n {
			m = append(m, text(fmt.Sprintf("%s/%d", prefix, i), ""))
		}
		return m
	}
	if _, err := initrd.Open(archive(members(20_000, "l0")...)); !errors.Is(err, initrd.ErrArchive) || !strings.Contains(err.Error(), "more than 16777216 steps") {
		t.Errorf("found %v, want ErrArchive about steps", err)
	}
	if _, err := initrd.Open(archive(members(100_000, "l38/deep")...)); err != nil {
		t.Error(err)
	}
	// Parts that lead nowhere cost nothing.
	m := []member{dir("d"), link("l", strings.Repeat("./", 2000)+"d")}
	for i := range 20_000 {
		m = append(m, text(fmt.Sprintf("l/%d", i), ""))
	}
	if _, err := initrd.Open(archive(m...)); err != nil {
		t.Error(err)
	}
}
