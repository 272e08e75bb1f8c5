package bootcfg

// The values of [verify] extensions.
const (
	Allow  Requirement = "allow"
	Forbid Requirement = "forbid"
)

// Extensions returns whether systemd may merge extensions (systemd-sysext(8)) into
// the running system. Where nothing is written, that depends on whether it makes a
// difference: who can write to an /etc that is kept needs no extension.
func (c Config) Extensions() Requirement {
	switch {
	case c.Verify.Extensions != "":
		return c.Verify.Extensions
	case c.Etc.Kept():
		return Allow
	}
	return Forbid
}
