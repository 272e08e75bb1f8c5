package doctor

import (
	"bytes"
	"debug/elf"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/sign"
)

// Where setup-root and what starts it are in an initrd.
const (
	program  = "usr/lib/composefs/composefs-setup-root"
	unit     = "composefs-setup-root.service"
	target   = "initrd-root-fs.target"
	autoRoot = "usr/lib/systemd/system-generators/systemd-gpt-auto-generator"
)

// marker is in every build of composefs-setup-root: its usage.
var marker = []byte("composefs-setup-root: verify the root image and mount it")

// A Start is how an initrd comes to run composefs-setup-root.
type Start string

// The ways to start.
const (
	StartNone Start = ""
	StartInit Start = "as /init"
	StartUnit Start = "as a unit of systemd"
	StartHook Start = "from a dracut hook"
)

// Trust is what an initrd holds images against.
type Trust struct {
	Config bootcfg.Config
	Keys   sign.Keyring
	Sound  bool // policy and keys could be read
}

// An Initrd is an unpacked initrd and what is known of the kernel that runs it.
type Initrd struct {
	Root    fs.ReadLinkFS
	Kernel  string          // release, "" if it isn't known
	Machine elf.Machine     // that the kernel is for, 0 if it isn't known
	Builtin map[string]bool // names of modules in the kernel, if somebody knows
	OnDisk  bool            // the partitions of the disk are known
}

// Examine looks for composefs-setup-root, policy and keys. The modules are for
// Modules, which needs the command line as well.
func (i *Initrd) Examine(r *Report) (Start, Trust) {
	i.checkExtra(r)
	start := i.start(r)
	if start != StartNone {
		r.Fact("setup-root", "starts %s", start)
	}
	return start, i.trust(r)
}

// start finds the program and what starts it.
func (i *Initrd) start(r *Report) Start {
	if text, err := fs.ReadFile(i.Root, "init"); err == nil && bytes.Contains(text, marker) {
		i.checkProgram(r, "init")
		return StartInit
	}
	info, initErr := fs.Stat(i.Root, "init")
	_, err := fs.Stat(i.Root, program)
	if initErr != nil || !info.Mode().IsRegular() {
		r.Stop("init", "the initrd has no /init: the kernel would not run it")
	} else if err != nil {
		r.Stop("setup-root", "composefs-setup-root is neither /init nor at /%s", program)
	}
	if err != nil {
		return StartNone
	}
	i.checkProgram(r, program)
	if systemd := i.systemd(); systemd != "" {
		i.checkSystemd(r, systemd)
		i.checkManager(r)
		return i.startUnit(r)
	}
	for _, hooks := range []string{"usr/lib/dracut/hooks", "lib/dracut/hooks", "var/lib/dracut/hooks"} {
		if i.hasHook(hooks + "/mount") {
			// Older versions of our module don't have what keeps dracut from a root that
			// wasn't verified.
			if !i.hasHook(hooks + "/cleanup") {
				i.warnGate(r, hooks+"/cleanup")
			}
			return StartHook
		}
	}
	r.Stop("unit", "the initrd has neither systemd nor a hook of dracut for composefs-setup-root: nothing starts it")
	return StartNone
}

// systemd returns where systemd is in the initrd, "" if it isn't there.
func (i *Initrd) systemd() string {
	for _, name := range []string{"usr/lib/systemd/systemd", "lib/systemd/systemd"} {
		if info, err := fs.Stat(i.Root, name); err == nil && info.Mode().IsRegular() {
			return name
		}
	}
	return ""
}

// ownInit are the lines of composefs-init.sh, without comments.
var ownInit = []string{"#!/bin/sh", "rm -rf /.extra/*/ || exit 1", `exec /usr/lib/systemd/systemd "$@"`}

// checkSystemd wants /init to be systemd, or our script that starts it, and systemd to know
// that it is in an initrd.
func (i *Initrd) checkSystemd(r *Report, systemd string) {
	init, err := fs.ReadFile(i.Root, "init")
	if err != nil {
		return // which has been said
	}
	program, err := fs.ReadFile(i.Root, systemd)
	var lines []string
	for line := range strings.Lines(string(init)) {
		if line = strings.TrimSuffix(line, "\n"); line != "" && (len(lines) == 0 || !strings.HasPrefix(line, "#")) {
			lines = append(lines, line)
		}
	}
	switch {
	case err != nil || !bytes.HasPrefix(program, []byte(elf.ELFMAG)):
		r.Stop("init/other", "/%s is no program: nothing starts the units of the initrd", systemd)
	case !bytes.Equal(init, program) && !slices.Equal(lines, ownInit):
		r.Warn("init/other", "/init is neither systemd nor the script of our dracut module: whether it starts systemd, and with it composefs-setup-root, can't be told")
	}
	if _, err := fs.Stat(i.Root, "etc/initrd-release"); err != nil {
		r.Stop("initrd-release", "there is no /etc/initrd-release: systemd wouldn't know that it is in an initrd, and start the units of a whole system")
	}
}

// hasHook reports whether a directory of dracut's hooks has one that runs
// composefs-setup-root.
func (i *Initrd) hasHook(dir string) bool {
	entries, err := fs.ReadDir(i.Root, dir)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		if !strings.Contains(e.Name(), "composefs") || !strings.HasSuffix(e.Name(), ".sh") {
			return false
		}
		text, err := fs.ReadFile(i.Root, dir+"/"+e.Name())
		return err == nil && bytes.Contains(text, []byte(program))
	})
}

func (i *Initrd) warnGate(r *Report, missing string) {
	r.Warn("gate", "nothing in the initrd checks that the root was verified before it is switched (%s): it was made by an older version of our dracut module, which boots another root if the command line names no image", missing)
}

// checkProgram checks that the kernel can execute it.
func (i *Initrd) checkProgram(r *Report, name string) {
	info, err := fs.Stat(i.Root, name)
	if err == nil && info.Mode()&0o111 == 0 {
		r.Stop("executable/mode", "/%s is not executable (mode %o)", name, info.Mode().Perm())
	}
	text, err := fs.ReadFile(i.Root, name)
	if err != nil {
		r.Stop("setup-root/unreadable", "read /%s: %v", name, err)
		return
	}
	f, err := elf.NewFile(bytes.NewReader(text))
	switch {
	case err != nil:
		r.Stop("executable", "/%s is no program: %v", name, err)
	case i.Machine != 0 && f.Machine != i.Machine:
		r.Stop("machine/setup-root", "/%s is for %v, the kernel is for %v", name, f.Machine, i.Machine)
	case !bytes.Contains(text, marker):
		r.Warn("setup-root/other", "/%s doesn't look like a composefs-setup-root of ours", name)
	}
}

// trust reads policy and keys as composefs-setup-root does.
func (i *Initrd) trust(r *Report) Trust {
	config := bootcfg.DefaultConfig()
	if err := CheckPlain(i.Root, bootcfg.ConfigPath); err != nil {
		r.Stop("policy/link", "%v", err)
		return Trust{}
	}
	text, err := fs.ReadFile(i.Root, bootcfg.ConfigPath[1:])
	if err == nil {
		config, err = bootcfg.ParseConfig(text)
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		r.Stop("policy", "%s: %v", bootcfg.ConfigPath, err)
		return Trust{}
	}
	dir := config.Verify.Keys
	if err := CheckPlainKeys(i.Root, dir); err != nil {
		r.Stop("keys/link", "%v", err)
		return Trust{}
	}
	keys, err := sign.LoadKeyring(i.Root, strings.Trim(dir, "/"))
	if errors.Is(err, fs.ErrNotExist) && dir == bootcfg.KeysPath {
		keys, err = nil, nil
	}
	if err != nil {
		r.Stop("keys/bad", "%s: %v", dir, err)
		return Trust{}
	}
	policy, err := config.Verify.Policy(keys)
	if err != nil {
		r.Stop("keys/missing", "%v", err)
		return Trust{}
	}
	for _, k := range keys {
		r.Fact("key", "%s %s", k.ID, k.Name)
	}
	systems := ""
	if len(policy.OSIDs) > 0 {
		systems = ", os-id = " + strings.Join(policy.OSIDs, " ")
	}
	r.Fact("policy", "signature = %s, fs-verity = %s, minimum-sequence = %d, %d revoked%s",
		policy.Need, config.Verify.FSVerity, policy.MinimumSequence, len(policy.Revoked), systems)
	switch {
	case policy.Need == sign.Off && len(policy.Keys) > 0:
		r.Warn("no-seal/policy", "signature = \"off\": no seal is asked for although there is a key, and the digest on the command line is all that protects the image")
	case policy.Need == sign.Off:
		r.Warn("no-seal", "no seal is asked for: the digest on the command line is all that protects the image")
	}
	if config.Verify.FSVerity != bootcfg.Require {
		r.Warn("fs-verity/policy", "fs-verity = %q: the content of files isn't verified", config.Verify.FSVerity)
	}
	if config.Extensions() == bootcfg.Allow && !config.Etc.Kept() && config.Var.Kept() {
		r.Warn("extensions/policy", "extensions = \"allow\": systemd merges what is in /var/lib/extensions over /usr, and that isn't verified")
	}
	return Trust{config, keys, true}
}
