package ukiparts

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// A PartError is about a part whose content isn't what it has to be, or is incomplete: at
// boot it would be ignored, or reading it would fail.
type PartError struct {
	Want string // as in "an initrd"
	Err  error  // what is wrong
}

func (e *PartError) Error() string { return "want " + e.Want + ": " + e.Err.Error() }
func (e *PartError) Unwrap() error { return e.Err }

// CheckOSRelease refuses anything but the text of os-release(5).
func CheckOSRelease(content []byte) error {
	refuse := func(err error) error { return &PartError{"an os-release file", err} }
	if !utf8.Valid(content) || bytes.IndexByte(content, 0) >= 0 {
		return refuse(errors.New("it is not a text"))
	}
	for line := range strings.Lines(string(content)) {
		key, _, ok := strings.Cut(line, "=")
		if ok && key != "" && strings.Trim(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == "" {
			return nil
		}
	}
	return refuse(errors.New("there is no line like ID=debian in it"))
}

// CheckSplash refuses anything but a whole picture in the format BMP.
func CheckSplash(content []byte) error {
	const header = 14 // BITMAPFILEHEADER: "BM", u32 size of the file, 4 bytes, u32 offset of the pixels
	refuse := func(err error) error { return &PartError{"a picture in the format BMP", err} }
	if len(content) < header || string(content[:2]) != "BM" {
		return refuse(errors.New(`it doesn't begin with "BM"`))
	}
	if size := binary.LittleEndian.Uint32(content[2:]); int64(size) > int64(len(content)) {
		return refuse(cutError(size, len(content)))
	}
	return nil
}

// CheckDeviceTree refuses anything but a whole flattened device tree (DTB).
//
// Format: Devicetree Specification, chapter 5.
func CheckDeviceTree(content []byte) error {
	const header, magic = 40, 0xd00dfeed
	refuse := func(err error) error { return &PartError{"a device tree (DTB)", err} }
	if len(content) < header || binary.BigEndian.Uint32(content) != magic {
		return refuse(fmt.Errorf("it doesn't begin with %#x", uint32(magic)))
	}
	if size := binary.BigEndian.Uint32(content[4:]); int64(size) > int64(len(content)) {
		return refuse(cutError(size, len(content)))
	}
	return nil
}

func cutError(want uint32, found int) error {
	return fmt.Errorf("it is cut short: it should have %d bytes and has %d", want, found)
}

// CheckPCRPublicKey refuses anything but one public key in PEM.
func CheckPCRPublicKey(content []byte) error {
	block, _ := pem.Decode(content)
	if block == nil || block.Type != "PUBLIC KEY" {
		return &PartError{"a public key in PEM", errors.New(`there is no block "BEGIN PUBLIC KEY" in it`)}
	}
	return nil
}

// CheckPCRSignature refuses anything but a JSON object, as systemd-measure(1) writes it.
func CheckPCRSignature(content []byte) error {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(bytes.TrimRight(content, "\x00"), &object); err != nil || object == nil {
		if err == nil {
			err = errors.New("it is null")
		}
		return &PartError{"PCR signatures, a JSON object", err}
	}
	return nil
}
