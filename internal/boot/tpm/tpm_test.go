package tpm_test

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/composefs-go/composefs/internal/boot/tpm"
)

// unhex joins hex written in pieces.
func unhex(pieces ...string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(strings.Join(pieces, ""), " ", ""))
	if err != nil {
		panic(err) // a mistake in this file
	}
	return b
}

// The event "abc" into PCR 15, written from the specification's tables.
func TestEventCommandIsThatOfTheSpecification(t *testing.T) {
	want := unhex("8002 00000020 0000013c", "0000000f", "00000009 40000009 0000 00 0000", "0003 616263")
	got, err := tpm.EventCommand(15, []byte("abc"))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%x, %v; want %x", got, err, want)
	}
	if _, err := tpm.EventCommand(15, make([]byte, 1025)); err == nil {
		t.Error("an event that is too long for a TPM is accepted")
	}
}

// sum is what the sha256 bank gets for "abc".
var sum = sha256.Sum256([]byte("abc"))

// answer is that of a TPM with one bank.
var answer = unhex("8002 00000039 00000000", "00000026", "00000001 000b", hex.EncodeToString(sum[:]), "0000 01 0000")

func TestParseEventResponse(t *testing.T) {
	got, err := tpm.ParseEventResponse(answer)
	if err != nil || len(got) != 1 || got[0].Algorithm != "sha256" || !bytes.Equal(got[0].Sum, sum[:]) {
		t.Fatalf("%+v, %v", got, err)
	}
	change := func(at int, to ...byte) []byte {
		b := bytes.Clone(answer)
		copy(b[at:], to)
		return b
	}
	sized := func(b []byte) []byte { b[5] = byte(len(b)); return b }
	for _, c := range []struct {
		name  string
		text  []byte
		cause error
		want  string
	}{
		{"nothing", nil, tpm.ErrMalformed, "found 0 bytes"},
		{"half a header", answer[:9], tpm.ErrMalformed, "found 9 bytes"},
		{"cut off", answer[:56], tpm.ErrMalformed, "want a header and as many bytes"},
		{"more than it says", append(bytes.Clone(answer), 0), tpm.ErrMalformed, "want a header and as many bytes"},
		{"an error of the TPM", unhex("8001 0000000a 00000984"), tpm.ErrRefused, "0x984"},
		{"another tag", change(1, 1), tpm.ErrMalformed, "the tag 0x8002"},
		{"no bank", sized(unhex("8002 00000000 00000000 00000004 00000000 0000 01 0000")), tpm.ErrMalformed, "1 to 16 banks, found 0"},
		{"too many banks", change(17, 17), tpm.ErrMalformed, "found 17"},
		{"fewer banks than it says", change(17, 2), tpm.ErrMalformed, "want 2 digests"},
		{"an unknown hash", change(19, 0xff), tpm.ErrMalformed, "number 0xff"},
		{"a hash that is shorter", change(19, 4), tpm.ErrMalformed, "want 1 digests and no more"},
		{"parameters over the end", change(13, 0x27), tpm.ErrMalformed, "an empty session"},
		{"endless parameters", change(10, 0xff), tpm.ErrMalformed, "an empty session"},
		{"a nonce", change(53, 1), tpm.ErrMalformed, "an empty session"},
		{"an HMAC", change(56, 1), tpm.ErrMalformed, "an empty session"},
		{"no session", sized(bytes.Clone(answer[:52])), tpm.ErrMalformed, "an empty session"},
		{"more after the session", sized(append(bytes.Clone(answer), 0)), tpm.ErrMalformed, "an empty session"},
	} {
		if _, err := tpm.ParseEventResponse(c.text); !errors.Is(err, c.cause) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %v with %q", c.name, err, c.cause, c.want)
		}
	}
}

// device is a TPM with one answer.
type device struct {
	written      bytes.Buffer
	answer       []byte
	wfail, rfail error
}

func (d *device) Write(b []byte) (int, error) { d.written.Write(b); return len(b), d.wfail }
func (d *device) Read(b []byte) (int, error)  { return copy(b, d.answer), d.rfail }

func TestExtend(t *testing.T) {
	d := &device{answer: answer}
	got, err := tpm.Extend(d, 15, "abc")
	if command, _ := tpm.EventCommand(15, []byte("abc")); err != nil || len(got) != 1 || !bytes.Equal(d.written.Bytes(), command) {
		t.Errorf("%v, %v; written %x", got, err, d.written.Bytes())
	}
	for _, c := range []struct {
		name, event string
		device      device
		cause       error
	}{
		{"another hash than the event's", "abd", device{answer: answer}, tpm.ErrMalformed},
		{"an event that is too long", strings.Repeat("x", 1025), device{answer: answer}, nil},
		{"it can't be written to", "abc", device{wfail: unix.EIO}, unix.EIO},
		{"it can't be read from", "abc", device{rfail: unix.ETIME}, unix.ETIME},
		{"it answers nonsense", "abc", device{answer: []byte("nonsense")}, tpm.ErrMalformed},
	} {
		_, err := tpm.Extend(&c.device, 15, c.event)
		if err == nil || c.cause != nil && !errors.Is(err, c.cause) || !strings.Contains(err.Error(), "measure into PCR 15: ") {
			t.Errorf("%s: %v, want %v", c.name, err, c.cause)
		}
	}
}

func TestOpenPrefersTheResourceManagerAndWaits(t *testing.T) {
	root := t.TempDir()
	if _, err := tpm.Open(root, 0); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "neither /dev/tpmrm0 nor /dev/tpm0 is there") {
		t.Errorf("without a device: %v", err)
	}
	go func() {
		time.Sleep(50 * time.Millisecond)
		writeFile(t, root+"/dev/tpm0")
	}()
	f, err := tpm.Open(root, 10*time.Second)
	if err != nil || f.Name() != root+"/dev/tpm0" {
		t.Fatalf("the device that comes later: %v, %v", f, err)
	}
	f.Close()
	writeFile(t, root+"/dev/tpmrm0")
	if f, err = tpm.Open(root, 0); err != nil || f.Name() != root+"/dev/tpmrm0" {
		t.Errorf("of both: %v, %v", f, err)
	}
	f.Close()
	if err := errors.Join(os.Remove(root+"/dev/tpmrm0"), os.Mkdir(root+"/dev/tpmrm0", 0o755)); err != nil {
		t.Fatal(err)
	}
	if _, err := tpm.Open(root, 0); !errors.Is(err, unix.EISDIR) {
		t.Errorf("one that can't be opened: %v, want that rather than the next", err)
	}
}

func writeFile(t *testing.T, name string) {
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, nil, 0o600)); err != nil {
		t.Error(err)
	}
}

var digests = []tpm.Digest{{Algorithm: "sha256", Sum: sum[:]}, {Algorithm: "sha384", Sum: make([]byte, 48)}}

const bootID = "0123456789abcdef0123456789abcdef"

func TestTheLogIsIncompleteWhileAMeasurementIsMissing(t *testing.T) {
	name := filepath.Join(t.TempDir(), "systemd/tpm2-measure.log")
	mode := func() os.FileMode {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode()
	}
	record := tpm.Record(15, digests, "composefs:x", bootID, 1234567)
	for range 2 {
		log, err := tpm.OpenLog(name)
		if err != nil || mode() != 0o600|os.ModeSticky {
			t.Fatalf("opened: %v, mode %v", err, mode())
		}
		if err := log.Append(record); err != nil || mode() != 0o600 {
			t.Fatalf("appended: %v, mode %v", err, mode())
		}
	}
	if b, err := os.ReadFile(name); err != nil || string(b) != record+record {
		t.Errorf("%q, %v; want two records", b, err)
	}
	log, err := tpm.OpenLog(name)
	if err != nil || log.Close() != nil || mode()&os.ModeSticky == 0 {
		t.Fatalf("closed without a record: %v, mode %v", err, mode())
	}
	if log, err = tpm.OpenLog(name); err != nil || log.Append(record) != nil || mode()&os.ModeSticky == 0 {
		t.Errorf("a later record has covered up that one is missing: %v, mode %v", err, mode())
	}
}

func TestOpenLogWantsAPlainFile(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir+"/file")
	if err := errors.Join(os.Symlink("file", dir+"/link"), unix.Mkfifo(dir+"/fifo", 0o600)); err != nil {
		t.Fatal(err)
	}
	for name, cause := range map[string]error{"link": unix.ELOOP, "fifo": unix.ENXIO, "file/below": unix.ENOTDIR} {
		if _, err := tpm.OpenLog(dir + "/" + name); !errors.Is(err, cause) {
			t.Errorf("%s: %v, want %v", name, err, cause)
		}
	}
	if _, err := tpm.OpenLog("/dev/null"); err == nil || !strings.Contains(err.Error(), "want a regular file") {
		t.Errorf("a device: %v", err)
	}
}

// The keys are those of TCG's Canonical Event Log and of systemd's content type.
func TestRecordIsJSON(t *testing.T) {
	record := tpm.Record(15, digests, `composefs:"x"`, bootID, 7)
	text, ok := strings.CutPrefix(record, "\x1e")
	if !ok || !strings.HasSuffix(text, "}\n") {
		t.Fatalf("%q", record)
	}
	var r struct {
		PCR     int
		Digests []struct{ HashAlg, Digest string }
		Type    string `json:"content_type"`
		Content struct {
			String, BootID string
			Timestamp      int64
		}
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		t.Fatal(err)
	}
	if r.PCR != 15 || r.Type != "systemd" || r.Content.String != `composefs:"x"` || r.Content.BootID != bootID || r.Content.Timestamp != 7 ||
		len(r.Digests) != 2 || r.Digests[0].HashAlg != "sha256" || r.Digests[0].Digest != hex.EncodeToString(sum[:]) {
		t.Errorf("%+v", r)
	}
}

// Whatever a TPM answers, it is refused, or there is a digest of the right size
// for each bank and the answer has room for them.
func FuzzParseEventResponse(f *testing.F) {
	f.Add(answer)
	f.Add(unhex("8001 0000000a 00000984"))
	two := sha1.Sum([]byte("abc"))
	f.Add(unhex("8002 0000004f 00000000", "0000003c", "00000002 0004", hex.EncodeToString(two[:]), "000b", hex.EncodeToString(sum[:]), "0000 01 0000"))
	f.Fuzz(func(t *testing.T, b []byte) {
		digests, err := tpm.ParseEventResponse(b)
		if err != nil {
			if !errors.Is(err, tpm.ErrMalformed) && !errors.Is(err, tpm.ErrRefused) {
				t.Fatalf("%x: %v wraps no cause of ours", b, err)
			}
			return
		}
		total := 0
		for _, d := range digests {
			if d.Algorithm == "" || len(d.Sum) < 20 || len(d.Sum) > 64 {
				t.Fatalf("%x gives %+v", b, d)
			}
			total += 2 + len(d.Sum)
		}
		if len(digests) == 0 || total+23 != len(b) {
			t.Fatalf("%x gives %+v", b, digests)
		}
	})
}
