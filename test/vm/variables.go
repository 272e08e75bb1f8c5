package vm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unicode/utf16"
)

// Keys are the certificates, in DER, that a machine's owner enrolls for Secure Boot.
type Keys struct {
	Platform []byte   // PK: its owner may change KEK
	Exchange []byte   // KEK: its owner may change the database
	Database [][]byte // db: programs that are signed by one of these are started
}

// A guid is an EFI_GUID in its binary form.
type guid [16]byte

// The names that UEFI has for owners of variables and kinds of signatures.
var (
	globalVariable   = guid{0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c}
	securityDatabase = guid{0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f}
	secureBootEnable = guid{0xc7, 0x0b, 0xa3, 0xf0, 0x08, 0xaf, 0x56, 0x45, 0x99, 0xc4, 0x00, 0x10, 0x09, 0xc9, 0x3a, 0x44}
	certX509         = guid{0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72}
	authenticated    = guid{0x78, 0x2c, 0xf3, 0xaa, 0x7b, 0x94, 0x9a, 0x43, 0xa1, 0x80, 0x2e, 0x14, 0x4e, 0xc3, 0x77, 0x92}
)

// Attributes of variables: kept over a reboot and seen by the boot loader; seen by
// the operating system; changed only with a signature.
const (
	keptForBoot = 1<<0 | 1<<1
	atRuntime   = 1 << 2
	timeSigned  = 1 << 5
)

// A variable store is a firmware volume whose header has its own length at byte 48;
// then comes the header of the store, and then one variable after another:
//
//	0        2      3      4           8      16          32      36     40     44     60
//	+--------+------+------+-----------+-------+-----------+-------+------+------+------+----------+------+
//	| 0x55aa | 0x3f | 0    | attribute | count | time      | index | name | data | GUID | name ... | data |
//	+--------+------+------+-----------+-------+-----------+-------+------+------+------+----------+------+
//
// name and data are lengths in bytes; the name is UTF-16 with a zero at its end.
// Each begins at a multiple of four.
const (
	volumeLength  = 48
	storeHeader   = 28
	variableStart = 0x55aa
	variableAdded = 0x3f
	alignment     = 4
)

// Enroll returns the variables of firmware that never ran, with keys enrolled: from its
// first start on it starts only programs that are signed by a key in the database.
func Enroll(blank []byte, k Keys) ([]byte, error) {
	at, err := firstVariable(blank)
	if err != nil {
		return nil, err
	}
	store := append([]byte(nil), blank...)
	signed := uint32(keptForBoot | atRuntime | timeSigned)
	for _, v := range []struct {
		name       string
		owner      guid
		attributes uint32
		data       []byte
	}{
		{"db", securityDatabase, signed, certificates(k.Database...)},
		{"KEK", globalVariable, signed, certificates(k.Exchange)},
		{"PK", globalVariable, signed, certificates(k.Platform)},
		{"SecureBootEnable", secureBootEnable, keptForBoot, []byte{1}},
	} {
		entry := variable(v.name, v.owner, v.attributes, v.data)
		if at+len(entry) > len(store) {
			return nil, fmt.Errorf("enroll %s: the store of %d bytes has no room for it", v.name, len(store))
		}
		copy(store[at:], entry)
		at = (at + len(entry) + alignment - 1) / alignment * alignment
	}
	return store, nil
}

// firstVariable returns where variables begin, in a store that has none.
func firstVariable(blank []byte) (int, error) {
	if len(blank) < volumeLength+2 {
		return 0, fmt.Errorf("want the variables of a firmware, found %d bytes", len(blank))
	}
	header := int(binary.LittleEndian.Uint16(blank[volumeLength:]))
	at := header + storeHeader
	if len(blank) < at+alignment || guid(blank[header:header+16]) != authenticated {
		return 0, errors.New("want the variables of a firmware with Secure Boot, found something else")
	}
	if binary.LittleEndian.Uint32(blank[at:]) != math.MaxUint32 {
		return 0, errors.New("want the variables of a firmware that never ran, found some in it")
	}
	return at, nil
}

func variable(name string, owner guid, attributes uint32, data []byte) []byte {
	wide := utf16.Encode([]rune(name + "\x00"))
	le := binary.LittleEndian
	b := le.AppendUint16(nil, variableStart)
	b = append(b, variableAdded, 0)
	b = le.AppendUint32(b, attributes)
	b = le.AppendUint64(b, 0)
	b = append(b, make([]byte, 16)...) // time: older than any update
	b = le.AppendUint32(b, 0)
	b = le.AppendUint32(b, uint32(2*len(wide)))
	b = le.AppendUint32(b, uint32(len(data)))
	b = append(b, owner[:]...)
	for _, c := range wide {
		b = le.AppendUint16(b, c)
	}
	return append(b, data...)
}

// certificates are lists of signatures (EFI_SIGNATURE_LIST), each of one
// certificate, because all in a list have the same size.
func certificates(ders ...[]byte) (b []byte) {
	const listHeader, owner = 28, 16
	le := binary.LittleEndian
	for _, der := range ders {
		b = append(b, certX509[:]...)
		b = le.AppendUint32(b, uint32(listHeader+owner+len(der)))
		b = le.AppendUint32(b, 0)
		b = le.AppendUint32(b, uint32(owner+len(der)))
		b = append(b, globalVariable[:]...) // whose certificate it is; nobody asks
		b = append(b, der...)
	}
	return b
}
