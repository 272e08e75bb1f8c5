package bootcfg_test

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/bootcfg"
)

// The policy in composefs-setup-root(8) can be parsed, and its values are the defaults
// except where the page says otherwise.
func TestTheManualPageShowsTheDefaults(t *testing.T) {
	page, err := os.ReadFile("../man/composefs-setup-root.8")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), ".SH POLICY\n.nf\n")
	text, _, _ = strings.Cut(text, ".fi\n")
	text = strings.NewReplacer(`\-`, "-", `"HEX"`, `"`+strings.Repeat("0e", 32)+`"`).Replace(text)
	got, err := bootcfg.ParseConfig([]byte(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if len(got.Verify.Revoked) != 1 || len(got.Verify.OSIDs) != 1 || got.Verify.MinimumSequence == 0 || got.Verify.Presumes == "" {
		t.Errorf("found %+v", got.Verify)
	}
	want := bootcfg.DefaultConfig()
	v := &want.Verify
	v.Revoked, v.OSIDs, v.MinimumSequence, v.Presumes = got.Verify.Revoked, got.Verify.OSIDs, got.Verify.MinimumSequence, got.Verify.Presumes
	v.Signature, v.Extensions, want.Shell = v.SignatureWith(1), want.Extensions(), bootcfg.ShellDeny
	if !reflect.DeepEqual(got, want) {
		t.Errorf("found %+v,\n want %+v", got, want)
	}
}
