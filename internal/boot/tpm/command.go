package tpm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// Numbers of the TPM library specification, part 2.
const (
	tagNoSessions = 0x8001 // TPM_ST_NO_SESSIONS
	tagSessions   = 0x8002 // TPM_ST_SESSIONS
	codePCREvent  = 0x13c  // TPM_CC_PCR_Event
	password      = 0x40000009
	headerSize    = 10
	passwordSize  = 9 // of the authorization in a command: handle, nonce, attributes, password
	maxEvent      = 1024
	maxBanks      = 16 // TPML_DIGEST_VALUES never has more
)

// ErrRefused is the cause when the TPM answers with an error, ErrMalformed when it
// answers with something other than the specification has.
var (
	ErrRefused   = errors.New("the TPM refuses the command")
	ErrMalformed = errors.New("malformed answer from the TPM")
)

// A Digest is the value that one bank was extended with.
type Digest struct {
	Algorithm string // as systemd and the TCG's logs write it: "sha256"
	Sum       []byte
}

// banks are the hashes that a bank may have, by their TPM_ALG_ID.
var banks = map[uint16]struct {
	name string
	size int
}{
	0x0004: {"sha1", 20}, 0x000b: {"sha256", 32}, 0x000c: {"sha384", 48}, 0x000d: {"sha512", 64},
	0x0012: {"sm3_256", 32}, 0x0027: {"sha3_256", 32}, 0x0028: {"sha3_384", 48}, 0x0029: {"sha3_512", 64},
}

// EventCommand returns the command that extends the register in all banks with
// the hash of the event, which has at most 1024 bytes.
//
//	tag size code | handle | authorization size, password session | event size, event
func EventCommand(pcr uint32, event []byte) ([]byte, error) {
	if len(event) > maxEvent {
		return nil, fmt.Errorf("measure into PCR %d: want an event of at most %d bytes, found %d", pcr, maxEvent, len(event))
	}
	be := binary.BigEndian
	b := be.AppendUint16(nil, tagSessions)
	b = be.AppendUint32(b, uint32(headerSize+4+4+passwordSize+2+len(event)))
	b = be.AppendUint32(b, codePCREvent)
	b = be.AppendUint32(b, pcr)
	b = be.AppendUint32(b, passwordSize)
	b = be.AppendUint32(b, password)
	b = append(b, 0, 0, 0, 0, 0) // no nonce, no attributes, empty password
	b = be.AppendUint16(b, uint16(len(event)))
	return append(b, event...), nil
}

// ParseEventResponse reads the answer to EventCommand: at least one digest.
func ParseEventResponse(b []byte) ([]Digest, error) {
	r := reader{b: b}
	tag, size, code := r.u16(), r.u32(), r.u32()
	switch {
	case r.short || int(size) != len(b):
		return nil, fmt.Errorf("%w: want a header and as many bytes as it says, found %d bytes", ErrMalformed, len(b))
	case code != 0:
		return nil, fmt.Errorf("%w: response code %#x", ErrRefused, code)
	case tag != tagSessions:
		return nil, fmt.Errorf("%w: want the tag %#x, found %#x", ErrMalformed, tagSessions, tag)
	}
	parameters := reader{b: r.take(int64(r.u32()))}
	// The session ends as it began: no nonce, any attributes, no HMAC.
	nonce, _, hmac := r.u16(), r.take(1), r.u16()
	if r.short || nonce != 0 || hmac != 0 || len(r.b) != 0 {
		return nil, fmt.Errorf("%w: want parameters and an empty session, found something else after %d bytes of parameters", ErrMalformed, len(parameters.b))
	}
	digests, err := parameters.digests()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return digests, nil
}

// digests reads a TPML_DIGEST_VALUES up to the end.
func (r *reader) digests() ([]Digest, error) {
	count := r.u32()
	if r.short || count == 0 || count > maxBanks {
		return nil, fmt.Errorf("want the digests of 1 to %d banks, found %d", maxBanks, count)
	}
	var out []Digest
	for range count {
		id := r.u16()
		bank, ok := banks[id]
		if !ok && !r.short {
			return nil, fmt.Errorf("want a known hash, found number %#x", id)
		}
		out = append(out, Digest{bank.name, bytes.Clone(r.take(int64(bank.size)))})
	}
	if r.short || len(r.b) != 0 {
		return nil, fmt.Errorf("want %d digests and no more, found another length", count)
	}
	return out, nil
}

// A reader takes big-endian numbers off a message. After its end it is short and
// gives zeros.
type reader struct {
	b     []byte
	short bool
}

func (r *reader) take(n int64) []byte {
	if n > int64(len(r.b)) {
		r.short, r.b = true, nil
		return make([]byte, min(n, 4))
	}
	taken := r.b[:n]
	r.b = r.b[n:]
	return taken
}

func (r *reader) u16() uint16 { return binary.BigEndian.Uint16(r.take(2)) }
func (r *reader) u32() uint32 { return binary.BigEndian.Uint32(r.take(4)) }
