package doctor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/sign"
	"github.com/composefs-go/composefs/verity"
)

// Where the running system tells about itself.
const (
	bootRecord = "run/composefs/boot.json"
	mountInfo  = "proc/self/mountinfo"
	procLine   = "proc/cmdline"
	efiGlobal  = "-8be4df61-93ca-11d2-aa0d-00e098032b8c" // of variables that the UEFI specification defines
	efiVars    = "sys/firmware/efi/efivars/"
	maxRecord  = 1 << 20
)

// record is boot.json.
type record struct {
	Digest   verity.Digest `json:"digest"`
	Argument string        `json:"argument"`
	Seal     struct {
		Status   sign.Status `json:"status"`
		Key      sign.KeyID  `json:"key"`
		KeyName  string      `json:"key-name"`
		Sequence uint64      `json:"sequence"`
		OSID     string      `json:"os-id"`
		Refs     []string    `json:"refs"`
	} `json:"seal"`
	FSVerity string `json:"fs-verity"`
	TPM      struct {
		Status string `json:"status"`
	} `json:"tpm"`
	NoRoom []string `json:"no-room"`
	Policy struct {
		Root       string `json:"root"`
		Etc        string `json:"etc"`
		Extensions string `json:"extensions"`
	} `json:"policy"`
}

// System examines the running system, whose root directory fsys is: what was
// verified when it booted, by which key, and what wasn't.
func System(fsys fs.FS) *Report {
	r := &Report{Subject: "the running system", Kind: "system", Findings: []Finding{}}
	text, err := fs.ReadFile(fsys, bootRecord)
	if errors.Is(err, fs.ErrNotExist) {
		r.Stop("not-booted", "there is no /%s: composefs-setup-root didn't set up this root", bootRecord)
		return r
	}
	if errors.Is(err, fs.ErrPermission) {
		r.Stop("record/unreadable", "what the boot has proved can't be read: %v", err)
		return r
	}
	var b record
	if err == nil && len(text) > maxRecord {
		err = fmt.Errorf("want at most %d bytes, found %d", maxRecord, len(text))
	}
	if err == nil {
		err = json.Unmarshal(text, &b)
	}
	if err != nil {
		r.Stop("record", "/%s: %v", bootRecord, err)
		return r
	}
	b.verified(r)
	b.extensions(r)
	b.mounts(r, fsys)
	b.cmdline(r, fsys)
	secureBoot(r, fsys)
	return r
}

// verified says what the boot has proved.
func (b record) verified(r *Report) {
	r.Fact("image", "%s, named by %s", b.Digest, b.Argument)
	switch b.Seal.Status {
	case sign.Sealed:
		sealFact(r, b.Seal.Key, b.Seal.KeyName, b.Seal.Sequence, b.Seal.OSID, b.Seal.Refs)
	case sign.Unsealed:
		r.Warn("seal/none", "the image has no seal, and the policy asked for none")
	default:
		r.Warn("seal/unasked", "whether the image is sealed was not asked: only the command line vouches for it")
	}
	switch b.FSVerity {
	case string(bootcfg.Require):
		r.Fact("content", "checked by the kernel at every read")
	case string(bootcfg.Userspace):
		r.Warn("content/names-only", "names, modes and owners were verified at boot; the content of files is not")
	default:
		r.Warn("content/nothing", "neither the image nor the content of files was verified (fs-verity = %q)", b.FSVerity)
	}
	if len(b.NoRoom) > 0 {
		r.Warn("no-room", "the root partition had no room for the state of %q: what is written there is lost at shutdown", b.NoRoom)
	}
	if b.TPM.Status != "" && b.TPM.Status != "off" {
		r.Fact("tpm", "%s", b.TPM.Status)
	}
}

// extensions says whether the policy has left systemd a way to change /usr.
func (b record) extensions(r *Report) {
	switch etc := bootcfg.MountMode(b.Policy.Etc); {
	case b.Policy.Extensions == string(bootcfg.Forbid):
		r.Fact("extensions", "forbidden: systemd merges nothing over /usr and /etc")
	case b.Policy.Extensions == string(bootcfg.Allow) && !etc.Kept():
		r.Warn("extensions/running", "systemd may merge what is in /var/lib/extensions and /var/lib/confexts over /usr and /etc, and that isn't verified")
	}
}

// cmdline checks that the argument of the record is on the command line of this boot.
func (b record) cmdline(r *Report, fsys fs.FS) {
	text, err := fs.ReadFile(fsys, procLine)
	if err != nil {
		return
	}
	line, err := bootcfg.ParseCmdline(string(text))
	if err != nil {
		r.Warn("cmdline/running", "%v", err)
		return
	}
	for _, i := range line.Images {
		if i.Argument == b.Argument {
			return
		}
	}
	if b.Argument != "composefs.ref="+line.Ref {
		r.Warn("cmdline/other-boot", "the record speaks of %q, which is not on the kernel command line", b.Argument)
	}
}

// secureBoot says whether the firmware vouches for what began all this.
func secureBoot(r *Report, fsys fs.FS) {
	on, err := fs.ReadFile(fsys, efiVars+"SecureBoot"+efiGlobal)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.Warn("secure-boot/none", "no UEFI Secure Boot: the kernel, the initrd and the command line aren't authenticated")
	case err != nil:
		r.Warn("secure-boot/unreadable", "whether Secure Boot is on can't be read: %v", err)
	case len(on) != 5 || on[4] != 1: // four bytes of attributes, then the value
		r.Warn("secure-boot/off", "Secure Boot is off: the kernel, the initrd and the command line aren't authenticated")
	default:
		r.Fact("secure-boot", "on: the firmware checked what it started")
	}
}
