package bootcfg

// The values of [verify] extensions.
const (
	Allow  Requirement = "allow"
	Forbid Requirement = "forbid"
)

// Extensions returns whether systemd may merge extensions (systemd-sysext(8)) into the
// running system. If the policy doesn't say, they are forbidden if that makes a
// difference: an attacker who can write to an /etc that is kept needs no extension.
func (c Config) Extensions() Requirement {
	switch {
	case c.Verify.Extensions != "":
		return c.Verify.Extensions
	case c.Etc.Kept():
		return Allow
	}
	return Forbid
}

// ExtensionDirs returns the directories, relative to the root, that may contain
// unverified extensions if /etc or /var is kept. Extensions in the image are verified
// wherever they are.
func ExtensionDirs() []string {
	return []string{"etc/extensions", "var/lib/extensions", "var/lib/extensions.mutable", "var/lib/confexts"}
}
