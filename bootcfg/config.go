package bootcfg

import (
	"errors"
	"fmt"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// Where the policy and the keys are in the initramfs.
const (
	ConfigPath = "/usr/lib/composefs/setup-root-conf.toml"
	KeysPath   = "/usr/lib/composefs/keys.d"
)

// MaxConfig is the largest policy that is read, in bytes.
const MaxConfig = 64 << 10

// ErrConfig is the cause when the policy is malformed.
var ErrConfig = errors.New("malformed setup-root-conf.toml")

// A MountMode says what is mounted at /etc or /var.
type MountMode string

// The modes. composefs-rs and bootc have all but volatile.
const (
	MountNone      MountMode = "none"      // the image's own directory, read-only
	MountRoot      MountMode = "root"      // the directory of the physical root, one for all deployments
	MountBind      MountMode = "bind"      // the directory of the deployment's state
	MountOverlay   MountMode = "overlay"   // the image's with changes kept in the deployment's state
	MountTransient MountMode = "transient" // the image's with changes lost at shutdown
	MountVolatile  MountMode = "volatile"  // an empty tmpfs
)

// Kept reports whether files that are written there are kept on the physical root,
// where they aren't verified.
func (m MountMode) Kept() bool { return m == MountRoot || m == MountBind || m == MountOverlay }

// A TransientMode says whether the root itself is writable.
type TransientMode string

// The modes of a transient root.
const (
	TransientOff      TransientMode = ""          // the verified image, read-only
	TransientOn       TransientMode = "transient" // writable, changes lost at shutdown
	TransientReadOnly TransientMode = "ro"        // the same, but mounted read-only: a privileged program may remount it
)

// A Requirement says how much a check matters.
type Requirement string

// The values of [verify] signature, fs-verity and argument and of [measure] tpm; each
// key accepts some of them.
const (
	Require   Requirement = "require"
	Optional  Requirement = "optional"   // signature: a bad one is refused, none is accepted
	Userspace Requirement = "userspace"  // fs-verity: hash the image ourselves
	IfPresent Requirement = "if-present" // tpm: a machine without one boots too
	Off       Requirement = "off"
)

// A FailureAction says how a refused boot ends.
type FailureAction string

// The actions.
const (
	Emergency FailureAction = "emergency"
	Reboot    FailureAction = "reboot"
	PowerOff  FailureAction = "poweroff"
)

// A ShellRule says whether there may be a shell in the initramfs.
type ShellRule string

// The rules. If none is written, it is "deny" if there is a key or a signature is
// required.
const (
	ShellAllow ShellRule = "allow"
	ShellDeny  ShellRule = "deny"
)

// A FullDisk says what happens to a deployment if there is no room for its state.
type FullDisk string

// The choices.
const (
	FullDiskTransient FullDisk = "transient" // its state is in memory for this boot
	FullDiskRefuse    FullDisk = "refuse"
)

// Config is the policy of composefs-setup-root.
type Config struct {
	Root    Root
	Etc     MountMode
	Var     MountMode
	Verify  Verify
	Measure Measure
	Failure FailureAction
	// Shell is empty if the policy doesn't say; see AllowsShell.
	Shell    ShellRule
	FullDisk FullDisk
}

// Root is the section [root].
type Root struct {
	Transient TransientMode
	// SysrootReadOnly mounts the physical root read-only at /sysroot.
	SysrootReadOnly bool
}

// Verify is the section [verify].
type Verify struct {
	// Signature is empty if the policy doesn't say; see SignatureWith.
	Signature Requirement
	// Presumes is the name of a key in the file that is about seals, "" if there is
	// none. A policy with such a key isn't meant for a boot without a trusted key.
	Presumes string
	// Keys is the directory of the trusted public keys.
	Keys            string
	MinimumSequence uint64
	Revoked         []verity.Digest
	// OSIDs are the systems; if there are any, the seal must name one of them.
	OSIDs    []string
	FSVerity Requirement
	// AllowInsecure obeys "?" on the command line.
	AllowInsecure bool
	// Argument is Optional if a command line that names no image boots the device of
	// root= unverified.
	Argument Requirement
	// Extensions is empty if the policy doesn't say; see Config.Extensions.
	Extensions Requirement
}

// Measure is the section [measure].
type Measure struct {
	// TPM says whether the digest goes into a PCR of the TPM 2.0.
	TPM Requirement
	// PCR is the number of the register.
	PCR uint32
}

// The registers that the digest may go into. Those below belong to the firmware,
// those above can be reset.
const (
	minPCR     = 8
	maxPCR     = 15
	defaultPCR = 15 // "system identity" in systemd's list of uses
)

// SignatureWith returns the rule for signatures with this number of keys: if there is a
// key and the policy doesn't say, a valid seal is required.
func (v Verify) SignatureWith(keys int) Requirement {
	switch {
	case v.Signature != "":
		return v.Signature
	case keys > 0:
		return Require
	}
	return Off
}

// AllowsShell reports whether an initramfs with this number of keys may give a shell,
// in which anyone at the console gets what the TPM releases to the verified system. If
// the policy doesn't say, it may only if there is no key and no signature is required.
func (c Config) AllowsShell(keys int) bool {
	if c.Shell == "" {
		return keys == 0 && c.Verify.SignatureWith(keys) != Require
	}
	return c.Shell == ShellAllow
}

// A PolicyReason is why a policy can't be enforced.
type PolicyReason int

// The reasons.
const (
	RequiresKey        PolicyReason = iota + 1 // signature = "require", and there is no key
	OptionalWithoutKey                         // signature = "optional", and there is no key
	SealsWithoutKey                            // it is about seals otherwise, and there is no key
	SealsUnchecked                             // it is about seals, and signature = "off"
	InsecureImage                              // the command line has "?", which it doesn't allow
)

// A PolicyError is about a policy that can't be enforced with the given keys or command
// line.
type PolicyError struct {
	Reason PolicyReason
	text   string
}

func (e *PolicyError) Error() string { return e.text }

// Policy returns the policy for seals, with the keys. It returns a PolicyError if that can't
// be enforced: without a key no seal can be checked, and if seals are ignored, so is everything
// that a seal says.
func (v Verify) Policy(keys sign.Keyring) (sign.Policy, error) {
	p := sign.Policy{Need: sign.Need(v.SignatureWith(len(keys))), Keys: keys, MinimumSequence: v.MinimumSequence, Revoked: v.Revoked, OSIDs: v.OSIDs}
	switch {
	case len(keys) > 0 && p.Need != sign.Off:
		return p, nil
	case p.Need == sign.Require:
		return p, &PolicyError{RequiresKey, fmt.Sprintf("the policy requires a signature, but there is no *.pub key in %s of the initramfs", v.Keys)}
	case p.Need == sign.Optional:
		return p, &PolicyError{OptionalWithoutKey, fmt.Sprintf("the policy has [verify] signature = \"optional\", but there is no *.pub key in %s of the initramfs to check one with", v.Keys)}
	case v.Signature == "" && v.Presumes != "":
		return p, &PolicyError{SealsWithoutKey, fmt.Sprintf("the policy has [verify] %s, which is about seals, but there is no *.pub key in %s of the initramfs", v.Presumes, v.Keys)}
	case v.MinimumSequence > 0 || len(v.OSIDs) > 0:
		return p, &PolicyError{SealsUnchecked, "the policy has [verify] minimum-sequence or os-id, but with signature = \"off\" no seal is checked for them"}
	}
	return p, nil
}

// Permits returns an error if the policy, with the keys, doesn't permit what the
// command line asks for.
func (v Verify) Permits(line Cmdline, keys sign.Keyring) error {
	policy, err := v.Policy(keys)
	if line.Ref != "" && policy.Need != sign.Require {
		return fmt.Errorf("composefs.ref=%s needs a policy with [verify] signature = \"require\", found %q: without it the root partition would choose what is booted", line.Ref, policy.Need)
	}
	if err != nil {
		return err
	}
	for _, i := range line.Images {
		if i.Optional && !v.AllowInsecure {
			return &PolicyError{InsecureImage, fmt.Sprintf("%s asks with \"?\" to do without fs-verity, which the policy doesn't allow", i.Argument)}
		}
	}
	return nil
}

// DefaultConfig returns the policy that applies if there is no file.
func DefaultConfig() Config {
	return Config{
		Etc:     MountOverlay,
		Var:     MountBind,
		Verify:  Verify{Keys: KeysPath, FSVerity: Require, Argument: Require},
		Measure: Measure{TPM: Off, PCR: defaultPCR},
		Failure: Emergency, FullDisk: FullDiskTransient,
	}
}

// ParseConfig reads a policy, in TOML. Unknown sections, unknown keys and bad values are
// errors (ErrConfig) that name the line, so that a misspelt key doesn't count as an absent one.
// All keys of composefs-rs and bootc are known.
func ParseConfig(text []byte) (Config, error) {
	if len(text) > MaxConfig {
		return Config{}, fmt.Errorf("%w: %d bytes, at most %d expected", ErrConfig, len(text), MaxConfig)
	}
	var sections map[string]any
	if err := toml.Unmarshal(text, &sections); err != nil {
		return Config{}, syntaxError(err)
	}
	r := configReader{c: DefaultConfig(), lines: keyLines(string(text))}
	for name, s := range sections {
		keys, ok := s.(map[string]any)
		if !ok {
			r.fail(name, "", "want a section like [verify], found a key outside of any section")
			continue
		}
		r.section(name, keys)
	}
	return r.c, r.err
}

// syntaxError names the line of a mistake that the TOML reader found.
func syntaxError(err error) error {
	var p toml.ParseError
	if errors.As(err, &p) {
		return fmt.Errorf("%w: line %d: %s", ErrConfig, p.Position.Line, strings.TrimSpace(p.Message))
	}
	return fmt.Errorf("%w: %w", ErrConfig, err)
}
