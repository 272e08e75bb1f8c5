package uki

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"
)

// Limits on the certificate table: a signature has some 2 KB.
const (
	maxCertificates     = 64
	maxCertificateTable = 1 << 20 // bytes
)

// WIN_CERTIFICATE, of which the certificate table is a row.
//
//	0        4          6      8              Length, and zeros up to a multiple of 8
//	+--------+----------+------+--------------+---+
//	| Length | Revision | Type | PKCS #7, DER | 0 |
const (
	certificateHeaderSize = 8
	certificateAlign      = 8
	certificateRevision   = 0x0200
	certificatePKCS7      = 0x0002
)

// Digest returns the Authenticode SHA-256 of an EFI program: of the whole file without the
// checksum and the signatures. A Secure Boot signature signs it; it is the same before and after
// signing.
//
// It refuses files of which signers and firmware would hash different parts: with bytes
// between sections that belong to none, or bytes after the certificate table.
func Digest(program []byte) ([sha256.Size]byte, error) {
	var sum [sha256.Size]byte
	p, err := readProgram(bytes.NewReader(program))
	if err != nil {
		return sum, err
	}
	end, err := p.hashedSize(program)
	if err != nil {
		return sum, err
	}
	checksum, directory := p.fileOffset(optCheckSum), p.fileOffset(p.securityEntry())
	h := sha256.New()
	h.Write(program[:checksum])
	h.Write(program[checksum+4 : directory])
	h.Write(program[directory+directorySize : end])
	// Signing pads the file to a multiple of 8, and those bytes count.
	h.Write(make([]byte, padding(end)))
	return [sha256.Size]byte(h.Sum(nil)), nil
}

// Signatures returns the signatures that a program carries, PKCS #7 in DER, without
// verifying them.
func Signatures(program []byte) ([][]byte, error) {
	p, err := readProgram(bytes.NewReader(program))
	if err != nil {
		return nil, err
	}
	end, err := p.hashedSize(program)
	if err != nil {
		return nil, err
	}
	return signatures(program[end:])
}

// RemoveSignatures returns the program without its signatures, with the same digest.
// Bytes that signing put between the sections and the signatures stay.
func RemoveSignatures(program []byte) ([]byte, error) {
	p, err := readProgram(bytes.NewReader(program))
	if err != nil {
		return nil, err
	}
	end, err := p.hashedSize(program)
	if err != nil {
		return nil, err
	}
	out := slices.Clone(program[:end])
	clear(out[p.fileOffset(p.securityEntry()):][:directorySize])
	clear(out[p.fileOffset(optCheckSum):][:4]) // it is wrong now
	return out, nil
}

// AddSignature returns the program with another signature, PKCS #7 in DER, after the ones
// that it has. Those must be well formed: firmware stops reading the list at the first that
// isn't. The signatures themselves aren't verified.
func AddSignature(program, signature []byte) ([]byte, error) {
	p, err := readProgram(bytes.NewReader(program))
	if err != nil {
		return nil, err
	}
	end, err := p.hashedSize(program)
	if err != nil {
		return nil, err
	}
	if _, err := signatures(program[end:]); err != nil {
		return nil, err
	}
	size := len(program) - end + certificateHeaderSize + len(signature)
	if len(signature) == 0 || size+certificateAlign > maxCertificateTable {
		return nil, formatError("want signatures of 1 to %d bytes altogether, found %d", maxCertificateTable-certificateAlign, size)
	}
	out := slices.Grow(slices.Clone(program[:end]), padding(end)+size+certificateAlign)
	out = append(out, make([]byte, padding(end))...)
	start := len(out)
	out = append(out, program[end:]...)
	out = append(out, make([]byte, padding(len(out)))...)
	le := binary.LittleEndian
	out = le.AppendUint32(out, uint32(certificateHeaderSize+len(signature)))
	out = le.AppendUint16(out, certificateRevision)
	out = le.AppendUint16(out, certificatePKCS7)
	out = append(out, signature...)
	out = append(out, make([]byte, padding(len(out)))...)
	entry := out[p.fileOffset(p.securityEntry()):]
	le.PutUint32(entry, uint32(start))
	le.PutUint32(entry[4:], uint32(len(out)-start))
	le.PutUint32(out[p.fileOffset(optCheckSum):], 0) // it isn't hashed, and is wrong now
	return out, nil
}

// padding returns how many bytes n is short of a multiple of 8.
func padding(n int) int { return -n & (certificateAlign - 1) }

// fileOffset returns where in the file an offset of the optional header is.
func (p *program) fileOffset(optional int) int {
	return int(p.peOffset) + fileHeaderSize + optional
}

// securityEntry returns where in the optional header the directory's row of the
// certificate table is, -1 if there is none.
func (p *program) securityEntry() int {
	at := p.directory + directorySecurity*directorySize
	if p.u32(p.directory-4) <= directorySecurity || at+directorySize > len(p.optional) {
		return -1
	}
	return at
}

// certificateTable returns offset and size of the signatures, zeros if there are none.
func (p *program) certificateTable() (offset, size uint32) {
	if at := p.securityEntry(); at >= 0 {
		return p.u32(at), p.u32(at + 4)
	}
	return 0, 0
}

// hashedSize checks that the file is headers, sections, perhaps something more,
// and signatures, with nothing in between, and returns where the signatures are
// or would be.
func (p *program) hashedSize(file []byte) (int, error) {
	if p.securityEntry() < 0 {
		return 0, formatError("it has %d data directories and so no room for a signature, want at least %d", p.u32(p.directory-4), directorySecurity+1)
	}
	end := int64(p.u32(optSizeOfHeaders))
	if end < p.tableEnd() || end > int64(len(file)) {
		return 0, formatError("its headers are said to have %d bytes, want %d to %d", end, p.tableEnd(), len(file))
	}
	byOffset := slices.Clone(p.sections)
	slices.SortStableFunc(byOffset, func(a, b section) int { return cmp.Compare(a.rawOffset, b.rawOffset) })
	for _, s := range byOffset {
		if s.rawSize == 0 {
			continue
		}
		if int64(s.rawOffset) != end {
			return 0, formatError("section %q begins at offset %#x, want %#x where the one before ends: it can't be told what firmware would hash", s.name, s.rawOffset, end)
		}
		end += int64(s.rawSize)
	}
	offset, size := p.certificateTable()
	if offset == 0 && size == 0 {
		offset = uint32(min(len(file), 1<<32-1))
	}
	if int64(offset) < end || int64(offset)+int64(size) != int64(len(file)) || size > 0 && offset%certificateAlign != 0 {
		return 0, formatError("its sections end at %#x and its %d bytes of signatures are at %#x, which is not the end of a file of %d bytes", end, size, offset, len(file))
	}
	return int(offset), nil
}

// signatures takes the certificate table apart. Rows of other types than PKCS #7,
// which firmware doesn't look at either, are left out.
func signatures(table []byte) (out [][]byte, err error) {
	for rows := 0; len(table) > 0; rows++ {
		if rows == maxCertificates {
			return nil, formatError("it has more than %d signatures", maxCertificates)
		}
		if len(table) < certificateHeaderSize {
			return nil, formatError("its certificate table ends with %d bytes, want a row of at least %d", len(table), certificateHeaderSize)
		}
		length := binary.LittleEndian.Uint32(table)
		if length < certificateHeaderSize || uint64(length) > uint64(len(table)) {
			return nil, formatError("a signature is said to have %d bytes, want %d to %d", length, certificateHeaderSize, len(table))
		}
		revision, kind := binary.LittleEndian.Uint16(table[4:]), binary.LittleEndian.Uint16(table[6:])
		if revision == certificateRevision && kind == certificatePKCS7 {
			out = append(out, bytes.Clone(table[certificateHeaderSize:length]))
		}
		table = table[min(len(table), int(length)+padding(int(length))):]
	}
	return out, nil
}
