package blockdev_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/composefs-go/composefs/internal/boot/blockdev"
	"github.com/composefs-go/composefs/internal/testing/testutil"
)

const (
	uuid     = "0f0e0d0c-1a1b-2c2d-3e3f-405060708090"
	rootType = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709"
)

// makeImage runs a program of another project on a sparse file of the size.
func makeImage(t *testing.T, size int64, tool string, args ...string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, size); err != nil {
		t.Fatal(err)
	}
	program := testutil.RequireTool(t, tool)
	if out, err := exec.Command(program, append(args, name)...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", tool, err, out)
	}
	return name
}

// The file systems are made by their own tools.
func TestReadSuperblockKnowsWhatToolsMake(t *testing.T) {
	for _, c := range []struct {
		fstype, tool string
		args         []string
	}{
		{"ext4", "mkfs.ext4", []string{"-q", "-L", "os", "-U", uuid}},
		{"xfs", "mkfs.xfs", []string{"-q", "-L", "os", "-m", "uuid=" + uuid}},
		{"btrfs", "mkfs.btrfs", []string{"-q", "-L", "os", "-U", uuid}},
	} {
		t.Run(c.fstype, func(t *testing.T) {
			f, err := os.Open(makeImage(t, 512<<20, c.tool, c.args...))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			got, ok := blockdev.ReadSuperblock(f)
			if want := (blockdev.Superblock{Type: c.fstype, UUID: uuid, Label: "os"}); !ok || got != want {
				t.Errorf("%+v, %v; want %+v", got, ok, want)
			}
		})
	}
}

// table makes a disk with an ESP and two root partitions, of which one is not to
// be found by its type.
func table(t *testing.T) string {
	t.Helper()
	name := makeImage(t, 64<<20, "sfdisk", "--version")
	script := "label: gpt\n" +
		"size=1M, type=U\n" +
		"size=1M, type=" + rootType + ", uuid=" + uuid + "\n" +
		"size=1M, type=" + rootType + ", attrs=\"GUID:63\"\n"
	c := exec.Command("sfdisk", "-q", name)
	c.Stdin = strings.NewReader(script)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("sfdisk: %v\n%s", err, out)
	}
	return name
}

func TestReadPartitionsReadsWhatSfdiskWrites(t *testing.T) {
	f, err := os.Open(table(t))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all := blockdev.ReadPartitions(f, 512)
	if len(all) != 3 || all[1] != (blockdev.Partition{Number: 2, Type: rootType, UUID: uuid}) || !all[2].NoAuto {
		t.Errorf("%+v", all)
	}
}

func TestReadPartitionsOfAnMBR(t *testing.T) {
	b := make([]byte, 1024)
	copy(b[440:], []byte{0x78, 0x56, 0x34, 0x12})
	b[446+4+16], b[510], b[511] = 0x83, 0x55, 0xaa
	all := blockdev.ReadPartitions(bytes.NewReader(b), 512)
	if len(all) != 1 || all[0] != (blockdev.Partition{Number: 2, UUID: "12345678-02"}) {
		t.Errorf("%+v", all)
	}
}

type device struct{ *os.File }

// finder is a machine with the disk of table, an unpartitioned ext4 disk and a
// loop device.
func finder(t *testing.T) blockdev.Finder {
	t.Helper()
	files := map[string]string{
		"vda": table(t),
		"vdb": makeImage(t, 8<<20, "mkfs.ext4", "-q", "-L", "data", "-U", uuid),
	}
	text := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	return blockdev.Finder{
		Sys: fstest.MapFS{
			"block/vda/queue/logical_block_size": text("512\n"),
			"block/vda/vda1/partition":           text("1\n"),
			"block/vda/vda1/uevent":              text("PARTN=1\nPARTNAME=esp\n"),
			"block/vda/vda2/partition":           text("2\n"),
			"block/vda/vda2/uevent":              text("DEVNAME=vda2\nPARTN=2\nPARTNAME=my root\n"),
			"block/vda/vda3/partition":           text("3\n"),
			"block/vdb/size":                     text("1\n"),
			"block/loop0/size":                   text("0\n"),
		},
		Open: func(name string) (blockdev.Device, error) {
			if files[name] == "" {
				return nil, fs.ErrNotExist
			}
			f, err := os.Open(files[name])
			return device{f}, err
		},
	}
}

func TestWaitFindsWhatRootMeans(t *testing.T) {
	f := finder(t)
	for _, c := range []struct{ name, root, want string }{
		{"a name", "/dev/vdb", "vdb"},
		{"the label of a partition", "PARTLABEL=my root", "vda2"},
		{"the number of a partition", "PARTUUID=" + strings.ToUpper(uuid), "vda2"},
		{"a label", "LABEL=data", "vdb"},
		{"a number", "UUID=" + uuid, "vdb"},
		{"a link that udev would make", "/dev/disk/by-label/data", "vdb"},
		{"nothing: the type, without what is marked no-auto", "", "vda2"},
	} {
		s, err := blockdev.ParseSpec(c.root, "amd64")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := f.Wait(s, 0); got != c.want || err != nil {
			t.Errorf("%s: root=%s is %q, %v; want %q", c.name, c.root, got, err, c.want)
		}
	}
}

func TestWaitSaysWhatIsThereInstead(t *testing.T) {
	s, err := blockdev.ParseSpec("LABEL=other", "amd64")
	if err != nil {
		t.Fatal(err)
	}
	_, err = finder(t).Wait(s, 20*time.Millisecond)
	if err == nil {
		t.Fatal("found something")
	}
	for _, part := range []string{"LABEL=other didn't appear within 20ms", "vda2 (PARTLABEL=my root)", "vdb"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q doesn't say %q", err, part)
		}
	}
	if strings.Contains(err.Error(), "loop0") {
		t.Errorf("%q lists an empty loop device", err)
	}
}

func TestWaitRefusesToGuess(t *testing.T) {
	f := finder(t)
	sys := f.Sys.(fstest.MapFS)
	sys["block/vdc/vdc1/partition"], sys["block/vdc/vdc1/uevent"] = sys["block/vda/vda2/partition"], sys["block/vda/vda2/uevent"]
	s, err := blockdev.ParseSpec("PARTLABEL=my root", "amd64")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Wait(s, 0); !errors.Is(err, blockdev.ErrAmbiguous) || !strings.Contains(err.Error(), "vda2, vdc1") {
		t.Errorf("%v, want both names", err)
	}
}

// machine has disks with an EFI system partition and a root each, and perhaps more.
type machine struct {
	sys   fstest.MapFS
	files map[string]string
}

// plug adds a disk whose partitions have the numbers and labels.
func (m *machine) plug(t *testing.T, name string, ids ...string) {
	t.Helper()
	script := "label: gpt\n"
	for i, id := range ids {
		script += "size=1M, type=" + rootType + ", uuid=" + id + "\n"
		number := fmt.Sprint(i + 1)
		at := "block/" + name + "/" + name + number
		m.sys[at+"/partition"] = &fstest.MapFile{Data: []byte(number + "\n")}
		m.sys[at+"/uevent"] = &fstest.MapFile{Data: []byte("PARTNAME=" + []string{"esp", "root", "root"}[i] + "\n")}
	}
	m.files[name] = makeImage(t, 64<<20, "sfdisk", "--version")
	c := exec.Command("sfdisk", "-q", m.files[name])
	c.Stdin = strings.NewReader(script)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("sfdisk: %v\n%s", err, out)
	}
}

// number is a partition's own.
func number(n int) string { return fmt.Sprintf("%08x-1a1b-2c2d-3e3f-405060708090", n) }

// Of several devices the one on the boot loader's disk is meant, and only where that
// doesn't decide nobody guesses.
func TestWaitPrefersTheDiskOfTheBootLoader(t *testing.T) {
	type disks map[string][]string
	two := disks{"vda": {number(1), number(2)}, "vdb": {number(3), number(4)}}
	for _, c := range []struct {
		name, root, loader string
		disks              disks
		want, err          string
	}{
		{"from the first", "PARTLABEL=root", number(1), two, "vda2", ""},
		{"from the second", "PARTLABEL=root", number(3), two, "vdb2", ""},
		{"not known", "PARTLABEL=root", "", two, "", "it isn't known which disk the boot loader came from"},
		{"from a disk without a root", "PARTLABEL=root", number(5), disks{"sda": {number(5)}, "vda": {number(1), number(2)}}, "vda2", ""},
		{"from a disk without a root, of two with one", "PARTLABEL=root", number(5), disks{"sda": {number(5)}, "vda": two["vda"], "vdb": two["vdb"]}, "", "vda2, vdb2, and the disk that the boot loader came from doesn't decide"},
		{"a copy of a disk", "PARTLABEL=root", number(1), disks{"vda": two["vda"], "vdb": two["vda"]}, "", "vda2, vdb2, and the disk that the boot loader came from doesn't decide"},
		{"two roots on one disk", "PARTLABEL=root", number(1), disks{"vda": {number(1), number(2), number(3)}}, "", "vda2, vda3"},
		{"by its number, on another disk", "PARTUUID=" + number(2), number(3), two, "vda2", ""},
		{"by its name, on another disk", "/dev/vda", number(3), two, "vda", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := machine{fstest.MapFS{}, map[string]string{}}
			for name, ids := range c.disks {
				m.plug(t, name, ids...)
			}
			var said []string
			f := m.finder(c.loader)
			f.Say = func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
			s, err := blockdev.ParseSpec(c.root, "amd64")
			if err != nil {
				t.Fatal(err)
			}
			got, err := f.Wait(s, 0)
			if got != c.want || (err == nil) != (c.err == "") || err != nil && (!errors.Is(err, blockdev.ErrAmbiguous) || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("%q, %v; want %q, %q", got, err, c.want, c.err)
			}
			if chosen := len(c.disks) == 2 && strings.HasPrefix(c.name, "from the"); chosen != (len(said) == 1 && strings.HasSuffix(said[0], "taking "+c.want+", which is on the disk of the boot loader")) {
				t.Errorf("said %q", said)
			}
		})
	}
}

// A partition that an array or an unlocked volume is made of isn't the root, though it may
// have its label, or a superblock in the same place.
func TestWaitTakesNoDeviceThatAnotherIsMadeOf(t *testing.T) {
	m := machine{fstest.MapFS{}, map[string]string{}}
	m.plug(t, "vda", number(1), number(2))
	m.plug(t, "vdb", number(3), number(4))
	m.sys["block/vda/vda2/holders/md0/dev"] = &fstest.MapFile{Data: []byte("9:0\n")}
	for root, want := range map[string]string{"PARTLABEL=root": "vdb2", "PARTUUID=" + number(2): ""} {
		s, err := blockdev.ParseSpec(root, "amd64")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := m.finder(number(1)).Wait(s, 0); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v; want %q", root, got, err, want)
		}
	}
}

func (m machine) finder(loader string) blockdev.Finder {
	return blockdev.Finder{Sys: m.sys, Loader: loader, Remind: time.Hour, Open: func(name string) (blockdev.Device, error) {
		if m.files[name] == "" {
			return nil, fs.ErrNotExist
		}
		f, err := os.Open(m.files[name])
		return device{f}, err
	}}
}

// A disk that is there first isn't taken for the loader's, which comes later; and each
// reminder says what is awaited.
func TestWaitGivesTheDiskOfTheBootLoaderTime(t *testing.T) {
	late := machine{fstest.MapFS{}, map[string]string{}}
	late.plug(t, "vda", number(1), number(2))
	both := machine{maps.Clone(late.sys), maps.Clone(late.files)}
	both.plug(t, "vdb", number(3), number(4))
	f, whole := late.finder(number(3)), both.finder(number(3))
	reminders := 0
	f.Remind = 0
	f.Say = func(format string, args ...any) {
		if strings.HasPrefix(format, "waiting for the root device") {
			reminders++
		}
	}
	f.Sys = hotplug(func() fs.FS {
		if reminders >= 3 {
			return whole.Sys
		}
		return late.sys
	})
	f.Open = whole.Open
	s, err := blockdev.ParseSpec("PARTLABEL=root", "amd64")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := f.Wait(s, blockdev.Forever); got != "vdb2" || err != nil || reminders < 3 {
		t.Errorf("%q, %v after %d reminders; want vdb2", got, err, reminders)
	}
}

// A hotplug is a /sys that changes.
type hotplug func() fs.FS

func (p hotplug) Open(name string) (fs.File, error) { return p().Open(name) }

func TestParseLoaderVariable(t *testing.T) {
	wide := func(s string) []byte {
		b := []byte{6, 0, 0, 0}
		for _, c := range s {
			b = append(b, byte(c), byte(c>>8))
		}
		return b
	}
	for _, c := range []struct {
		name string
		b    []byte
		want string // "" is an error
	}{
		{"as systemd-boot writes it", wide(strings.ToUpper(uuid) + "\x00"), uuid},
		{"without the zero, in small letters", wide(uuid), uuid},
		{"nothing", nil, ""},
		{"only attributes", wide(""), ""},
		{"too short", wide(uuid[1:]), ""},
		{"too long", wide(uuid + "00"), ""},
		{"something other than a zero behind it", wide(uuid + "0"), ""},
		{"a hyphen elsewhere", wide("0f0e0d0-c1a1b-2c2d-3e3f-405060708090"), ""},
		{"no hexadecimal digit", wide("g" + uuid[1:]), ""},
		{"a digit of another script", wide("\u0661" + uuid[1:]), ""},
		{"an odd number of bytes", append(wide(uuid), 0), ""},
		{"a path", wide("../../../../../../../../etc/passwd\x00\x00"), ""},
	} {
		if got, err := blockdev.ParseLoaderVariable(c.b); got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %q, %v; want %q", c.name, got, err, c.want)
		}
	}
}

// Whatever the firmware says, what comes out is the number of a partition or nothing.
func FuzzParseLoaderVariable(f *testing.F) {
	f.Add([]byte{6, 0, 0, 0})
	f.Add(append([]byte{6, 0, 0, 0}, []byte("0\x00f\x000\x00e\x000\x00d\x000\x00c\x00-\x001\x00a\x001\x00b\x00-\x002\x00c\x002\x00d\x00-\x003\x00e\x003\x00f\x00-\x004\x000\x005\x000\x006\x000\x007\x000\x008\x000\x009\x000\x00")...))
	guid := regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	f.Fuzz(func(t *testing.T, b []byte) {
		id, err := blockdev.ParseLoaderVariable(b)
		if err == nil && (!guid.MatchString(id) || len(b) > blockdev.MaxLoaderVariable) || err != nil && id != "" {
			t.Errorf("%x: %q, %v", b, id, err)
		}
	})
}

func TestParseSpecRefuses(t *testing.T) {
	for _, c := range []struct{ name, root, arch string }{
		{"a word", "live", "amd64"},
		{"an empty label", "LABEL=", "amd64"},
		{"network", "nfs:server:/x", "amd64"},
		{"no root= where there is no type for it", "", "mips"},
	} {
		if s, err := blockdev.ParseSpec(c.root, c.arch); err == nil {
			t.Errorf("%s: accepted as %s", c.name, s)
		}
	}
}

// Whatever is on a disk, a label fits in its field and a table in its limits.
func FuzzDisk(f *testing.F) {
	gpt := make([]byte, 2048)
	copy(gpt[512:], "EFI PART")
	gpt[512+72], gpt[512+80], gpt[512+84] = 2, 4, 128
	f.Add(gpt)
	f.Add(append([]byte("XFSB"), make([]byte, 2048)...))
	f.Fuzz(func(t *testing.T, disk []byte) {
		if s, ok := blockdev.ReadSuperblock(bytes.NewReader(disk)); ok && (len(s.UUID) != 36 || len(s.Label) > 256) {
			t.Errorf("%+v", s)
		}
		if p := blockdev.ReadPartitions(bytes.NewReader(disk), 512); len(p) > 1024 {
			t.Errorf("%d partitions", len(p))
		}
	})
}
