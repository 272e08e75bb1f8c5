package uki

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
)

// A row of .hwids: a hardware ID, and what the machine that has it is called.
// Offsets are from the start of the section; a row of zeros is the last.
//
//	0            4        20      24            28
//	+------------+--------+-------+-------------+
//	| type, size | GUID   | name  | compatible  |
const (
	hwidRowSize    = 28
	hwidDeviceTree = 1 << 28 // type of a row that selects a device tree
	guidSize       = 16
)

// Limits on a directory of hardware IDs.
const (
	maxHWIDFile = 1 << 20
	maxHWIDs    = 1 << 16
)

// device is a file of the directory.
type device struct {
	Name       *string  `json:"name"`
	Compatible *string  `json:"compatible"`
	HWIDs      []string `json:"hwids"`
}

// PackHWIDs makes a .hwids section of all *.json files below a directory, as ukify
// reads them: {"name": …, "compatible": …, "hwids": [GUID …]}. With it the stub
// finds out which of the DeviceTreeAuto a machine needs whose firmware brings none.
func PackHWIDs(dir fs.FS) ([]byte, error) {
	var rows []hwidRow
	err := fs.WalkDir(dir, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(name, ".json") {
			return err
		}
		d, err := readDevice(dir, name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if rows = append(rows, d...); len(rows) > maxHWIDs {
			return fmt.Errorf("%s: %w: want at most %d hardware IDs", name, ErrOptions, maxHWIDs)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("%w: want *.json files with hardware IDs, found none", ErrOptions)
	}
	return packRows(rows), nil
}

type hwidRow struct {
	name, compatible string
	guid             [guidSize]byte // as it is written: the first bytes first
}

// readDevice reads a file of the directory.
func readDevice(dir fs.FS, name string) ([]hwidRow, error) {
	f, err := dir.Open(name)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxHWIDFile+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if len(text) > maxHWIDFile {
		return nil, fmt.Errorf("%w: want at most %d bytes", ErrOptions, maxHWIDFile)
	}
	var d device
	if err := json.Unmarshal(text, &d); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	if d.Name == nil || d.Compatible == nil || d.HWIDs == nil {
		return nil, fmt.Errorf("%w: want name, compatible and hwids", ErrOptions)
	}
	if strings.Contains(*d.Name+*d.Compatible, "\x00") {
		return nil, fmt.Errorf("%w: name or compatible has a NUL in it", ErrOptions)
	}
	var rows []hwidRow
	for _, text := range d.HWIDs {
		guid, err := parseGUID(text)
		if err != nil {
			return nil, err
		}
		rows = append(rows, hwidRow{*d.Name, *d.Compatible, guid})
	}
	return rows, nil
}

func parseGUID(text string) (guid [guidSize]byte, err error) {
	plain := strings.TrimSuffix(strings.TrimPrefix(text, "{"), "}")
	parts := strings.Split(plain, "-")
	b, err := hex.DecodeString(strings.Join(parts, ""))
	if err != nil || len(parts) != 5 || len(plain) != 36 || len(parts[0]) != 8 || len(parts[1]) != 4 || len(parts[2]) != 4 || len(parts[3]) != 4 {
		return guid, fmt.Errorf("%w: want a hardware ID like 6de5d951-d755-576b-bd09-c5cf66b27234, found %.80q", ErrOptions, text)
	}
	return [guidSize]byte(b), nil
}

// packRows writes the table: devices in the order in which they came, the IDs of
// each sorted, then the strings, sorted too.
func packRows(rows []hwidRow) []byte {
	type key struct{ name, compatible string }
	order := map[key]int{}
	texts := map[string]uint32{}
	for _, r := range rows {
		k := key{r.name, r.compatible}
		if _, known := order[k]; !known {
			order[k] = len(order)
		}
		texts[r.name], texts[r.compatible] = 0, 0
	}
	slices.SortStableFunc(rows, func(a, b hwidRow) int {
		return cmp.Or(cmp.Compare(order[key{a.name, a.compatible}], order[key{b.name, b.compatible}]), slices.Compare(a.guid[:], b.guid[:]))
	})
	rows = slices.Compact(rows)
	var tail []byte
	for _, text := range slices.Sorted(maps.Keys(texts)) {
		texts[text] = uint32((len(rows)+1)*hwidRowSize + len(tail))
		tail = append(append(tail, text...), 0)
	}
	le := binary.LittleEndian
	var out []byte
	for _, r := range rows {
		out = le.AppendUint32(out, hwidDeviceTree|hwidRowSize)
		out = le.AppendUint32(out, binary.BigEndian.Uint32(r.guid[:]))
		out = le.AppendUint16(out, binary.BigEndian.Uint16(r.guid[4:]))
		out = le.AppendUint16(out, binary.BigEndian.Uint16(r.guid[6:]))
		out = append(out, r.guid[8:]...)
		out = le.AppendUint32(out, texts[r.name])
		out = le.AppendUint32(out, texts[r.compatible])
	}
	return append(append(out, make([]byte, hwidRowSize)...), tail...)
}
