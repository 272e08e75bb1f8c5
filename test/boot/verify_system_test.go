package boot

import (
	"strings"
	"testing"
)

// Where the file system has fs-verity, mkimage verify asks for it as the boot does: of
// the image, and of each object.
func TestVerifyOnTheMachine(t *testing.T) {
	b := need(t)
	for _, c := range []struct {
		name   string
		change change
		status string
		says   string
	}{
		{"whole", nil, "0", "image is intact"},
		{"image without fs-verity", withoutVerity(theOther), "exit status 5", "has no fs-verity digest hint: build it into a repository"},
		{"object without fs-verity", withoutVerity(theReplacement), "exit status 5", "has not the fs-verity digest that the policy requires"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			console := bootDirect(t, "trixie", shared.initrd(t, "trixie", ""), changedDisk(t, b, c.change), pin(b.image)+" guest.verify="+b.other, false)
			checkBoots(t, console, b.image)
			facts := console.Guest()
			if facts["verify status"] != c.status || !strings.Contains(facts["verify"], c.says) {
				t.Errorf("mkimage verify: %s, %q; want %s and %q", facts["verify status"], facts["verify"], c.status, c.says)
			}
		})
	}
}
