package directory_test

import (
	"context"
	"os"
	"testing"

	"github.com/composefs-go/composefs/erofs/directory"
	"github.com/composefs-go/composefs/verity"
)

// BenchmarkRead reads $BENCH_ROOT, or Go's own source, with the digest of each file.
func BenchmarkRead(b *testing.B) {
	dir := os.Getenv("BENCH_ROOT")
	if dir == "" {
		dir = "/usr/share"
	}
	for b.Loop() {
		opts := directory.Options{Sink: directory.NewDigests(verity.SHA256)}
		if _, err := directory.Read(context.Background(), dir, opts); err != nil {
			b.Fatal(err)
		}
	}
}
