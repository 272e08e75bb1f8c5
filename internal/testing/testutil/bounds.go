package testutil

import (
	"io"
	"runtime"
	"testing"
)

// What reading an input may take: memoryPerByte for each of its bytes, and memoryBase.
const (
	memoryPerByte = 16
	memoryBase    = 16 << 20
)

// BoundMemory fails a test if work on an input of so many bytes allocates more than
// is allowed. It counts all that was allocated, also what was garbage at once: that
// is never less than what was in use at any time, and the same in every run.
func BoundMemory(t testing.TB, input int, work func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	work()
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > memoryPerByte*uint64(input)+memoryBase {
		t.Errorf("%d bytes of input took %d bytes of memory", input, used)
	}
}

// BoundMemoryInUse is BoundMemory for long inputs, where slices that grow leave much
// garbage behind. It counts what is in use whenever work has read another megabyte of
// the input, and at the end, as long as the result of work is.
func BoundMemoryInUse[T any](t testing.TB, input []byte, work func(io.Reader) T) T {
	t.Helper()
	m := &meter{rest: input}
	before := inUse()
	result := work(m)
	m.weigh()
	runtime.KeepAlive(result)
	if m.most > before+memoryPerByte*uint64(len(input))+memoryBase {
		t.Errorf("%d bytes of input took %d bytes of memory", len(input), m.most-before)
	}
	return result
}

// meterStep is after how many bytes of input a meter looks how much memory is in use.
const meterStep = 1 << 20

// A meter reads the input.
type meter struct {
	rest []byte
	read int // since it looked
	most uint64
}

func (m *meter) Read(p []byte) (int, error) {
	if len(m.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, m.rest)
	m.rest = m.rest[n:]
	if m.read += n; m.read > meterStep {
		m.read = 0
		m.weigh()
	}
	return n, nil
}

func (m *meter) weigh() { m.most = max(m.most, inUse()) }

// inUse returns how many bytes are, once garbage is collected.
func inUse() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
