package testutil

import (
	"io"
	"runtime"
	"testing"
)

// Reading an input may take memoryBase plus memoryPerByte for each of its bytes.
const (
	memoryPerByte = 16
	memoryBase    = 16 << 20
)

// BoundMemory fails a test if work on an input of size bytes allocates more than is
// allowed. It counts all allocations, including immediate garbage: this is never less
// than the memory in use at any time, and is the same in every run.
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

// BoundMemoryInUse is BoundMemory for long inputs, for which growing slices leave much
// garbage. It counts the memory in use whenever work has read another megabyte of the
// input, and at the end, while the result of work is still in use.
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

// meterStep is the number of input bytes after which a meter measures the memory in
// use.
const meterStep = 1 << 20

// A meter reads the input and measures the memory in use.
type meter struct {
	rest []byte
	read int // bytes since the last measurement
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

// inUse returns the number of bytes in use after a garbage collection.
func inUse() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
