package setup

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/internal/osfile"
	"github.com/composefs-go/composefs/sign"
)

// maxCmdline is the largest kernel command line; no architecture has a longer one.
const maxCmdline = 64 << 10

// Paths are where the configuration is read from.
type Paths struct {
	Config string // the policy; it may be missing
	Keys   string // overrides the policy's directory of keys
}

// Options are everything that decides over a boot, read and parsed.
type Options struct {
	Cmdline bootcfg.Cmdline
	Config  bootcfg.Config
	Keys    sign.Keyring
	// Sysroot is where the physical root is mounted and the new root will be.
	Sysroot string
	// Init is set when we are the first process: there is no physical root
	// yet, and at the end this is executed. It is the argument vector.
	Init []string
	// Version of this program, for the record.
	Version string
	// Advise, if not nil, returns an error's text followed by what to do about it. It is
	// used for errors that are printed although the boot goes on.
	Advise func(error) string
}

// Read parses the command line and reads the policy and the keys. Mistakes in
// them are refusals of CodeConfig; the Config that was read is returned with
// a mistake that was found later, so that its failure action can be obeyed.
func Read(cmdline string, p Paths) (Options, error) {
	o := Options{Config: bootcfg.DefaultConfig(), Sysroot: "/sysroot"}
	config, err := readConfig(p.Config)
	if err != nil {
		// Its [measure] section is unknown, so the refusal spoils the register if there is a TPM.
		o.Config.Measure.TPM = bootcfg.IfPresent
		return o, refuse(CodeConfig, err)
	}
	o.Config = config
	if p.Keys != "" {
		o.Config.Verify.Keys = p.Keys
	}
	if o.Keys, err = readKeys(o.Config.Verify.Keys); err != nil {
		return o, refuse(CodeConfig, err)
	}
	if len(cmdline) > maxCmdline {
		return o, refuse(CodeConfig, problem(LongCommandLine, "kernel command line of %d bytes, at most %d expected", len(cmdline), maxCmdline))
	}
	o.Cmdline, err = bootcfg.ParseCmdline(cmdline)
	return o, refuse(CodeConfig, err)
}

func readConfig(name string) (bootcfg.Config, error) {
	f, err := osfile.OpenTrusted(name)
	if errors.Is(err, fs.ErrNotExist) {
		return bootcfg.DefaultConfig(), nil
	}
	if err != nil {
		return bootcfg.Config{}, err
	}
	defer f.Close()
	text, err := osfile.ReadAll(f, bootcfg.MaxConfig)
	if err != nil {
		return bootcfg.Config{}, err
	}
	config, err := bootcfg.ParseConfig(text)
	if err != nil {
		return bootcfg.Config{}, fmt.Errorf("%s: %w", name, err)
	}
	return config, nil
}

// readKeys reads the trusted keys. Only the directory that is looked at without
// being told may be missing.
func readKeys(name string) (sign.Keyring, error) {
	dir, err := osfile.OpenTrustedDir(name)
	if errors.Is(err, fs.ErrNotExist) && name == bootcfg.KeysPath {
		return nil, nil
	}
	if cause := (*fs.PathError)(nil); errors.Is(err, fs.ErrNotExist) && errors.As(err, &cause) {
		err = cause.Err // what follows names it
	}
	if err != nil {
		return nil, fmt.Errorf("%s: read the trusted keys: %w", name, err)
	}
	defer dir.Close()
	keys, err := sign.LoadKeyring(osfile.PlainFS{Dir: dir}, ".")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return keys, nil
}
