package uki

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// The x86 boot protocol's setup header, Documentation/arch/x86/boot.rst.
const (
	setupMagicOffset   = 0x202 // "HdrS"
	setupVersionOffset = 0x20e // u16: where the version string is, less 0x200
	setupBase          = 0x200
	maxVersionString   = 256
)

// KernelVersion returns the version of an x86 kernel (bzImage), as `uname -r`
// prints it once it runs.
func KernelVersion(linux []byte) (string, error) {
	if len(linux) < setupVersionOffset+2 || string(linux[setupMagicOffset:setupMagicOffset+4]) != "HdrS" {
		return "", formatError(`want an x86 kernel with "HdrS" at offset %#x; give the version with the kernel`, setupMagicOffset)
	}
	at := setupBase + int(binary.LittleEndian.Uint16(linux[setupVersionOffset:]))
	if at == setupBase || at >= len(linux) {
		return "", formatError("the kernel's version string is said to be at offset %#x of %d bytes", at, len(linux))
	}
	text := string(linux[at:min(at+maxVersionString, len(linux))])
	text, _, _ = strings.Cut(text, "\x00")
	version, _, _ := strings.Cut(text, " ")
	if version == "" || strings.ContainsFunc(version, notVersion) {
		return "", fmt.Errorf("%w: want a version as in 6.12.0-amd64, found %.80q at offset %#x", ErrFormat, version, at)
	}
	return version, nil
}

func notVersion(r rune) bool {
	return !strings.ContainsRune("._+-~", r) && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
}
