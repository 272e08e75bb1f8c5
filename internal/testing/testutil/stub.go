package testutil

import (
	"bytes"
	"testing"
)

// AddonStub makes a stub for addons from systemd's stub for UKIs by changing its name.
// Debian 12 has no stub for addons.
func AddonStub(t testing.TB, linux []byte) []byte {
	t.Helper()
	const from, to = "#### LoaderInfo: systemd-stub ", "#### LoaderInfo: systemd-addon "
	at := bytes.Index(linux, []byte(from))
	end := bytes.Index(linux[max(at, 0):], []byte(" ####\x00"))
	if at < 0 || end < len(to) {
		t.Fatal("the stub doesn't say which version of systemd it is of")
	}
	version := linux[at+len(from) : at+end-(len(to)-len(from))] // shorter by as much as the name is longer
	return append(append(append(bytes.Clone(linux[:at]), to...), version...), linux[at+end:]...)
}
