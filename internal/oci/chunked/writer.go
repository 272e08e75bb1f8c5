package chunked

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/crc64"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"
	"github.com/vbatts/tar-split/archive/tar"
	"github.com/vbatts/tar-split/tar/storage"
)

// A Layer is an archive that was compressed.
type Layer struct {
	DiffID      string // of the archive, "sha256:HEX"
	Annotations map[string]string
}

// Write compresses an archive. The same archive makes the same bytes. If the archive can't have
// a table, the error is an ErrNoTable; what was written is of no use then.
func Write(w io.Writer, archive io.Reader) (Layer, error) {
	out, err := newFrames(w)
	if err != nil {
		return Layer{}, err
	}
	s, err := newSplit()
	if err != nil {
		return Layer{}, err
	}
	in := &faithful{r: archive, read: sha256.New()}
	c := &writer{out: out, split: s, tar: tar.NewReader(in)}
	c.tar.RawAccounting = true
	if err := c.archive(in); err != nil {
		if in.err != nil {
			err = in.err
		}
		return Layer{}, err
	}
	l := Layer{DiffID: digest(in.read)}
	if digest(out.written) != l.DiffID {
		return Layer{}, fmt.Errorf("%w: it can't be taken apart", ErrNoTable)
	}
	l.Annotations, err = c.finish()
	return l, err
}

// Plain compresses an archive without a table.
func Plain(w io.Writer, archive io.Reader) (Layer, error) {
	out, err := newFrames(w)
	if err != nil {
		return Layer{}, err
	}
	if _, err := io.Copy(out, archive); err != nil {
		return Layer{}, err
	}
	_, err = out.cut()
	return Layer{DiffID: digest(out.written)}, err
}

// A writer takes an archive apart.
type writer struct {
	out   *frames
	split *split
	tar   *tar.Reader
	table table
}

func (c *writer) archive(in io.Reader) error {
	for {
		h, err := c.tar.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrNoTable, err)
		}
		if err := c.raw(c.tar.RawBytes()); err != nil {
			return err
		}
		if err := c.entry(h); err != nil {
			return err
		}
	}
	if err := c.raw(c.tar.RawBytes()); err != nil {
		return err
	}
	// More than the end marker may follow.
	rest := make([]byte, 1<<20)
	for {
		n, err := in.Read(rest)
		if err := c.raw(rest[:n]); err != nil {
			return err
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// raw passes on bytes that are no file's content.
func (c *writer) raw(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if err := c.split.add(storage.Entry{Type: storage.SegmentType, Payload: b}); err != nil {
		return err
	}
	_, err := c.out.Write(b)
	return err
}

// kinds are the words for the types of files.
var kinds = map[byte]string{
	tar.TypeReg: typeRegular, tar.TypeLink: "hardlink", tar.TypeSymlink: "symlink", tar.TypeDir: "dir",
	tar.TypeChar: "char", tar.TypeBlock: "block", tar.TypeFifo: "fifo",
}

// entry passes on the content of a file, and adds it to the table.
func (c *writer) entry(h *tar.Header) error {
	e, err := newEntry(h)
	if err != nil {
		return err
	}
	of := storage.Entry{Type: storage.FileType, Size: h.Size}
	of.SetName(h.Name)
	if h.Size > 0 {
		if of.Payload, err = c.content(&e); err != nil {
			return err
		}
	}
	if e.Type != "" {
		c.table.Entries = append(c.table.Entries, e)
	}
	return c.split.add(of)
}

// newEntry returns the table's entry for a file, without its content; that of a global header
// has no type.
func newEntry(h *tar.Header) (entry, error) {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return entry{}, nil
	}
	kind := kinds[h.Typeflag]
	switch {
	case kind == "":
		return entry{}, fmt.Errorf("%w: %.300q has the type %q", ErrNoTable, h.Name, h.Typeflag)
	case h.Size > 0 && kind != typeRegular:
		return entry{}, fmt.Errorf("%w: %.300q has content and is no regular file", ErrNoTable, h.Name)
	case !utf8.ValidString(h.Name + h.Linkname):
		return entry{}, fmt.Errorf("%w: the name %.300q isn't UTF-8", ErrNoTable, h.Name)
	}
	e := entry{
		Type: kind, Name: h.Name, LinkName: h.Linkname, Mode: h.Mode, Size: h.Size,
		UID: h.Uid, GID: h.Gid, DevMajor: h.Devmajor, DevMinor: h.Devminor,
	}
	if !h.ModTime.IsZero() {
		e.ModTime = h.ModTime.UTC().Format(time.RFC3339Nano)
	}
	for key, value := range h.PAXRecords {
		switch name, ok := strings.CutPrefix(key, "SCHILY.xattr."); {
		case strings.HasPrefix(key, "GNU.sparse."):
			return e, fmt.Errorf("%w: %.300q is sparse", ErrNoTable, h.Name)
		case ok && !utf8.ValidString(name):
			return e, fmt.Errorf("%w: the attribute %.300q of %.300q isn't UTF-8", ErrNoTable, name, h.Name)
		case ok:
			if e.Xattrs == nil {
				e.Xattrs = make(map[string]string)
			}
			e.Xattrs[name] = base64.StdEncoding.EncodeToString([]byte(value))
		}
	}
	return e, nil
}

// content passes on the content of a file in a frame of its own, and returns the checksum that
// tar-split wants.
func (c *writer) content(e *entry) (checksum []byte, err error) {
	if e.Offset, err = c.out.cut(); err != nil {
		return nil, err
	}
	sum, crc := sha256.New(), crc64.New(storage.CRCTable)
	n, err := io.Copy(io.MultiWriter(c.out, sum, crc), c.tar)
	if err != nil {
		if errors.Is(err, tar.ErrHeader) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("%w: %w", ErrNoTable, err)
		}
		return nil, err
	}
	if n != e.Size {
		return nil, fmt.Errorf("%w: %.300q has %d bytes of %d", ErrNoTable, e.Name, n, e.Size)
	}
	e.Digest = digest(sum)
	e.EndOffset, err = c.out.cut()
	return crc.Sum(nil), err
}

// finish writes the skippable frames.
func (c *writer) finish() (map[string]string, error) {
	end, err := c.out.cut()
	if err != nil {
		return nil, err
	}
	packedSplit, splitSize, err := c.split.finish()
	if err != nil {
		return nil, err
	}
	c.table.Version, c.table.TarSplitDigest = tableVersion, digestOf(packedSplit)
	text, err := json.Marshal(c.table)
	if err != nil {
		return nil, err
	}
	if len(text) > MaxTable {
		return nil, fmt.Errorf("%w: it would have %d bytes, and at most %d are allowed", ErrNoTable, len(text), MaxTable)
	}
	packed, err := pack(text)
	if err != nil {
		return nil, err
	}
	tableAt := end + frameHeader
	splitAt := tableAt + int64(len(packed)) + frameHeader
	footer := make([]byte, 0, footerSize)
	for _, n := range []int64{tableAt, int64(len(packed)), int64(len(text)), typeCRFS, splitAt, int64(len(packedSplit)), splitSize} {
		footer = binary.LittleEndian.AppendUint64(footer, uint64(n))
	}
	footer = append(footer, footerMagic...)
	for _, frame := range [][]byte{packed, packedSplit, footer} {
		if err := c.out.skippable(frame); err != nil {
			return nil, err
		}
	}
	return map[string]string{
		tableChecksum: digestOf(packed),
		tablePosition: fmt.Sprintf("%d:%d:%d:%d", tableAt, len(packed), len(text), typeCRFS),
		splitPosition: fmt.Sprintf("%d:%d:%d", splitAt, len(packedSplit), splitSize),
	}, nil
}

// A split collects what tar-split needs to make the archive again, compressed.
type split struct {
	packed bytes.Buffer
	z      *zstd.Encoder
	n      counter
	packer storage.Packer
}

func newSplit() (*split, error) {
	s := &split{}
	z, err := newEncoder(&s.packed)
	if err != nil {
		return nil, err
	}
	s.z, s.n.w = z, z
	s.packer = storage.NewJSONPacker(&s.n)
	return s, nil
}

func (s *split) add(e storage.Entry) error {
	_, err := s.packer.AddEntry(e)
	if errors.Is(err, storage.ErrDuplicatePath) {
		err = fmt.Errorf("%w: it has the file %.300q twice", ErrNoTable, e.GetName())
	}
	return err
}

func (s *split) finish() (packed []byte, size int64, err error) {
	err = s.z.Close()
	return s.packed.Bytes(), s.n.n, err
}

// frames are the zstd frames of a layer.
type frames struct {
	z       *zstd.Encoder
	out     counter
	begun   bool      // a frame
	written hash.Hash // of what the frames unpack to
}

func newFrames(w io.Writer) (*frames, error) {
	f := &frames{out: counter{w: w}, written: sha256.New()}
	z, err := newEncoder(&f.out)
	f.z = z
	return f, err
}

// Write implements io.Writer.
func (f *frames) Write(p []byte) (int, error) {
	f.begun = true
	f.written.Write(p)
	return f.z.Write(p)
}

// cut ends the current frame, if there is one, and returns where the next one begins.
func (f *frames) cut() (int64, error) {
	if !f.begun {
		return f.out.n, nil
	}
	f.begun = false
	if err := f.z.Close(); err != nil {
		return 0, err
	}
	f.z.Reset(&f.out)
	return f.out.n, nil
}

// skippable writes a frame that unpacking passes over.
func (f *frames) skippable(b []byte) error {
	head := binary.LittleEndian.AppendUint32([]byte(skippableMagic), uint32(len(b)))
	_, err := f.out.Write(append(head, b...))
	return err
}

// newEncoder returns an encoder whose output is the same on all machines.
func newEncoder(w io.Writer) (*zstd.Encoder, error) {
	return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault))
}

// pack compresses some bytes.
func pack(b []byte) ([]byte, error) {
	z, err := newEncoder(nil)
	if err != nil {
		return nil, err
	}
	return z.EncodeAll(b, nil), z.Close()
}

// A faithful reader hashes what is read, and remembers why reading failed.
type faithful struct {
	r    io.Reader
	read hash.Hash
	err  error
}

func (f *faithful) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	f.read.Write(p[:n])
	if err != nil && err != io.EOF {
		f.err = err
	}
	return n, err
}

// A counter counts what is written.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

func digest(h hash.Hash) string { return "sha256:" + hex.EncodeToString(h.Sum(nil)) }

func digestOf(b []byte) string {
	h := sha256.New()
	h.Write(b)
	return digest(h)
}
