package uki

import (
	"bytes"
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

// banner is what a kernel prints first: "Linux version 6.12.0-arm64 (builder@host) …".
const banner = "Linux version "

// KernelVersion returns the version of a kernel, as `uname -r` prints it once it
// runs: from the header of an x86 kernel (bzImage), or from the banner of one that
// isn't compressed (arm64's Image).
func KernelVersion(linux []byte) (string, error) {
	if len(linux) >= setupVersionOffset+2 && string(linux[setupMagicOffset:setupMagicOffset+4]) == "HdrS" {
		at := setupBase + int(binary.LittleEndian.Uint16(linux[setupVersionOffset:]))
		if at == setupBase || at >= len(linux) {
			return "", formatError("the kernel's version string is said to be at offset %#x of %d bytes", at, len(linux))
		}
		return versionAt(linux, at)
	}
	for from := 0; ; {
		i := bytes.Index(linux[from:], []byte(banner))
		if i < 0 {
			return "", formatError(`want an x86 kernel with "HdrS" at offset %#x, or %q in one that isn't compressed`, setupMagicOffset, banner)
		}
		from += i + len(banner)
		// The same words stand in format strings and in messages.
		version, err := versionAt(linux, from)
		if err == nil && bytes.HasPrefix(linux[from+len(version):], []byte(" (")) {
			return version, nil
		}
	}
}

// versionAt reads the version that a kernel has at an offset, up to a space.
func versionAt(linux []byte, at int) (string, error) {
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
