package setup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"

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
}

// Read parses the command line and reads the policy and the keys. Mistakes in
// them are refusals of CodeConfig; the Config that was read is returned with
// a mistake that was found later, so that its failure action can be obeyed.
func Read(cmdline string, p Paths) (Options, error) {
	o := Options{Config: bootcfg.DefaultConfig(), Sysroot: "/sysroot"}
	config, err := readConfig(p.Config)
	if err != nil {
		// Nobody knows what it says of the TPM: the refusal shall spoil the register.
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
		return o, refuse(CodeConfig, fmt.Errorf("kernel command line of %d bytes, at most %d expected: shorten it", len(cmdline), maxCmdline))
	}
	o.Cmdline, err = bootcfg.ParseCmdline(cmdline)
	return o, refuse(CodeConfig, err)
}

func readConfig(name string) (bootcfg.Config, error) {
	f, err := openPlain(name, osfile.Anything)
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
	dir, err := openPlain(name, unix.O_RDONLY|unix.O_DIRECTORY)
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
	keys, err := sign.LoadKeyring(plainDir{dir}, ".")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return keys, nil
}

// openPlain opens a file or directory that decides what is trusted. Neither it nor its
// directory may be a symbolic link: the root partition, which anybody may have written,
// is mounted by then, and a link may lead there. Links further up are the initramfs's own
// (/lib).
func openPlain(name string, flags int) (*os.File, error) {
	dir := path.Dir(path.Clean(name))
	top, err := osfile.OpenDir(path.Dir(dir))
	if err != nil {
		return nil, err
	}
	defer top.Close()
	f, err := osfile.OpenPlain(top, path.Join(path.Base(dir), path.Base(name)), flags)
	return f, explainLink(err)
}

// explainLink says what the kernel means by ELOOP.
func explainLink(err error) error {
	if errors.Is(err, unix.ELOOP) {
		return fmt.Errorf("%w: want no symbolic link, which may lead out of the initramfs: put the file itself there", err)
	}
	return err
}

// plainDir is a directory as fs.FS, without the links in it.
type plainDir struct{ dir *os.File }

func (d plainDir) Open(name string) (fs.File, error) {
	f, err := osfile.OpenPlain(d.dir, name, osfile.Anything)
	if errors.Is(err, unix.ELOOP) && unix.Fstatat(int(d.dir.Fd()), name, &unix.Stat_t{}, 0) == unix.ENOENT {
		err = fs.ErrNotExist // which sign has words for
	}
	if err != nil {
		return nil, explainLink(err) // not f: a nil *os.File isn't nil in an interface
	}
	return f, nil
}
