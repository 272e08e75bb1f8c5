package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// Each reason for which a policy can't be kept comes with what to do about it.
func TestEachPolicyThatCannotBeKeptHasAdvice(t *testing.T) {
	key, err := sign.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	keys := sign.Keyring{key.Public("ours")}
	optional := bootcfg.Cmdline{Images: []bootcfg.Image{{Digest: verity.Sum(verity.SHA256, nil), Optional: true}}}
	found := map[bootcfg.PolicyReason]bool{}
	for _, test := range []struct {
		text string
		keys sign.Keyring
		line bootcfg.Cmdline
	}{
		{text: "signature = \"require\""},
		{text: "signature = \"optional\""},
		{text: "minimum-sequence = 1"},
		{text: "minimum-sequence = 1\nsignature = \"off\"", keys: keys},
		{line: optional, keys: keys},
	} {
		config, err := bootcfg.ParseConfig([]byte("[verify]\n" + test.text + "\n"))
		if err != nil {
			t.Fatal(err)
		}
		err = config.Verify.Permits(test.line, test.keys)
		var policy *bootcfg.PolicyError
		if !errors.As(err, &policy) {
			t.Errorf("%s: found %v", test.text, err)
			continue
		}
		found[policy.Reason] = true
		if advice := policyAdvice[policy.Reason]; advice == "" || !strings.HasSuffix(advisePolicy(err).Error(), ": "+advice) {
			t.Errorf("%s: found %v", test.text, advisePolicy(err))
		}
	}
	for reason := range policyAdvice {
		if !found[reason] {
			t.Errorf("%d: no policy comes to that", reason)
		}
	}
}
