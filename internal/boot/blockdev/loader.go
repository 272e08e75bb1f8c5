package blockdev

import (
	"encoding/binary"
	"fmt"
)

// LoaderVariable is the EFI variable in which systemd-boot and systemd-stub say from
// which partition they were started (the Boot Loader Interface).
const LoaderVariable = "LoaderDevicePartUUID-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"

// MaxLoaderVariable is more than a file of efivarfs with such a number has, in bytes.
const MaxLoaderVariable = 128

// ParseLoaderVariable reads the file of efivarfs: 4 bytes of attributes, then a GUID of
// 36 characters in UTF-16, mostly in capitals and with a zero at the end. It returns
// the number in lower case, as in PARTUUID=.
func ParseLoaderVariable(b []byte) (string, error) {
	const attributes, digits = 4, 36
	if n := len(b) - attributes - 2*digits; n != 0 && (n != 2 || b[len(b)-1] != 0 || b[len(b)-2] != 0) {
		return "", fmt.Errorf("EFI variable LoaderDevicePartUUID: want a GUID of %d characters, found %d bytes", digits, len(b)-attributes)
	}
	id := make([]byte, digits)
	for i := range id {
		c := binary.LittleEndian.Uint16(b[attributes+2*i:])
		hyphen := i == 8 || i == 13 || i == 18 || i == 23
		switch {
		case hyphen && c == '-', !hyphen && (c >= '0' && c <= '9' || c >= 'a' && c <= 'f'):
			id[i] = byte(c)
		case !hyphen && c >= 'A' && c <= 'F':
			id[i] = byte(c) + 'a' - 'A'
		default:
			return "", fmt.Errorf("EFI variable LoaderDevicePartUUID: want a GUID, found %#04x as its character %d", c, i+1)
		}
	}
	return string(id), nil
}
