package vm_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/internal/testing/testutil"
	"github.com/composefs-go/composefs/test/vm"
)

// Keys are enrolled into variables that are new, and only there. That firmware
// obeys them is shown by TestSecureBoot.
func TestEnroll(t *testing.T) {
	const blank = "/usr/share/OVMF/OVMF_VARS_4M.fd"
	testutil.RequireFile(t, blank)
	variables, err := os.ReadFile(blank)
	if err != nil {
		t.Fatal(err)
	}
	der := bytes.Repeat([]byte{0x30}, 800)
	keys := vm.Keys{Platform: der, Exchange: der, Database: [][]byte{der, der}}
	enrolled, err := vm.Enroll(variables, keys)
	if err != nil {
		t.Fatal(err)
	}
	if got := bytes.Count(enrolled, der); len(enrolled) != len(variables) || got != 4 {
		t.Errorf("%d bytes with %d certificates, want %d with 4", len(enrolled), got, len(variables))
	}
	other := bytes.Clone(variables)
	clear(other[:200])
	for _, c := range []struct {
		name      string
		variables []byte
		keys      vm.Keys
		says      string
	}{
		{"nothing", nil, keys, "found 0 bytes"},
		{"something else", other, keys, "found something else"},
		{"variables that have keys", enrolled, keys, "never ran"},
		{"more than has room", variables, vm.Keys{Database: [][]byte{make([]byte, len(variables))}}, "no room"},
	} {
		if _, err := vm.Enroll(c.variables, c.keys); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: error %v, want %q in it", c.name, err, c.says)
		}
	}
}
