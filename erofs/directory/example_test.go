package directory_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/composefs-go/composefs/erofs/directory"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/verity"
)

// With Digests for a Sink a directory is only measured: nothing is stored.
func Example() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "zeros"), make([]byte, 10000), 0o644); err != nil {
		log.Fatal(err)
	}
	root, err := directory.Read(context.Background(), dir, directory.Options{
		Sink: directory.NewDigests(verity.SHA256), UseEpoch: true, SkipXattrs: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	for path, e := range tree.Walk(root) {
		if e.Node.Kind == tree.Regular {
			fmt.Println(path, e.Node.Size, e.Node.Object)
		}
	}
	// Output:
	// /zeros 10000 fsverity-sha256-12:9673b4ca4cc979b11de1f50e235210cec780fc5f71fab218f9fb5efe18dfd866
}
