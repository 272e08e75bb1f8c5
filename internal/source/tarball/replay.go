package tarball

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/composefs-go/composefs/verity"
)

// A Piece is a part of a recorded archive: some of its bytes, or an object.
type Piece struct {
	Inline []byte        // valid until the next piece is asked for; nil for an object
	Object verity.Digest // zero for inline bytes
	Size   int64         // of the object, in bytes
}

// A Recording is an archive that was taken apart, as for a Recorder.
type Recording struct {
	Size   int64 // of the archive, in bytes
	Pieces iter.Seq2[Piece, error]
	// Open opens an object. It is called only for objects that aren't just the content
	// of a file.
	Open func(verity.Digest) (io.ReadCloser, error)
}

// Replay is Apply for a recorded archive. The contents of files aren't read: their digests
// are the ones of the recording, and the Sink isn't asked to have them.
func (b *Builder) Replay(ctx context.Context, rec Recording) error {
	next, stop := iter.Pull2(rec.Pieces)
	defer stop()
	r := &replay{next: next, open: rec.Open}
	defer r.close()
	s := &stream{r: r, close: func() {}, packed: &packedArchive{size: rec.Size}, most: b.opts.MaxExpansion}
	return b.apply(ctx, s, nil, r)
}

// A replay reads a recorded archive. Objects that were taken are zeros.
type replay struct {
	next   func() (Piece, error, bool)
	open   func(verity.Digest) (io.ReadCloser, error)
	piece  Piece // the rest of the current one; of an object, Size is what is left
	taken  bool  // it is an object, and its bytes don't matter
	opened io.ReadCloser
	err    error
}

// advance reads the next piece if the current one has been read.
func (r *replay) advance() error {
	for r.err == nil && len(r.piece.Inline) == 0 && r.piece.Size == 0 {
		r.close()
		piece, err, ok := r.next()
		switch {
		case !ok:
			r.err = io.EOF
		case err != nil:
			r.err = err
		case piece.Inline == nil && piece.Size <= 0:
			r.err = fmt.Errorf("object %s is empty", piece.Object.Hex())
		}
		r.piece, r.taken = piece, false
	}
	return r.err
}

// take returns the object that comes next, if it has this size. Its bytes will be zeros.
func (r *replay) take(size int64) (d verity.Digest, ok bool, err error) {
	if err := r.advance(); err != nil && err != io.EOF {
		return d, false, err
	}
	if r.opened != nil || r.piece.Object.IsZero() || r.piece.Size != size {
		return d, false, nil
	}
	r.taken = true
	return r.piece.Object, true, nil
}

// Read implements io.Reader.
func (r *replay) Read(p []byte) (int, error) {
	if err := r.advance(); err != nil {
		return 0, err
	}
	if r.piece.Object.IsZero() {
		n := copy(p, r.piece.Inline)
		r.piece.Inline = r.piece.Inline[n:]
		return n, nil
	}
	p = p[:min(int64(len(p)), r.piece.Size)]
	n, err := r.content(p)
	r.piece.Size -= int64(n)
	return n, err
}

// content reads the current object.
func (r *replay) content(p []byte) (int, error) {
	if r.taken {
		clear(p)
		return len(p), nil
	}
	if r.opened == nil {
		f, err := r.open(r.piece.Object)
		if err != nil {
			return 0, err
		}
		r.opened = f
	}
	n, err := r.opened.Read(p)
	if errors.Is(err, io.EOF) {
		if err = nil; n == 0 && len(p) > 0 {
			err = io.ErrUnexpectedEOF
		}
	}
	return n, err
}

func (r *replay) close() {
	if r.opened != nil {
		r.opened.Close()
		r.opened = nil
	}
}
