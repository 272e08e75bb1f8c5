package erofs_test

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"log"
	"strings"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/dumpfile"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/verity"
)

const dumpText = `/ 4096 40755 2 0 0 0 1700000000.0 - - -
/hello 14 100644 1 0 0 0 1700000000.0 - Hello,\x20world!\n -
/sh 1346480 100755 1 0 0 0 1700000000.0 9c/2e35c0b7b5ee9fc71c8ba1e85ff5b5ce7e9bd4cbd1e5a3f8b6f1fd1b0f3fd7 - 9c2e35c0b7b5ee9fc71c8ba1e85ff5b5ce7e9bd4cbd1e5a3f8b6f1fd1b0f3fd7
`

// This is what `mkcomposefs --from-file --print-digest - IMAGE` does.
func Example() {
	root, err := dumpfile.Parse(strings.NewReader(dumpText))
	if err != nil {
		log.Fatal(err)
	}
	format, err := erofs.ChooseFormat(root, erofs.V0, erofs.V1)
	if err != nil {
		log.Fatal(err)
	}
	var image bytes.Buffer
	digest := verity.NewHasher(verity.SHA256)
	if err := erofs.Write(io.MultiWriter(&image, digest), root, format); err != nil {
		log.Fatal(err)
	}
	fmt.Println(format, image.Len(), digest.Sum().Hex())
	// Output:
	// erofs-v0 16384 736759657f8dc9187c429edec2b198520e0e2357a574ddb67eea754994929db5
}

func exampleImage() *bytes.Reader {
	root := &tree.Node{Kind: tree.Directory, Perm: 0o755}
	etc := &tree.Node{Kind: tree.Directory, Perm: 0o755}
	motd := &tree.Node{Kind: tree.Regular, Perm: 0o644, Size: 6, Inline: []byte("hello\n")}
	object := verity.Sum(verity.SHA256, []byte("a long text"))
	long := &tree.Node{Kind: tree.Regular, Perm: 0o644, Size: 11, Object: object, Payload: object.ObjectPath()}
	for _, err := range []error{root.Add("etc", etc), etc.Add("motd", motd), root.Add("text", long)} {
		if err != nil {
			log.Fatal(err)
		}
	}
	var image bytes.Buffer
	if err := erofs.Write(&image, root, erofs.V2); err != nil {
		log.Fatal(err)
	}
	return bytes.NewReader(image.Bytes())
}

// The objects of an image are what has to be in the store before it can be mounted.
func ExampleImage_Objects() {
	r := exampleImage()
	image, err := erofs.Open(r, r.Size())
	if err != nil {
		log.Fatal(err)
	}
	for object, err := range image.Objects() {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(object.ObjectPath())
	}
	// Output:
	// 08/44cec2b397ef1a0b8763de0b973f8f7e3beeec4dd16902813db8036eb2eb8c
}

// An image is a file system like any other to io/fs.
func ExampleImage_FS() {
	r := exampleImage()
	image, err := erofs.Open(r, r.Size())
	if err != nil {
		log.Fatal(err)
	}
	fsys, err := image.FS()
	if err != nil {
		log.Fatal(err)
	}
	text, err := fs.ReadFile(fsys, "etc/motd")
	fmt.Printf("%s%v\n", text, err)
	_, err = fs.ReadFile(fsys, "text")
	fmt.Println(err)
	// Output:
	// hello
	// <nil>
	// read text: the content isn't in the image, but in the object store
}
