package bootcfg_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

func TestParseConfigReadsEverySetting(t *testing.T) {
	change := func(f func(*bootcfg.Config)) bootcfg.Config {
		c := bootcfg.DefaultConfig()
		f(&c)
		return c
	}
	for _, c := range []struct {
		name, text string
		want       bootcfg.Config
	}{
		{"an empty file is the default", "", bootcfg.DefaultConfig()},
		{"a file of composefs-rs", "[root]\ntransient = true\n[etc]\nmount = \"bind\"\n[var]\ntransient = true\n",
			change(func(c *bootcfg.Config) {
				c.Root.Transient, c.Etc, c.Var = bootcfg.TransientOn, bootcfg.MountBind, bootcfg.MountTransient
			})},
		{"mount has the last word over transient", "[etc]\ntransient = true\nmount = \"none\"",
			change(func(c *bootcfg.Config) { c.Etc = bootcfg.MountNone })},
		{"all that composefs-rs and bootc know", "[root]\ntransient = false\n[etc]\nmount = \"overlay\"\ntransient = false\n[var]\nmount = \"bind\"\ntransient = false\n", bootcfg.DefaultConfig()},
		{"the read-only transient root", "[root]\ntransient = true\ntransient-ro = true\nsysroot = \"ro\"",
			change(func(c *bootcfg.Config) {
				c.Root = bootcfg.Root{Transient: bootcfg.TransientReadOnly, SysrootReadOnly: true}
			})},
		{"verify", "[verify]\nsignature = \"optional\"\nkeys = \"/k\"\nminimum-sequence = 40\nrevoked = [\"" + hexA + "\"]\nfs-verity = \"off\"\nallow-insecure = true\nargument = \"optional\"\nextensions = \"forbid\"\nos-id = [\"debian\", \"ubuntu\"]",
			change(func(c *bootcfg.Config) {
				c.Verify = bootcfg.Verify{Signature: bootcfg.Optional, Presumes: "keys", OSIDs: []string{"debian", "ubuntu"}, Keys: "/k", MinimumSequence: 40,
					Revoked: []verity.Digest{digest(t, hexA)}, FSVerity: bootcfg.Off, AllowInsecure: true, Argument: bootcfg.Optional, Extensions: bootcfg.Forbid}
			})},
		{"measure", "[measure]\ntpm = \"if-present\"\npcr = 8",
			change(func(c *bootcfg.Config) { c.Measure = bootcfg.Measure{TPM: bootcfg.IfPresent, PCR: 8} })},
		{"measure in the usual register", "[measure]\ntpm = \"require\"",
			change(func(c *bootcfg.Config) { c.Measure = bootcfg.Measure{TPM: bootcfg.Require, PCR: 15} })},
		{"failure", "[failure]\naction = \"poweroff\"\nshell = \"allow\"\nfull-disk = \"refuse\"",
			change(func(c *bootcfg.Config) {
				c.Failure, c.Shell, c.FullDisk = bootcfg.PowerOff, bootcfg.ShellAllow, bootcfg.FullDiskRefuse
			})},
	} {
		got, err := bootcfg.ParseConfig([]byte(c.text))
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s:\n got %+v, %v\nwant %+v", c.name, got, err, c.want)
		}
	}
}

func TestParseConfigNamesLineAndKey(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"unknown key", "# policy\n\n[verify]\nkeys = \"/k\"\nsignatures = \"off\"", "line 5: [verify] signatures: unknown key: did you mean signature?"},
		{"unknown section", "\n[verfy]\nminimum-sequence = 4", "line 2: [verfy]: unknown section: did you mean [verify]?"},
		{"unknown section of no key", "[etcetera]\n", "line 1: [etcetera]: unknown section: did you mean [etc]?"},
		{"unknown section of sections", "[etc]\n[etc.sub]\nmount = 1", "[etc] sub: unknown key"},
		{"a list of sections", "[[etc]]\nmount = \"none\"", "want a section like [verify]"},
		{"a misspelt key of etc", "[etc]\n\nmout = \"transient\"", "line 3: [etc] mout: unknown key: did you mean mount?"},
		{"a misspelt key of var", "[var]\ntransien = true", "line 2: [var] transien: unknown key: did you mean transient?"},
		{"a misspelt key of root", "[root]\ntransient_ro = true", "line 2: [root] transient_ro: unknown key: did you mean transient-ro?"},
		{"a key of another section", "[root]\nmount = \"none\"", "line 2: [root] mount: unknown key"},
		{"a key in other letters", "[etc]\nMount = \"none\"", "line 2: [etc] Mount: unknown key: did you mean mount?"},
		{"a misspelt key of an inline section", "\netc = {mout = \"none\"}", "line 2: [etc] mout: unknown key: did you mean mount?"},
		{"a misspelt key with its section before it", "\netc.mout = \"none\"", "line 2: [etc] mout: unknown key: did you mean mount?"},
		{"a misspelt key of a quoted section", "[\"etc\"]\nmout = \"none\"", "line 2: [etc] mout: unknown key"},
		{"a long unknown key", "[etc]\n" + strings.Repeat("k", 10000) + " = 1", "unknown key: did you mean"},
		{"key outside of a section", "\n\nsignature = \"off\"", "line 3: [signature]: want a section"},
		{"bad value", "[verify]\nsignature = \"maybe\"", `line 2: [verify] signature: want one of require, optional, off, found "maybe"`},
		{"a value of another key", "[verify]\nfs-verity = \"optional\"", "want one of require, userspace, off"},
		{"wrong type", "[verify]\nallow-insecure = \"yes\"", `line 2: [verify] allow-insecure: want true or false, found "yes"`},
		{"a bad word about extensions", "[verify]\nextensions = \"off\"", `line 2: [verify] extensions: want one of allow, forbid, found "off"`},
		{"negative sequence", "[verify]\nminimum-sequence = -1", "line 2: [verify] minimum-sequence: want a whole number"},
		{"bad digest", "[verify]\nrevoked = [\"" + strings.ToUpper(hexA) + "\"]", "line 2: [verify] revoked: malformed digest"},
		{"a system that is no list", "[verify]\nos-id = \"debian\"", "line 2: [verify] os-id: want a list of IDs of os-release"},
		{"no system", "[verify]\nos-id = []", "line 2: [verify] os-id: want a list"},
		{"a system without a name", "[verify]\nos-id = [\"\"]", "line 2: [verify] os-id: want an ID"},
		{"a system that is a number", "[verify]\nos-id = [1]", "line 2: [verify] os-id: want an ID"},
		{"relative path", "[verify]\nkeys = \"k\"", "want an absolute path"},
		{"a register of the firmware", "[measure]\npcr = 7", "line 2: [measure] pcr: want a number from 8 to 15"},
		{"a register that can be reset", "[measure]\npcr = 16", "line 2: [measure] pcr: want a number from 8 to 15"},
		{"a register that is no number", "[measure]\npcr = \"15\"", "want a number from 8 to 15"},
		{"a bad word about the TPM", "[measure]\ntpm = \"optional\"", "want one of require, if-present, off"},
		{"an unknown key of measure", "[measure]\nbank = \"sha256\"", "line 2: [measure] bank: unknown key"},
		{"bad action", "[failure]\naction = \"shell\"", "want one of emergency, reboot, poweroff"},
		{"a bad word about the argument", "[verify]\n\nargument = \"off\"", `line 3: [verify] argument: want one of require, optional, found "off"`},
		{"a bad word about shells", "[failure]\nshell = true", `line 2: [failure] shell: want one of allow, deny, found "true"`},
		{"a bad word about a full disk", "[failure]\nfull-disk = \"volatile\"", "line 2: [failure] full-disk: want one of transient, refuse"},
		{"bad mount", "[etc]\nmount = \"rbind\"", "line 2: [etc] mount: want one of none"},
		{"bad value in a foreign section", "[root]\ntransient = 1", "line 2: [root] transient: want true or false"},
		{"the same key twice", "[failure]\naction = \"reboot\"\naction = \"reboot\"", "line 3"},
		{"no TOML", "[verify\n", "line 2"},
		{"the first mistake is named", "[verify]\na = 1\nb = 2\n[failure]\nc = 3", "line 2: [verify] a"},
		{"too long", strings.Repeat("#\n", bootcfg.MaxConfig), "at most 65536"},
	} {
		_, err := bootcfg.ParseConfig([]byte(c.text))
		if !errors.Is(err, bootcfg.ErrConfig) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want ErrConfig with %q", c.name, err, c.want)
		}
	}
}

func TestSignatureDefaultFailsClosed(t *testing.T) {
	for _, c := range []struct {
		name    string
		written bootcfg.Requirement
		keys    int
		want    bootcfg.Requirement
	}{
		{"nothing written, a key", "", 1, bootcfg.Require},
		{"nothing written, no key", "", 0, bootcfg.Off},
		{"required without a key stays required", bootcfg.Require, 0, bootcfg.Require},
		{"switched off by the policy", bootcfg.Off, 1, bootcfg.Off},
	} {
		if got := (bootcfg.Verify{Signature: c.written}).SignatureWith(c.keys); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// What is about seals, where none can be checked, is a mistake that is named.
func TestAPolicyAboutSealsNeedsAKey(t *testing.T) {
	key, err := sign.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	some := sign.Keyring{key.Public("k")}
	for _, c := range []struct {
		name, text string
		keys       sign.Keyring
		want       string // of the error; "" for none
	}{
		{"nothing is said", "", nil, ""},
		{"a minimum", "minimum-sequence = 5", nil, "[verify] minimum-sequence, which is about seals, but there is no *.pub key in " + bootcfg.KeysPath},
		{"a minimum, and a key", "minimum-sequence = 5", some, ""},
		{"a minimum that all reach", "minimum-sequence = 0", nil, ""},
		{"revoked images", "revoked = [\"" + hexA + "\"]", nil, "[verify] revoked, which is about seals"},
		{"revoked images, and a key", "revoked = [\"" + hexA + "\"]", some, ""},
		{"systems", "os-id = [\"debian\"]", nil, "[verify] os-id, which is about seals"},
		{"systems that aren't looked at", "signature = \"off\"\nos-id = [\"debian\"]", some, "no seal is checked"},
		{"no revoked images", "revoked = []", nil, ""},
		{"revoked images, which need no seal", "signature = \"off\"\nrevoked = [\"" + hexA + "\"]", nil, ""},
		{"the usual directory of keys, by name", "keys = \"" + bootcfg.KeysPath + "\"", nil, "[verify] keys, which is about seals"},
		{"a directory of keys that aren't looked at", "signature = \"off\"\nkeys = \"/k\"", nil, ""},
		{"a minimum that isn't looked at", "signature = \"off\"\nminimum-sequence = 5", some, "with signature = \"off\" no seal is checked"},
		{"required", "signature = \"require\"", nil, "requires a signature, but there is no *.pub key"},
		{"optional", "signature = \"optional\"", nil, "signature = \"optional\", but there is no *.pub key"},
		{"optional, and a key", "signature = \"optional\"\nminimum-sequence = 5", some, ""},
	} {
		config, err := bootcfg.ParseConfig([]byte("[verify]\n" + c.text))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		_, err = config.Verify.Policy(c.keys)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestShellsAreDeniedWhereAKeyIsTrusted(t *testing.T) {
	for _, c := range []struct {
		name, text string
		keys       int
		want       bool
	}{
		{"nothing written, a key", "", 1, false},
		{"nothing written, no key", "", 0, true},
		{"a signature is required, and the key is missing", "[verify]\nsignature = \"require\"", 0, false},
		{"a key that isn't used", "[verify]\nsignature = \"off\"", 1, false},
		{"allowed", "[failure]\nshell = \"allow\"", 1, true},
		{"denied", "[failure]\nshell = \"deny\"", 0, false},
	} {
		config, err := bootcfg.ParseConfig([]byte(c.text))
		if got := config.AllowsShell(c.keys); err != nil || got != c.want {
			t.Errorf("%s: %v, %v; want %v", c.name, got, err, c.want)
		}
	}
}

// Whatever the text, a policy is either refused with ErrConfig or one whose
// every value is one of those that the rest of the program knows.
func FuzzParseConfig(f *testing.F) {
	f.Add("[root]\ntransient = true\n[verify]\nsignature = \"require\"\nrevoked = [\"" + hexA + "\"]\n")
	f.Add("[etc]\nmount = \"overlay\"\n[failure]\naction = \"reboot\"\n")
	f.Add("root = 1")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := bootcfg.ParseConfig([]byte(text))
		if err != nil {
			if !errors.Is(err, bootcfg.ErrConfig) {
				t.Fatalf("%q: error %v wraps no ErrConfig", text, err)
			}
			return
		}
		if c.Etc == "" || c.Var == "" || c.Failure == "" || c.Verify.FSVerity == "" || c.Verify.Keys == "" || c.Verify.Argument == "" || c.FullDisk == "" {
			t.Fatalf("%q leaves a setting empty: %+v", text, c)
		}
	})
}
