package testutil

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// What the section .sdmagic of systemd's stubs says.
const (
	LinuxMagic = "#### LoaderInfo: systemd-stub 257.1-1 ####"
	AddonMagic = "#### LoaderInfo: systemd-addon 257.1-1 ####"
)

// EFIStub is a small EFI program for a machine (IMAGE_FILE_MACHINE_…), which has room for
// sections to be added. magic is the content of its section .sdmagic, which it lacks if that is "".
func EFIStub(machine uint16, magic string) []byte {
	const lfanew, optionalSize, headers, align = 0x80, 240, 2048, 512
	b := make([]byte, headers)
	copy(b, "MZ")
	le := binary.LittleEndian
	le.PutUint32(b[0x3c:], lfanew)
	file := b[lfanew:]
	copy(file, "PE\x00\x00")
	le.PutUint16(file[4:], machine)
	le.PutUint16(file[20:], optionalSize)
	le.PutUint16(file[22:], 0x206) // an executable
	optional := file[24:]
	le.PutUint16(optional, 0x20b) // PE32+
	le.PutUint32(optional[32:], 4096)
	le.PutUint32(optional[36:], align)
	le.PutUint32(optional[60:], headers)
	le.PutUint16(optional[68:], 10)  // an EFI application
	le.PutUint32(optional[108:], 16) // data directories
	table := optional[optionalSize:]
	sections := []struct{ name, data string }{{".text", "code"}}
	if magic != "" {
		sections = append(sections, struct{ name, data string }{".sdmagic", magic})
	}
	le.PutUint16(file[6:], uint16(len(sections)))
	for i, s := range sections {
		row := table[40*i:]
		copy(row[:8], s.name)
		le.PutUint32(row[8:], uint32(len(s.data)))
		le.PutUint32(row[12:], uint32(0x1000*(i+1)))
		le.PutUint32(row[16:], align)
		le.PutUint32(row[20:], uint32(headers+align*i))
		le.PutUint32(row[36:], 0x40000040)
	}
	for _, s := range sections {
		b = append(b, append([]byte(s.data), make([]byte, align-len(s.data))...)...)
	}
	return b
}

// AddonStub makes a stub for addons from systemd's stub for UKIs by changing its name.
// Debian 12 has no stub for addons.
func AddonStub(t testing.TB, linux []byte) []byte {
	t.Helper()
	const from, to = "#### LoaderInfo: systemd-stub ", "#### LoaderInfo: systemd-addon "
	at := bytes.Index(linux, []byte(from))
	end := bytes.Index(linux[max(at, 0):], []byte(" ####\x00"))
	if at < 0 || end < len(to) {
		t.Fatal("the stub doesn't say which version of systemd it is of")
	}
	version := linux[at+len(from) : at+end-(len(to)-len(from))] // shorter by as much as the name is longer
	return append(append(append(bytes.Clone(linux[:at]), to...), version...), linux[at+end:]...)
}

// Cpio is a tree as an initrd: cpio, in the format newc, not compressed.
func Cpio(root fstest.MapFS) []byte {
	var members []Member
	made := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(root)) {
		for i := range name {
			if dir := name[:i]; strings.HasPrefix(name[i:], "/") && !made[dir] {
				made[dir] = true
				members = append(members, Member{dir, fs.ModeDir | 0o755, nil})
			}
		}
		members = append(members, Member{name, root[name].Mode, root[name].Data})
	}
	return CpioOf(members...)
}

// A Member is one file in an initrd.
type Member struct {
	Name string
	Mode fs.FileMode
	Data []byte
}

// CpioOf is an initrd of just these files, in this order.
func CpioOf(members ...Member) []byte {
	var out bytes.Buffer
	for _, m := range append(slices.Clip(members), Member{Name: "TRAILER!!!"}) {
		kind := 0o100000
		switch m.Mode.Type() {
		case fs.ModeSymlink:
			kind = 0o120000
		case fs.ModeDir:
			kind = 0o040000
		}
		fmt.Fprintf(&out, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
			0, kind|int(m.Mode.Perm()), 0, 0, 1, 0, len(m.Data), 0, 0, 0, 0, len(m.Name)+1, 0, m.Name)
		out.Write(make([]byte, -out.Len()&3))
		out.Write(m.Data)
		out.Write(make([]byte, -out.Len()&3))
	}
	return out.Bytes()
}
