package repo

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	"github.com/composefs-go/composefs/internal/osfile"
	"github.com/composefs-go/composefs/verity"
)

// ErrNoStream is the cause when a stream, or the name of one, isn't there.
var ErrNoStream = errors.New("no such stream")

// ErrStreamName is the cause when a text can't be the name of a stream.
var ErrStreamName = errors.New("unusable name of a stream")

const (
	streams    = "streams"
	streamRefs = "streams/refs"
	// streamNameMax is the longest file name, in bytes, that Linux file systems take.
	streamNameMax = 255
	// streamLinkMax limits the text of a link in streams, in bytes.
	streamLinkMax = 4096
)

// checkStreamName accepts the names of files: a stream's name has no slash.
func checkStreamName(name string) error {
	if len(name) > streamNameMax || !fs.ValidPath(name) || name == "." || name == "refs" || strings.ContainsAny(name, "/\x00") {
		return fmt.Errorf("%w: %.300q", ErrStreamName, name)
	}
	return nil
}

// checkStreamRef accepts relative paths.
func checkStreamRef(ref string) error {
	for part := range strings.SplitSeq(ref, "/") {
		if len(part) > streamNameMax || !fs.ValidPath(part) || part == "." || strings.Contains(part, "\x00") {
			return fmt.Errorf("%w: %.300q", ErrStreamName, ref)
		}
	}
	return nil
}

// SetStream lets the name of a stream stand for a committed object, which is a splitstream.
func (r *Repo) SetStream(name string, d verity.Digest) error {
	err := checkStreamName(name)
	if err == nil {
		err = r.checkRefDirectory(streams)
	}
	if err == nil {
		err = r.replaceLink(path.Join("..", "objects", d.ObjectPath()), path.Join(streams, name))
	}
	if err != nil {
		return fmt.Errorf("add stream %s: %w", name, err)
	}
	return nil
}

// LookupStream returns the object that the name of a stream stands for. It need not be there.
func (r *Repo) LookupStream(name string) (verity.Digest, error) {
	if err := checkStreamName(name); err != nil {
		return verity.Digest{}, err
	}
	target, err := osfile.ReadLinkIn(r.lock, path.Join(streams, name), streamLinkMax)
	if errors.Is(err, fs.ErrNotExist) {
		return verity.Digest{}, fmt.Errorf("%w: %s", ErrNoStream, filepath.Join(r.root.Name(), streams, name))
	}
	if err != nil {
		return verity.Digest{}, fmt.Errorf("look for stream %s: %w", name, err)
	}
	d, err := verity.ParseObjectPath(strings.TrimPrefix(target, "../objects/"))
	if err != nil || d.Algorithm() != r.meta.Algorithm {
		return verity.Digest{}, fmt.Errorf("%w: streams/%s points to %.300q, not to an object", ErrNoStream, name, target)
	}
	return d, nil
}

// SetStreamRef lets a ref, which may have slashes, point to a stream that is there.
func (r *Repo) SetStreamRef(ref, name string) error {
	err := checkStreamRef(ref)
	if err == nil {
		_, err = r.LookupStream(name)
	}
	if err == nil {
		err = r.checkRefDirectory(path.Dir(path.Join(streamRefs, ref)))
	}
	if err == nil {
		up := strings.Repeat("../", strings.Count(ref, "/")+1)
		err = r.replaceLink(up+name, path.Join(streamRefs, ref))
	}
	if err != nil {
		return fmt.Errorf("set stream ref %s: %w", ref, err)
	}
	return nil
}

// LookupStreamRef returns the name of the stream that a ref points to. It need not be there.
func (r *Repo) LookupStreamRef(ref string) (string, error) {
	if err := checkStreamRef(ref); err != nil {
		return "", err
	}
	target, err := osfile.ReadLinkIn(r.lock, path.Join(streamRefs, ref), streamLinkMax)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%w: %s", ErrNoStream, filepath.Join(r.root.Name(), streamRefs, ref))
	}
	if err != nil {
		return "", fmt.Errorf("look for stream ref %s: %w", ref, err)
	}
	up := strings.Repeat("../", strings.Count(ref, "/")+1)
	name, ok := strings.CutPrefix(target, up)
	if !ok || checkStreamName(name) != nil {
		return "", fmt.Errorf("%w: %s/%s points to %.300q, not to a stream", ErrNoStream, streamRefs, ref, target)
	}
	return name, nil
}

// RemoveStreamRef removes a ref. The stream stays until garbage is collected.
func (r *Repo) RemoveStreamRef(ref string) error {
	if err := checkStreamRef(ref); err != nil {
		return err
	}
	name := path.Join(streamRefs, ref)
	dir, err := osfile.OpenDirPlain(r.lock, path.Dir(name))
	if err == nil {
		defer dir.Close()
		if err = r.removeLink(name); err == nil {
			err = osfile.SyncDir(dir)
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s", ErrNoStream, filepath.Join(r.root.Name(), name))
	}
	if err != nil {
		return fmt.Errorf("remove stream ref %s: %w", ref, err)
	}
	return nil
}

// removeLink removes a symbolic link, and nothing else.
func (s *Store) removeLink(name string) error {
	st, err := s.root.Lstat(name)
	if err != nil {
		return err
	}
	if st.Mode().Type() != fs.ModeSymlink {
		return &fs.PathError{Op: "remove", Path: name, Err: errNoLink}
	}
	return s.root.Remove(name)
}

var errNoLink = errors.New("it isn't a symbolic link, and so no work of this program")
