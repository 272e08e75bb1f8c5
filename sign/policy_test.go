package sign_test

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	aead "aead.dev/minisign"

	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// makeSeal returns a seal of an image and its signature.
func makeSeal(t testing.TB, image verity.Digest, sequence uint64, key sign.PrivateKey) (text, signature []byte) {
	t.Helper()
	seal, err := sign.NewSeal(sign.Statement{Digest: image, Format: "erofs-v1", Sequence: sequence})
	if err != nil {
		t.Fatal(err)
	}
	made, err := sign.Sign(seal, key)
	if err != nil {
		t.Fatal(err)
	}
	return seal.Text(), made.Text()
}

func TestPolicy(t *testing.T) {
	var (
		image        = mustDigest(t, digest256)
		other        = verity.Sum(verity.SHA256, []byte("other"))
		ours, theirs = newKey(t), newKey(t)
		second       = newKey(t)
		seal, sig    = makeSeal(t, image, 42, ours)
		_, theirSig  = makeSeal(t, image, 42, theirs)
		_, secondSig = makeSeal(t, image, 42, second)
		newer, _     = makeSeal(t, image, 43, ours)
		otherSeal, o = makeSeal(t, other, 42, ours)
		trusted      = sign.Keyring{ours.Public("release"), second.Public("backup")}
		policy       = sign.Policy{Keys: trusted, MinimumSequence: 42}
		ourID        = ours.ID().String()
		theirID      = theirs.ID().String()
	)
	for _, test := range []struct {
		name       string
		policy     sign.Policy
		seal       []byte
		signatures [][]byte
		cause      error
		message    string
	}{
		{"valid", policy, seal, [][]byte{sig}, nil, ""},
		{"valid by the second key", policy, seal, [][]byte{secondSig}, nil, ""},
		{"one valid signature among others", policy, seal, [][]byte{nil, []byte("junk"), theirSig, o, sig}, nil, ""},
		{"no seal", policy, nil, [][]byte{sig}, sign.ErrNoSeal, "in the file " + image.Hex() + ".seal"},
		{"no signature", policy, seal, nil, sign.ErrUnsigned, image.Hex() + ".seal.minisig"},
		{"empty signature", policy, seal, [][]byte{{}}, sign.ErrUnsigned, "in the file " + image.Hex() + ".seal.minisig"},
		{"no key", sign.Policy{}, seal, [][]byte{sig}, sign.ErrNoKeys, "no key is trusted"},
		{"by another key", policy, seal, [][]byte{theirSig}, sign.ErrUnknownKey,
			"it is signed by " + theirID + ", trusted are " + ourID + ` ("release"), `},
		{"of another seal", policy, seal, [][]byte{o}, sign.ErrBadSignature, `key ` + ourID + ` ("release") didn't make it for this text`},
		{"of a changed seal", policy, newer, [][]byte{sig}, sign.ErrBadSignature, "changed or cut off"},
		{"bad one beside an unknown one", policy, newer, [][]byte{theirSig, sig}, sign.ErrBadSignature, ourID},
		{"for another image", policy, otherSeal, [][]byte{o}, sign.ErrOtherDigest, "want " + digest256 + ", found " + other.String()},
		{"too old", sign.Policy{Keys: trusted, MinimumSequence: 43}, seal, [][]byte{sig}, sign.ErrTooOld, "want sequence 43 or higher, found 42"},
		{"revoked", sign.Policy{Keys: trusted, Revoked: []verity.Digest{other, image}}, seal, [][]byte{sig}, sign.ErrRevoked, digest256},
		{"another one revoked", sign.Policy{Keys: trusted, Revoked: []verity.Digest{other}}, seal, [][]byte{sig}, nil, ""},
		{"oversized seal", policy, make([]byte, sign.MaxSealSize+1), [][]byte{sig}, sign.ErrMalformed, "want at most 4096 bytes"},
		{"oversized signature", policy, seal, [][]byte{make([]byte, 1<<20)}, sign.ErrBadSignature, "want at most 1024 bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			v, err := test.policy.Verify(image, test.seal, test.signatures)
			if !errors.Is(err, test.cause) {
				t.Fatalf("found %v, want %v", err, test.cause)
			}
			if err == nil {
				if v.Status != sign.Sealed || v.Statement.Digest != image || v.Statement.Sequence != 42 || v.Key.Name == "" {
					t.Errorf("verdict: found %+v", v)
				}
				return
			}
			if v.Status != sign.Refused || !v.Statement.Digest.IsZero() || v.Key.ID != 0 {
				t.Errorf("an error, and yet the verdict %+v", v)
			}
			if !strings.Contains(err.Error(), test.message) || strings.Contains(err.Error(), "\n") {
				t.Errorf("found %q, want one line that says %q", err, test.message)
			}
		})
	}
}

func TestVerdictNamesTheKeyThatSigned(t *testing.T) {
	image := mustDigest(t, digest256)
	keys := []sign.PrivateKey{newKey(t), newKey(t), newKey(t)}
	var policy sign.Policy
	for i, k := range keys {
		policy.Keys = append(policy.Keys, k.Public(string(rune('a'+i))))
	}
	for i, k := range keys {
		text, sig := makeSeal(t, image, 1, k)
		v, err := policy.Verify(image, text, [][]byte{sig})
		if err != nil || v.Key.Name != policy.Keys[i].Name || v.Key.ID != k.ID() {
			t.Errorf("found %v, %v; want key %v", v.Key, err, policy.Keys[i])
		}
	}
}

// TestEveryChangedByteIsNoticed flips each bit of seal and signature. Only the
// untrusted comment isn't covered by anything.
func TestEveryChangedByteIsNoticed(t *testing.T) {
	image := mustDigest(t, digest256)
	key := newKey(t)
	policy := sign.Policy{Keys: sign.Keyring{key.Public("")}}
	seal, sig := makeSeal(t, image, 42, key)
	refused := func(seal, sig []byte) bool {
		_, err := policy.Verify(image, seal, [][]byte{sig})
		return err != nil
	}
	for i := range seal {
		changed := append([]byte(nil), seal...)
		changed[i] ^= 1
		if !refused(changed, sig) {
			t.Errorf("seal: byte %d changed and not noticed", i)
		}
	}
	for i := strings.Index(string(sig), "\n"); i < len(sig); i++ {
		for bit := range 8 {
			changed := append([]byte(nil), sig...)
			changed[i] ^= 1 << bit
			if !refused(seal, changed) {
				t.Errorf("signature: bit %d of byte %d changed and not noticed", bit, i)
			}
		}
	}
	for i := range sig {
		if !refused(seal, sig[:i]) {
			t.Errorf("signature: cut off at byte %d and not noticed", i)
		}
	}
}

// A key that signs anything doesn't make it a seal: the text is read all the same,
// and strictly.
func TestSignedTextsThatAreNoSeals(t *testing.T) {
	public, private, err := aead.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := sign.ParseKey("ours", []byte(public.String()))
	if err != nil {
		t.Fatal(err)
	}
	image := mustDigest(t, digest256)
	policy := sign.Policy{Keys: sign.Keyring{key}}
	for _, test := range []struct{ name, text, message string }{
		{"something else", "a letter\n", "line 1: want"},
		{"CRLF", strings.ReplaceAll(smallest, "\n", "\r\n"), "other line ends than LF"},
		{"not UTF-8", smallest + "os-id \xff\n", "want printable UTF-8"},
		{"duplicate key", smallest + "sequence 43\n", "for the second time"},
		{"unknown key", smallest + "valid-until 2030\n", "unknown key"},
		{"trailing garbage", smallest + "\x00", "want a line feed at the end"},
		{"trailing blank line", smallest + "\n", "want KEY VALUE"},
		{"4097 bytes", smallest + "x-a " + strings.Repeat("a", 4096), "want at most 4096 bytes"},
		{"a key of somebody's own", smallest + "x-a b\n", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := aead.NewReader(strings.NewReader(test.text))
			if _, err := io.Copy(io.Discard, r); err != nil {
				t.Fatal(err)
			}
			_, err := policy.Verify(image, []byte(test.text), [][]byte{r.Sign(private)})
			if test.message == "" && err != nil || test.message != "" && (!errors.Is(err, sign.ErrMalformed) || !strings.Contains(err.Error(), test.message)) {
				t.Errorf("found %v, want %q", err, test.message)
			}
		})
	}
}

// Two keys that share a number, which anybody can arrange, are both tried.
func TestKeysThatShareANumber(t *testing.T) {
	image := mustDigest(t, digest256)
	ours := newKey(t)
	seal, sig := makeSeal(t, image, 1, ours)
	id := make([]byte, 8)
	binary.LittleEndian.PutUint64(id, uint64(ours.ID()))
	theirs, err := base64.StdEncoding.DecodeString(lastLine(newKey(t).Public("").Text()))
	if err != nil {
		t.Fatal(err)
	}
	twin, err := sign.ParseKey("twin", []byte(base64.StdEncoding.EncodeToString(slices.Concat(theirs[:2], id, theirs[10:]))))
	if err != nil || twin.ID != ours.ID() {
		t.Fatalf("found %v, %v", twin, err)
	}
	for _, keys := range []sign.Keyring{{twin, ours.Public("ours")}, {ours.Public("ours"), twin}} {
		if v, err := (sign.Policy{Keys: keys}).Verify(image, seal, [][]byte{sig}); err != nil || v.Key.Name != "ours" {
			t.Errorf("found %v, %v", v.Key, err)
		}
	}
	if _, err := (sign.Policy{Keys: sign.Keyring{twin}}).Verify(image, seal, [][]byte{sig}); !errors.Is(err, sign.ErrBadSignature) {
		t.Errorf("the twin alone: found %v", err)
	}
}

func lastLine(text []byte) string {
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[len(lines)-1]
}

// A message names a few keys, not a hundred.
func TestManyKeysInAMessage(t *testing.T) {
	image := mustDigest(t, digest256)
	seal, _ := makeSeal(t, image, 1, newKey(t))
	var policy sign.Policy
	var signatures [][]byte
	for range 100 {
		_, sig := makeSeal(t, image, 1, newKey(t))
		signatures = append(signatures, sig)
		policy.Keys = append(policy.Keys, newKey(t).Public("k"))
	}
	_, err := policy.Verify(image, seal, signatures)
	if !errors.Is(err, sign.ErrUnknownKey) || strings.Count(err.Error(), "and 96 more") != 2 || len(err.Error()) > 600 {
		t.Errorf("found %v", err)
	}
}

func TestOnlyASealIsSigned(t *testing.T) {
	if sig, err := sign.Sign(sign.Seal{}, newKey(t)); !errors.Is(err, sign.ErrNoSeal) || len(sig.Text()) != 0 {
		t.Errorf("found %q, %v; want ErrNoSeal", sig.Text(), err)
	}
}

func TestFilesAreKnownByTheirNames(t *testing.T) {
	image := mustDigest(t, digest256)
	key := newKey(t).Public("")
	for file, suffix := range map[sign.File]string{
		sign.TextFile(image):                  "",
		sign.SignatureFile(image):             ".minisig",
		sign.KeySignatureFile(image, key.ID):  "." + key.ID.String() + ".minisig",
		sign.NextSignatureFile(image, key.ID): "." + key.ID.String() + ".next.minisig",
	} {
		limit := int64(sign.MaxSignatureSize)
		if suffix == "" {
			limit = sign.MaxSealSize
		}
		if file.Name() != image.Hex()+".seal"+suffix || file.Limit() != limit || file.IsSignature() == (suffix == "") {
			t.Errorf("found %s of at most %d bytes", file.Name(), file.Limit())
		}
		if again, ok := sign.ParseFile(file.Name()); !ok || again != file {
			t.Errorf("%s: found %+v, %t", file.Name(), again, ok)
		}
	}
	for _, name := range []string{"", ".seal", image.Hex(), image.Hex() + ".seal.", image.Hex() + ".sealminisig", image.Hex() + ".seal.minisig~", "x.seal", image.Hex() + ".seal.tmp", "../" + image.Hex() + ".seal"} {
		if f, ok := sign.ParseFile(name); ok {
			t.Errorf("%q: found %+v", name, f)
		}
	}
	files := sign.Keyring{key}.SignatureFiles(image)
	if want := []sign.File{sign.SignatureFile(image), sign.KeySignatureFile(image, key.ID)}; !slices.Equal(files, want) {
		t.Errorf("found %v, want %v", files, want)
	}
	id := sign.KeyID(0xabc)
	text, _ := id.MarshalText()
	var again sign.KeyID
	if err := again.UnmarshalText(text); err != nil || again != id || string(text) != "0000000000000ABC" {
		t.Errorf("found %s, read as %s, %v", text, again, err)
	}
	for _, text := range []string{"", "ABC", "0000000000000abc", "0x00000000000ABC", "+000000000000ABC", "10000000000000ABC"} {
		if err := again.UnmarshalText([]byte(text)); !errors.Is(err, sign.ErrMalformed) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
