package bootcfg_test

import (
	"testing"

	"github.com/composefs-go/composefs/bootcfg"
)

// Nothing written forbids extensions where nothing else of the disk could do what
// they do.
func TestExtensionsAreForbiddenWhereEtcKeepsNothing(t *testing.T) {
	for _, c := range []struct {
		text string
		want bootcfg.Requirement
	}{
		{"", bootcfg.Allow},
		{"[etc]\nmount = \"bind\"", bootcfg.Allow},
		{"[etc]\nmount = \"root\"", bootcfg.Allow},
		{"[etc]\nmount = \"none\"", bootcfg.Forbid},
		{"[etc]\ntransient = true", bootcfg.Forbid},
		{"[etc]\nmount = \"volatile\"", bootcfg.Forbid},
		{"[etc]\nmount = \"none\"\n[verify]\nextensions = \"allow\"", bootcfg.Allow},
		{"[verify]\nextensions = \"forbid\"", bootcfg.Forbid},
	} {
		if config, err := bootcfg.ParseConfig([]byte(c.text)); err != nil || config.Extensions() != c.want {
			t.Errorf("%q: %s, %v, want %s", c.text, config.Extensions(), err, c.want)
		}
	}
}
