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

// ExtensionDirs returns the directories of the root, relative to it, where extensions may be
// that nobody has verified, if the state that they are in is kept. Those of the image are
// verified, wherever they are.
func ExtensionDirs() []string {
	return []string{"etc/extensions", "var/lib/extensions", "var/lib/extensions.mutable", "var/lib/confexts"}
}
