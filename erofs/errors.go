package erofs

import "fmt"

// A FormatError says where an image is not as it should be. It wraps ErrCorrupt or
// ErrUnsupported.
type FormatError struct {
	Inode  int64 // number of the inode, -1 if it is about none
	Offset int64 // in the image, in bytes
	What   string
	Err    error
}

func (e *FormatError) Error() string {
	if e.Inode < 0 {
		return fmt.Sprintf("at %#x: %s: %v", e.Offset, e.What, e.Err)
	}
	return fmt.Sprintf("inode %d at %#x: %s: %v", e.Inode, e.Offset, e.What, e.Err)
}

// Unwrap returns the cause.
func (e *FormatError) Unwrap() error { return e.Err }
