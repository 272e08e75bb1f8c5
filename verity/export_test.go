package verity

import "testing"

// Sum256x2 hashes two blocks, by two streams where the processor can.
var Sum256x2 = sum256x2

// HasSum256x2 says whether this processor hashes two blocks at a time.
func HasSum256x2() bool { return hasSum256x2 }

// WithoutSum256x2 hashes block after block until the test ends.
func WithoutSum256x2(tb testing.TB) {
	before := hasSum256x2
	hasSum256x2 = false
	tb.Cleanup(func() { hasSum256x2 = before })
}
