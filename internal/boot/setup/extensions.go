package setup

import (
	"os"
	"strings"

	"github.com/composefs-go/composefs/bootcfg"
)

// Extensions are merged over /usr, /opt and /etc by systemd-sysext(8). Two things
// forbid them, because each alone has a way around it: their directories are hidden,
// for a merge that isn't a unit's work, or that begins in the initramfs before systemd
// has seen the masks; and the units are masked, for a /var that is mounted later.

// mergers are the units that merge extensions, systemd-NAME.service, the last two in
// the initramfs.
var mergers = []string{"sysext", "confext", "sysext-sysroot", "confext-sysroot"}

// masks comes before /etc/systemd/system where systemd looks for units. Only what
// `systemctl set-property` leaves in /etc comes earlier.
const masks = "/run/systemd/system.control"

// hideExtensions mounts nothing over those in dir, "etc" or "var". A link is refused:
// it may lead to what is mounted later, so that nothing can be mounted over its target.
func (s *session) hideExtensions(dir string) error {
	for _, hidden := range bootcfg.ExtensionDirs() {
		if !strings.HasPrefix(hidden, dir) {
			continue
		}
		if err := s.sys.MountState(hidden, bootcfg.MountVolatile, ""); err != nil {
			return problem(ExtensionLink, "extensions are forbidden: %w", err)
		}
	}
	return nil
}

// mask keeps systemd from starting the mergers.
func mask() error {
	if err := os.MkdirAll(masks, 0o755); err != nil {
		return err
	}
	for _, merger := range mergers {
		if err := os.Symlink("/dev/null", masks+"/systemd-"+merger+".service"); err != nil && !os.IsExist(err) {
			return err
		}
	}
	return nil
}
