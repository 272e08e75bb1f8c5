package dumpfile

import (
	"encoding/hex"
	"fmt"

	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/verity"
)

// unset reports whether an optional field is a lone "-".
func unset(field []byte) bool { return len(field) == 1 && field[0] == '-' }

// payloadField reads the target of a symlink or hard link, or the path of an object.
func (p *parser) payloadField(field []byte) (text []byte, set bool, err error) {
	if unset(field) {
		return nil, false, nil
	}
	b, err := unescape(p.payload[:0], field)
	if err != nil {
		return nil, false, err
	}
	p.payload = keep(p.payload, b, field)
	if b = cutNUL(b); len(b) > tree.PayloadMax {
		return nil, false, fmt.Errorf("want at most %d bytes, found %d", tree.PayloadMax, len(b))
	}
	return b, true, nil
}

// contentField reads the content of a file. No content and empty content are the same.
func (p *parser) contentField(n *tree.Node, field []byte) ([]byte, error) {
	if unset(field) {
		return nil, nil
	}
	b, err := unescape(p.content[:0], field)
	if err != nil {
		return nil, err
	}
	p.content = keep(p.content, b, field)
	if uint64(len(b)) != n.Size {
		return nil, fmt.Errorf("want as many bytes as SIZE says, %d, found %d", n.Size, len(b))
	}
	if n.Kind != tree.Symlink && len(b) > tree.ContentMax {
		return nil, fmt.Errorf("want at most %d bytes, found %d", tree.ContentMax, len(b))
	}
	return b, nil
}

// keep returns the buffer for unescaping the next field: b, unless b is the field itself,
// which belongs to the line.
func keep(buf, b, field []byte) []byte {
	if len(b) == len(field) {
		return buf
	}
	return b
}

// digestField reads a digest; its length tells SHA-512 from SHA-256. The C program accepts
// garbage here and continues with undefined bytes; here it is an error.
func digestField(field []byte) (verity.Digest, error) {
	if unset(field) {
		return verity.Digest{}, nil
	}
	alg := verity.SHA256
	if len(field) == 2*verity.SHA512.Size() {
		alg = verity.SHA512
	}
	var sum [64]byte
	if len(field) == 2*alg.Size() {
		if _, err := hex.Decode(sum[:], field); err == nil {
			return verity.NewDigest(alg, sum[:alg.Size()])
		}
	}
	return verity.Digest{}, fmt.Errorf("want 64 or 128 hex digits, found %.140q", field)
}
