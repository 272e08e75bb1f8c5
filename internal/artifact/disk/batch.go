package disk

import "os"

// Limits on a batch. Temporary files take no more space than two batches, or the largest
// file and a batch.
const (
	batchBytes = 32 * mib
	batchFiles = 512
)

// A batch is a number of staging files that debugfs is told to copy.
type batch struct {
	names []string
	bytes int64
}

func (b *batch) add(name string, size int64) {
	b.names = append(b.names, name)
	b.bytes += size
}

func (b *batch) full() bool { return b.bytes >= batchBytes || len(b.names) >= batchFiles }

// settle waits until debugfs has copied a batch that has been marked, and removes the
// files. For an empty batch it does nothing.
func (w *writer) settle(s *session, b batch) error {
	if len(b.names) == 0 {
		return nil
	}
	if err := s.wait(); err != nil {
		return err
	}
	for _, name := range b.names {
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	w.report(b.bytes)
	return nil
}
