package chunked

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// windowMax is the largest window of a frame, in bytes: the largest that every program has to
// be able to unpack.
const windowMax = 128 << 20

// A Position says where the table of a layer is.
type Position struct {
	Offset, Length int64 // in the layer, in bytes
	Size           int64 // unpacked
	Digest         string
}

// ParsePosition returns the position of the table of a layer with these annotations and this
// size. If they name none, ok is false; if what they name can't be, the error is an ErrTable.
func ParsePosition(annotations map[string]string, layer int64) (p Position, ok bool, err error) {
	text, ok := annotations[tablePosition]
	if !ok {
		return p, false, nil
	}
	fields := strings.Split(text, ":")
	if len(fields) != 4 {
		return p, true, tableError("want its position as four numbers, found %.100q", text)
	}
	var n [4]int64
	for i, f := range fields {
		if n[i], err = strconv.ParseInt(f, 10, 64); err != nil || n[i] < 0 {
			return p, true, tableError("want its position as four numbers, found %.100q", text)
		}
	}
	p = Position{n[0], n[1], n[2], annotations[tableChecksum]}
	switch {
	case n[3] != typeCRFS:
		return p, true, tableError("want the type %d, found %d", typeCRFS, n[3])
	case p.Length > MaxTable || p.Size > MaxTable:
		return p, true, tableError("want at most %d bytes, found %d, unpacked %d", MaxTable, p.Length, p.Size)
	case p.Offset > layer || p.Length > layer-p.Offset:
		return p, true, tableError("it would end after the layer")
	}
	return p, true, nil
}

// A File is the content of a regular file in a layer: some frames.
type File struct {
	Name        string // as the archive has it
	Size        int64  // in bytes
	Offset, End int64  // in the layer
}

// Parse parses a table, and returns the regular files that have content, in the order of the
// archive. The errors are ErrTable.
func Parse(packed []byte, p Position, layer int64) ([]File, error) {
	if found := digestOf(packed); p.Digest != "" && found != p.Digest {
		return nil, tableError("want the digest %s, found %s", p.Digest, found)
	}
	z, err := NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	text, err := io.ReadAll(io.LimitReader(z, p.Size+1))
	if err != nil {
		return nil, tableError("%w", err)
	}
	if n := int64(len(text)); n != p.Size {
		return nil, tableError("want %d bytes, found %s", p.Size, map[bool]string{true: "more", false: strconv.FormatInt(n, 10)}[n > p.Size])
	}
	var t table
	if err := json.Unmarshal(text, &t); err != nil {
		return nil, tableError("%w", err)
	}
	if t.Version != tableVersion {
		return nil, tableError("want version %d, found %d", tableVersion, t.Version)
	}
	var files []File
	for _, e := range t.Entries {
		if e.Type != typeRegular || e.Size <= 0 {
			continue
		}
		if e.Offset < 0 || e.EndOffset <= e.Offset || e.EndOffset > layer {
			return nil, tableError("%.300q would be in the bytes %d to %d of the layer's %d", e.Name, e.Offset, e.EndOffset, layer)
		}
		files = append(files, File{e.Name, e.Size, e.Offset, e.EndOffset})
	}
	return files, nil
}

// NewReader returns a reader that unpacks the frames of a file. The caller limits how much of it
// is read.
func NewReader(r io.Reader) (io.ReadCloser, error) {
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(windowMax))
	if err != nil {
		return nil, err
	}
	return z.IOReadCloser(), nil
}

func tableError(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	if errors.Is(err, ErrTable) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrTable, err)
}
