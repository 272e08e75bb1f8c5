package disk

import (
	"context"
	"fmt"
	"strings"
)

const sectorSize = 512

// writeGPT writes the protective MBR, the partition table and its backup.
func (w *writer) writeGPT(ctx context.Context) error {
	var script strings.Builder
	fmt.Fprintf(&script, "label: gpt\nlabel-id: %s\n", w.plan.UUID)
	for _, p := range []Partition{w.plan.ESP, w.plan.Root} {
		fmt.Fprintf(&script, "start=%d, size=%d, type=%s, uuid=%s, name=%q\n",
			p.Offset/sectorSize, p.Size/sectorSize, p.Type, p.UUID, p.Name)
	}
	return w.run(ctx, w.epoch(), strings.NewReader(script.String()),
		"sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", "--wipe=never", imageFile)
}
