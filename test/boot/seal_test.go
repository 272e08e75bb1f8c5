package boot

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// A seal counts when a trusted key signed just that text, the text says one thing
// to everybody, and what it says is this image, no older than the policy wants.
func TestSeals(t *testing.T) { runRows(t, seals) }

var seals = []row{
	// What isn't a seal is none, whoever signed it. Its twin is "signed anew".
	{name: "signed anew by minisign", change: sealSays(same), says: `"status":"valid"`},
	{name: "of 0 bytes", status: 6, says: "image has no seal", change: sealSays(func(string) string { return "" })},
	{name: "of 1 MiB", status: 6, says: "1048576 bytes, at most 4096", change: sealSays(func(s string) string {
		return s + strings.Repeat("x", 1<<20-len(s))
	})},
	{name: "not UTF-8", status: 6, says: "want printable UTF-8", change: sealSays(with("x-note caf\xe9\n"))},
	{name: "UTF-8", change: sealSays(with("x-note café\n"))},
	{name: "with CRLF", status: 6, says: "other line ends than LF", change: sealSays(func(s string) string {
		return strings.ReplaceAll(s, "\n", "\r\n")
	})},
	{name: "with a key for the second time", status: 6, says: "second time", change: sealSays(with("sequence 9\n"))},
	{name: "with an unknown key", status: 6, says: `unknown key "valid-until"`, change: sealSays(with("valid-until 2030\n"))},
	{name: "with a key of somebody's own", change: sealSays(with("x-valid-until 2030\n"))},
	{name: "with garbage behind it", status: 6, says: "line feed at the end", change: sealSays(with("\x00\x00"))},
	{name: "with a blank line behind it", status: 6, says: "want KEY VALUE", change: sealSays(with("\n"))},
	{name: "without a sequence", status: 6, says: `want a line "sequence`, change: sealSays(func(s string) string {
		return strings.Replace(s, "sequence 1\n", "", 1)
	})},
	{name: "of a version to come", status: 6, says: "newer program", change: sealSays(func(s string) string {
		return strings.Replace(s, "composefs-seal 1", "composefs-seal 2", 1)
	})},

	// Where the seal lies nothing but a file is read.
	{name: "a symbolic link", status: 6, says: "symbolic link", change: instead(theSeal, "symlink %s elsewhere")},
	{name: "a named pipe", status: 6, says: "regular file", change: instead(theSeal, "mknod %s p")},
	{name: "a device", status: 6, says: "regular file", change: instead(theSeal, "mknod %s c 1 5")},
	{name: "a directory", status: 6, says: "regular file", change: instead(theSeal, "mkdir %s")},
	{name: "in a directory that is a symbolic link", status: 6, says: "symbolic link", change: func(t *testing.T, _ base, disk string) {
		debugfs(t, disk, "ln /composefs/seals /composefs/other", "unlink /composefs/seals", "symlink /composefs/seals other")
	}},

	// Which image it is for, and when.
	{name: "of another image", status: 6, says: "another image", change: func(t *testing.T, b base, disk string) {
		for _, suffix := range []string{"", ".minisig"} {
			write(t, disk, seal(b.image, suffix), stored(t, b, seal(b.other, suffix)))
		}
	}},
	{name: "of a system that the policy names", policy: products, change: sealSays(with("os-id debian\n")), says: `"os-id":"debian"`},
	{name: "of another system", policy: products, status: 6, says: `want os-id kiosk, debian, found "museum"`, change: sealSays(with("os-id museum\n"))},
	{name: "of no system, where the policy names some", policy: products, status: 6, says: "want os-id kiosk, debian, found none"},
	{name: "for a ref, by the digest", change: sealSays(with("ref last\n")), says: `"refs":["last"]`},
	{name: "for a ref that none can be", status: 6, says: "invalid ref name", change: sealSays(with("ref a/../b\n"))},
	{name: "below the minimum", status: 6, says: "want sequence 2 or higher, found 1", policy: "[verify]\nminimum-sequence = 2\n"},
	{name: "at the minimum", policy: "[verify]\nminimum-sequence = 1\n"},
	{name: "of the largest sequence", policy: "[verify]\nminimum-sequence = 2\n", says: "18446744073709551615",
		change: sealSays(func(s string) string { return strings.Replace(s, "sequence 1\n", "sequence 18446744073709551615\n", 1) })},
	{name: "with a sequence past all numbers", status: 6, says: "decimal number",
		change: sealSays(func(s string) string { return strings.Replace(s, "sequence 1\n", "sequence 18446744073709551616\n", 1) })},
}

// Signatures are minisign's, prehashed, by a key in the initramfs; of several one
// is enough, and the others do no harm.
func TestSignatures(t *testing.T) { runRows(t, signatures) }

var signatures = []row{
	{name: "not prehashed", status: 6, says: "prehash", change: func(t *testing.T, b base, disk string) {
		text := stored(t, b, seal(b.image, ""))
		write(t, disk, seal(b.image, ".minisig"), minisign(t, b.key, text, "-l"))
	}},
	{name: "with another trusted comment", status: 6, says: "bad signature", change: signatureSays(func(s string) string {
		return strings.Replace(s, "\ntrusted comment: ", "\ntrusted comment: not ", 1)
	})},
	{name: "with another untrusted comment", change: signatureSays(func(s string) string {
		return "untrusted comment: not" + s[strings.Index(s, "\n"):]
	})},
	{name: "with garbage behind it", status: 6, says: "bad signature", change: signatureSays(with("more\n"))},
	{name: "of 1 MiB", status: 6, says: "1048576 bytes, at most", change: signatureSays(func(s string) string {
		return s + strings.Repeat("x", 1<<20-len(s))
	})},
	{name: "of 0 bytes", status: 6, says: "no signature", change: signatureSays(func(string) string { return "" })},

	{name: "two, one by a stranger", change: signedTwice(true, false), keys: bothKeys, says: `"key-name":"good"`},
	{name: "two, one of another seal", keys: bothKeys, says: `"key-name":"wrong"`, change: func(t *testing.T, b base, disk string) {
		text := stored(t, b, seal(b.image, ""))
		write(t, disk, seal(b.image, ".minisig"), stored(t, b, seal(b.other, ".minisig")))
		add(t, disk, secondSignature(t, b), minisign(t, b.wrong, text))
	}},
	{name: "two, both of another seal", status: 6, says: "bad signature", keys: bothKeys, change: signedTwice(false, false)},

	{name: "by a key that was removed", status: 6, says: "signed by no trusted key", keys: newKeyOnly},
	{name: "by a key that was removed and by the new one", keys: newKeyOnly, change: signedTwice(true, true), says: `"key-name":"wrong"`},
	{name: "of a revoked image", status: 6, says: "image is revoked", initrd: []entry{{path: policyPath, template: "[verify]\nrevoked = [\"{image}\"]\n"}}},
	{name: "of an image beside a revoked one", initrd: []entry{{path: policyPath, template: "[verify]\nrevoked = [\"{other}\"]\n"}}},
	{name: "none, of a revoked image, where none is wanted", status: 6, says: "image is revoked", change: withoutSeal,
		initrd: []entry{{path: policyPath, template: "[verify]\nsignature = \"off\"\nrevoked = [\"{image}\"]\n"}}},
	{name: "bad, where none is needed", status: 6, says: "bad signature", policy: "[verify]\nsignature = \"optional\"\n",
		change: signatureSays(func(s string) string { return s[:len(s)/2] })},
	{name: "none, where none is needed", policy: "[verify]\nsignature = \"optional\"\n", change: withoutSeal, says: `"status":"none"`},
}

const products = "[verify]\nos-id = [\"kiosk\", \"debian\"]\n"

func same(s string) string { return s }

// with returns a function that adds text at the end.
func with(text string) func(string) string {
	return func(s string) string { return s + text }
}

func theSeal(b base) string { return seal(b.image, "") }

// sealSays changes the text of the seal and signs the result with the right key.
func sealSays(edit func(string) string) change {
	return func(t *testing.T, b base, disk string) {
		t.Helper()
		text := []byte(edit(string(stored(t, b, seal(b.image, "")))))
		write(t, disk, seal(b.image, ""), text)
		write(t, disk, seal(b.image, ".minisig"), minisign(t, b.key, text))
	}
}

func signatureSays(edit func(string) string) change {
	return func(t *testing.T, b base, disk string) {
		t.Helper()
		text := edit(string(stored(t, b, seal(b.image, ".minisig"))))
		write(t, disk, seal(b.image, ".minisig"), []byte(text))
	}
}

// signedTwice gives the seal a signature of each key; one that isn't good is of
// the other image's seal.
func signedTwice(first, second bool) change {
	return func(t *testing.T, b base, disk string) {
		t.Helper()
		ours, other := stored(t, b, seal(b.image, "")), stored(t, b, seal(b.other, ""))
		pick := func(good bool) []byte {
			if good {
				return ours
			}
			return other
		}
		write(t, disk, seal(b.image, ".minisig"), minisign(t, b.key, pick(first)))
		add(t, disk, secondSignature(t, b), minisign(t, b.wrong, pick(second)))
	}
}

// secondSignature is the place for the signature by the second key.
func secondSignature(t *testing.T, b base) string {
	t.Helper()
	text, err := os.ReadFile(b.wrongPub)
	if err != nil {
		t.Fatal(err)
	}
	comment, _, _ := strings.Cut(string(text), "\n")
	id := comment[strings.LastIndex(comment, " ")+1:]
	return seal(b.image, "."+id+".minisig")
}

func bothKeys(b base) []string   { return []string{b.pub, b.wrongPub} }
func newKeyOnly(b base) []string { return []string{b.wrongPub} }

// minisign signs a text with the program of that name, and returns the signature.
func minisign(t *testing.T, key string, text []byte, options ...string) []byte {
	t.Helper()
	dir := t.TempDir()
	message, signature := filepath.Join(dir, "message"), filepath.Join(dir, "signature")
	if err := os.WriteFile(message, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := run("minisign", append(options, "-S", "-s", key, "-m", message, "-x", signature)...); err != nil {
		t.Fatal(err)
	}
	made, err := os.ReadFile(signature)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// instead removes a file and lets debugfs put something else there: a command with
// the file's name for %s, in its directory.
func instead(of func(base) string, command string) change {
	return func(t *testing.T, b base, disk string) {
		t.Helper()
		dir, name := path.Split(of(b))
		debugfs(t, disk, "cd "+dir, "unlink "+name, fmt.Sprintf(command, name))
	}
}
