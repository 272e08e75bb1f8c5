package disk

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/composefs-go/composefs/verity"
)

// stage writes a file with the blocks that it shall have in ext4: the content, and with
// fs-verity what doc.go draws. It checks the size and the digest of the content.
func stage(name string, e Entry) (err error) {
	content, err := e.Open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, content.Close()) }()
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	n, err := copyContent(f, content, e.Size)
	if err != nil {
		return err
	}
	if n != e.Size {
		return sizeError(e.Size, n)
	}
	switch {
	case e.Digest.IsZero():
		return nil
	case e.Verity:
		return appendVerity(f, e.Size, e.Digest)
	}
	found, err := verity.SumFile(e.Digest.Algorithm(), contentOf(f), e.Size)
	if err != nil {
		return err
	}
	return checkContent(found, e.Digest)
}

// contentOf reads a staged file, without its holes.
func contentOf(f *os.File) io.ReaderAt {
	if sparse, ok := asSparse(f); ok {
		return sparse
	}
	return f
}

func checkContent(found, want verity.Digest) error {
	if found != want {
		return fmt.Errorf("%w: its content has the digest %s, want %s", verity.ErrMismatch, found, want)
	}
	return nil
}

// copyContent copies content, which should have size bytes; if it has more, one of them.
func copyContent(f *os.File, content io.Reader, size int64) (int64, error) {
	if from, ok := asSparse(content); ok {
		return copySparse(f, from)
	}
	// From one file to another this is copy_file_range: blocks are shared where
	// the file system can.
	return io.Copy(f, &io.LimitedReader{R: content, N: size + 1})
}

// appendVerity appends the Merkle tree and the descriptor to f, which has size bytes.
func appendVerity(f *os.File, size int64, want verity.Digest) error {
	const metadataAlign = 65536 // EXT4: ext4_verity_metadata_pos()
	start := roundUp(size, metadataAlign)
	alg := want.Algorithm()
	root, tree, err := verity.MerkleTree(alg, contentOf(f), size, io.NewOffsetWriter(f, start))
	if err != nil {
		return err
	}
	if err := checkContent(verity.FromRoot(alg, size, root), want); err != nil {
		return err
	}
	descriptor := verity.Descriptor(alg, size, root)
	at := roundUp(start+tree, blockSize)
	if _, err := f.WriteAt(descriptor[:], at); err != nil {
		return err
	}
	length := uint32(len(descriptor))
	_, err = f.WriteAt([]byte{byte(length), byte(length >> 8), byte(length >> 16), byte(length >> 24)}, at+blockSize-4)
	return err
}
