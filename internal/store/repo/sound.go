package repo

import (
	"errors"
	"fmt"
	"os"

	"github.com/composefs-go/composefs/erofs"
	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/verity"
)

// ErrUnsound is the cause when an image isn't one that a repository can have.
var ErrUnsound = errors.New("unsound image")

// ReadTree returns the tree of an image whose contents CheckContents accepts.
func ReadTree(f *os.File, image verity.Digest) (*tree.Node, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	m, err := erofs.Open(f, st.Size())
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", image.Hex(), err)
	}
	root, err := m.Tree()
	if err == nil {
		err = CheckContents(root)
	}
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", image.Hex(), err)
	}
	return root, nil
}

// CheckImage returns the tree of an image with a digest, or an ErrUnsound: unless the tree makes that
// image again, byte for byte, there may be something in it that the kernel sees and that isn't in the
// tree. Images of this program, of libcomposefs and of composefs-rs are made again.
func CheckImage(m *erofs.Image, image verity.Digest) (*tree.Node, error) {
	root, err := m.Tree()
	if err == nil {
		err = CheckContents(root)
	}
	if err != nil {
		return nil, err
	}
	h := verity.NewHasher(image.Algorithm())
	if err := erofs.Write(h, root, m.Header().Version); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnsound, err)
	}
	if made := h.Sum(); made != image {
		return nil, fmt.Errorf("%w: its tree makes another image, %s: the kernel may see something else in it", ErrUnsound, made.Hex())
	}
	return root, nil
}

// CheckContents returns an ErrUnsound unless the content of each file of an image is in the image, or
// an object under the name of its own digest. Overlayfs opens what the file's redirect names, and
// compares it with the digest only if it is told to: if the two differ, or there is no digest, the
// machine reads something else than what is checked here.
func CheckContents(root *tree.Node) error {
	for name, e := range tree.Walk(root) {
		n := e.Node
		if n.Kind != tree.Regular || e.Link {
			continue
		}
		switch hasDigest := !n.Object.IsZero(); {
		case !hasDigest && n.Payload == "": // it is in the image, or is only a hole
		case !hasDigest:
			return fmt.Errorf("%w: %s: its content is %.300q, and without a digest nothing can verify that", ErrUnsound, name, n.Payload)
		case n.Payload != n.Object.ObjectPath():
			return fmt.Errorf("%w: %s: its content is %.300q, and has the digest of %s", ErrUnsound, name, n.Payload, n.Object.ObjectPath())
		}
	}
	return nil
}
