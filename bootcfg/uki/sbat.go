package uki

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// sbatHeader is the first line of every SBAT table; it names the format's version.
const sbatHeader = "sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md"

// The lines that every UKI and every addon has unless others are given, so that a
// mistake of the formats themselves can be revoked.
const (
	sbatUKI   = "uki,1,UKI,uki,1,https://uapi-group.org/specifications/specs/unified_kernel_image/"
	sbatAddon = "uki-addon,1,UKI Addon,addon,1,https://www.freedesktop.org/software/systemd/man/latest/systemd-stub.html"
)

// maxSBAT bounds what is taken for an SBAT table: it is a few lines.
const maxSBAT = 1 << 16

// mergeSBAT joins the SBAT lines of stub, kernel and options, so that revoking
// any of them revokes the UKI. Empty means that the stub's own are enough.
func mergeSBAT(o Options) ([]byte, error) {
	kernel, err := sbatLines(o.Linux)
	if err != nil {
		return nil, fmt.Errorf("read .sbat of the kernel: %w", err)
	}
	stub, err := sbatLines(o.Stub)
	if err != nil {
		return nil, fmt.Errorf("read .sbat of the stub: %w", err)
	}
	given, err := splitSBAT(o.SBAT)
	if err != nil {
		return nil, err
	}
	lines := slices.Concat(stub, kernel, given)
	if o.SBAT != nil {
		return joinSBAT(lines), nil
	}
	// The stubs of systemd 252 have no room for it. It isn't worth a UKI: no such
	// line was ever revoked.
	if full := joinSBAT(append(lines, sbatUKI)); fitsSBAT(o.Stub, full) {
		return full, nil
	}
	if len(kernel) == 0 {
		return nil, nil
	}
	return joinSBAT(lines), nil
}

// joinSBAT returns a table of the lines.
func joinSBAT(lines []string) []byte {
	return []byte(sbatHeader + "\n" + strings.Join(lines, "\n") + "\n\x00")
}

// fitsSBAT reports whether the stub can hold the table.
func fitsSBAT(stub, table []byte) bool {
	p, err := readProgram(bytes.NewReader(stub))
	if err != nil {
		return false
	}
	i := p.find(".sbat")
	return i < 0 || len(table) <= p.room(i)
}

// sbatLines returns a program's SBAT lines but the first; none if it has no table.
func sbatLines(program []byte) ([]string, error) {
	r := bytes.NewReader(program)
	p, err := readProgram(r)
	if err != nil {
		return nil, err
	}
	i := p.find(".sbat")
	if i < 0 || p.sections[i].dataSize() > maxSBAT {
		return nil, nil
	}
	data, err := p.sections[i].read(r)
	if err != nil {
		return nil, err
	}
	return splitSBAT(data)
}

func splitSBAT(data []byte) ([]string, error) {
	text := strings.TrimRight(string(data), "\x00\n")
	if text == "" {
		return nil, nil
	}
	lines := strings.Split(text, "\n")
	if !strings.HasPrefix(lines[0], "sbat,") {
		return nil, fmt.Errorf(`%w: want SBAT lines of which the first begins with "sbat,", found %.80q`, ErrOptions, lines[0])
	}
	return lines[1:], nil
}
