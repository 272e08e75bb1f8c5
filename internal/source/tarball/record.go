package tarball

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"

	"github.com/composefs-go/composefs/verity"
)

// A Recorder takes an archive apart, without its compression: the contents of files that
// become objects, and all other bytes, in the order of the archive. Of a sparse file the
// packed content is in the archive; the object that the tree needs is kept besides.
type Recorder interface {
	io.Writer
	Object(d verity.Digest, size int64) error
	Keep(d verity.Digest) error
}

// Limits of a recording, in bytes and in pieces: what has been read and can't be passed on
// yet, since a worker still hashes an object before it.
const (
	heldBytes  = 1 << 20
	heldPieces = 1 << 10
)

// packedInline is up to which size the packed content of a sparse file isn't an object.
const packedInline = 64 << 10

// A recording passes an archive on to a Recorder. Only the goroutine that reads the archive
// uses it.
type recording struct {
	ctx   context.Context
	to    Recorder
	sink  Sink
	queue []piece
	held  int       // inline bytes in the queue
	spare []byte    // a buffer for more
	aside io.Writer // gets the content of a file; nil while other bytes are read
}

// A piece is some bytes of an archive, or an object.
type piece struct {
	inline []byte
	object *promise
	size   int64 // of the object
	keep   bool  // the object isn't part of the archive
}

// A promise is a digest that a worker is computing.
type promise struct {
	done   chan struct{}
	digest verity.Digest
}

func newPromise() *promise { return &promise{done: make(chan struct{})} }

// keep fulfils the promise. Without one it does nothing.
func (p *promise) keep(d verity.Digest) {
	if p != nil {
		p.digest = d
		close(p.done)
	}
}

// Write implements io.Writer. It gets all bytes of the archive.
func (r *recording) Write(p []byte) (int, error) {
	if r.aside != nil {
		return r.aside.Write(p)
	}
	if n := len(r.queue); n == 0 || r.queue[n-1].object != nil {
		r.queue = append(r.queue, piece{inline: r.spare})
		r.spare = nil
	}
	last := &r.queue[len(r.queue)-1]
	last.inline = append(last.inline, p...)
	r.held += len(p)
	return len(p), r.pass(false)
}

// pass passes on what it can. With all, it waits for the workers.
func (r *recording) pass(all bool) error {
	n := 0
	defer func() {
		if n > 0 {
			r.queue = append(r.queue[:0], r.queue[n:]...)
		}
	}()
	for ; n < len(r.queue); n++ {
		p := r.queue[n]
		if p.object == nil {
			if _, err := r.to.Write(p.inline); err != nil {
				return err
			}
			r.held -= len(p.inline)
			r.spare = p.inline[:0]
			continue
		}
		if all || r.held > heldBytes || len(r.queue)-n > heldPieces {
			receive(r.ctx, p.object.done)
			if r.ctx.Err() != nil {
				return r.ctx.Err()
			}
		}
		select {
		case <-p.object.done:
		default:
			return nil
		}
		if err := p.passTo(r.to); err != nil {
			return err
		}
	}
	return nil
}

// passTo passes on an object.
func (p piece) passTo(to Recorder) error {
	if p.keep {
		return to.Keep(p.object.digest)
	}
	return to.Object(p.object.digest, p.size)
}

// content has a file's content read by read, which passes it on as job j.
func (r *recording) content(j *job, holes bool, read func(job) error) error {
	j.promise = newPromise()
	if holes {
		return r.packed(j.promise, func() error { return read(*j) })
	}
	r.aside = io.Discard
	err := read(*j)
	r.aside = nil
	if err != nil {
		return err
	}
	r.queue = append(r.queue, piece{object: j.promise, size: int64(j.node.Size)})
	return r.pass(false)
}

// packed has the content of a sparse file read, and makes what the archive has of it an
// object, unless it is small. whole is the object of the file with its holes.
func (r *recording) packed(whole *promise, read func() error) error {
	a := &aside{ctx: r.ctx, sink: r.sink}
	r.aside = a
	err := read()
	r.aside = nil
	object, size, err := a.finish(err)
	switch {
	case err != nil:
		return err
	case object != nil:
		r.queue = append(r.queue, piece{object: object, size: size})
	case a.small.Len() > 0:
		if _, err := r.Write(a.small.Bytes()); err != nil {
			return err
		}
	}
	r.queue = append(r.queue, piece{object: whole, keep: true})
	return r.pass(false)
}

// An aside keeps bytes, and once they are many makes them an object.
type aside struct {
	ctx   context.Context
	sink  Sink
	small bytes.Buffer
	pipe  *io.PipeWriter
	put   sync.WaitGroup

	object promise
	size   int64
	err    error
}

// Write implements io.Writer.
func (a *aside) Write(p []byte) (int, error) {
	if a.pipe == nil {
		if a.small.Len()+len(p) <= packedInline {
			return a.small.Write(p)
		}
		a.start()
		if _, err := a.pipe.Write(a.small.Bytes()); err != nil {
			return 0, err
		}
	}
	return a.pipe.Write(p)
}

// start begins an object.
func (a *aside) start() {
	var from *io.PipeReader
	from, a.pipe = io.Pipe()
	a.put.Go(func() {
		a.object.digest, a.size, a.err = a.sink.Put(func(w io.Writer) error {
			_, err := io.Copy(w, from)
			return err
		})
		from.CloseWithError(errors.Join(a.err, io.ErrClosedPipe))
	})
}

// finish ends the object, and returns it; nil if the bytes are few. cause is why there are
// no more.
func (a *aside) finish(cause error) (*promise, int64, error) {
	if a.pipe == nil {
		return nil, 0, cause
	}
	a.pipe.CloseWithError(cause)
	a.put.Wait()
	if cause != nil {
		return nil, 0, cause
	}
	kept := newPromise()
	kept.keep(a.object.digest)
	return kept, a.size, a.err
}
