package verity_test

import (
	"errors"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/composefs-go/composefs/verity"
)

// This is what `fsverity digest` prints.
func ExampleSumReader() {
	digest, size, err := verity.SumReader(verity.SHA256, strings.NewReader("hello\n"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(size, digest)
	fmt.Println(digest.ObjectPath())
	// Output:
	// 6 fsverity-sha256-12:9c76eecc7b76fcb46199cb27b90cf59a660e10575bb0412128905129d5b1c2aa
	// 9c/76eecc7b76fcb46199cb27b90cf59a660e10575bb0412128905129d5b1c2aa
}

// A file that the kernel checks needn't be read to know what it is. Where the file system
// has no fs-verity, its content is hashed.
func ExampleMeasure() {
	f, err := os.Open("/composefs/objects/0f/0e…")
	if err != nil {
		return
	}
	defer f.Close()
	digest, err := verity.Measure(f, verity.SHA256)
	if errors.Is(err, verity.ErrNotEnabled) || errors.Is(err, verity.ErrUnsupported) {
		digest, _, err = verity.SumReader(verity.SHA256, f)
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(digest)
}
