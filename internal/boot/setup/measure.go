package setup

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/composefs-go/composefs/bootcfg"
	"github.com/composefs-go/composefs/internal/boot/tpm"
)

// tpmRecord is the part of boot.json about the TPM: what was measured into it.
type tpmRecord struct {
	Status  string // "measured", "absent" or "off"
	PCR     uint32
	Events  []string // all that the register gets, in this order
	Event   string   // the image's
	Digests []tpm.Digest
}

// extend measures the image, and the file system that it is on.
func (s *session) extend(pcr uint32, need bootcfg.Requirement) error {
	r := tpmRecord{Status: "measured", PCR: pcr, Events: bootcfg.Events(s.level, s.image.Digest, s.sys.RootID())}
	r.Event = r.Events[0]
	var err error
	r.Digests, err = s.sys.Extend(pcr, r.Event, need == bootcfg.Require)
	switch {
	case errors.Is(err, fs.ErrNotExist) && need == bootcfg.IfPresent:
		s.boot.TPM.Status = "absent"
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return problem(NoTPM, "the policy requires a TPM 2.0: %w", err)
	case err != nil:
		return err
	}
	if _, err := s.sys.Extend(pcr, r.Events[1], true); err != nil {
		return err
	}
	s.boot.TPM = r
	return nil
}

// spoil measures that the boot was refused, so that nothing that runs now can bring
// the register to where a good boot would have brought it, or find it there.
func spoil(sys System, m bootcfg.Measure, code Code) error {
	if m.TPM == bootcfg.Off {
		return nil
	}
	_, err := sys.Extend(m.PCR, "composefs-refused:"+strconv.Itoa(int(code)), m.TPM == bootcfg.Require)
	if errors.Is(err, fs.ErrNotExist) && m.TPM != bootcfg.Require {
		return nil
	}
	return err
}

func (r tpmRecord) json() string {
	o := object{{"status", quote(r.Status)}}
	if r.Status == "measured" {
		var digests object
		for _, d := range r.Digests {
			digests = append(digests, [2]string{d.Algorithm, quote(fmt.Sprintf("%x", d.Sum))})
		}
		o = append(o, [][2]string{{"pcr", strconv.FormatUint(uint64(r.PCR), 10)}, {"events", `["` + strings.Join(r.Events, `","`) + `"]`}, {"event", quote(r.Event)}, {"digests", digests.String()}}...)
	}
	return o.String()
}
