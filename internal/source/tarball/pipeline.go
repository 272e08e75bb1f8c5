package tarball

import (
	"context"
	"fmt"
	"io"

	"github.com/composefs-go/composefs/erofs/tree"
)

// chunkSize is the size of a buffer in bytes: it holds most files whole, and is a multiple
// of the content that a block of the Merkle tree covers with either hash.
const chunkSize = 512 << 10

// A pipeline passes contents from the goroutine that reads the stream to workers that hash
// and store them. A file that fits into a buffer is passed whole; a larger file goes to a
// worker in chunks, as they come. So the buffers limit the memory.
type pipeline struct {
	ctx  context.Context
	sink Sink
	jobs chan job
	free chan []byte
	made int // buffers; only the reader changes it
	most int
}

// A job is one file. Its content is either in whole or comes from chunks until that channel
// is closed.
type job struct {
	node   *tree.Node
	entry  int64 // for errors, as is name
	name   string
	whole  []byte
	chunks chan chunk

	promise *promise // of the digest, for a recording; or nil
}

func newPipeline(ctx context.Context, sink Sink, workers int) *pipeline {
	most := 2*workers + 2
	return &pipeline{ctx: ctx, sink: sink, jobs: make(chan job, most), free: make(chan []byte, most), most: most}
}

// put passes on the content of j's file. It returns when r has been read; the node gets its
// digest later.
func (p *pipeline) put(j job, r *contentReader) error {
	left := int64(j.node.Size)
	for {
		c, err := p.read(r, left)
		if err != nil {
			return err
		}
		left -= c.size()
		if j.chunks == nil {
			if left == 0 && c.zeros == 0 {
				j.whole = c.bytes
				return send(p.ctx, p.jobs, j)
			}
			j.chunks = make(chan chunk, 2)
			if err := send(p.ctx, p.jobs, j); err != nil {
				return err
			}
		}
		if err := send(p.ctx, j.chunks, c); err != nil {
			return err
		}
		if left == 0 {
			close(j.chunks)
			return nil
		}
	}
}

// read fills a free buffer. A hole needs none.
func (p *pipeline) read(r *contentReader, left int64) (chunk, error) {
	buf, err := p.buffer()
	if err != nil {
		return chunk{}, err
	}
	c, err := r.next(buf[:chunkSize], left)
	if c.zeros > 0 {
		p.free <- buf
		c.bytes = nil
	}
	return c, err
}

func (p *pipeline) buffer() ([]byte, error) {
	select {
	case b := <-p.free:
		return b, nil
	default:
	}
	if p.made < p.most {
		p.made++
		return make([]byte, chunkSize), nil
	}
	b, ok := receive(p.ctx, p.free)
	if !ok {
		return nil, p.ctx.Err()
	}
	return b, nil
}

// work stores contents until no more come.
func (p *pipeline) work() error {
	for {
		j, ok := receive(p.ctx, p.jobs)
		if !ok {
			return p.ctx.Err()
		}
		if err := p.store(j); err != nil {
			return fmt.Errorf("store entry %d, %.300q: %w", j.entry, j.name, err)
		}
	}
}

func (p *pipeline) store(j job) (err error) {
	n := j.node
	if j.chunks == nil {
		n.Object, err = p.sink.PutBytes(j.whole)
		p.free <- j.whole
	} else {
		n.Object, _, err = p.sink.Put(func(w io.Writer) error { return p.copy(w, j.chunks) })
	}
	n.Payload = n.Object.ObjectPath()
	if err == nil {
		j.promise.keep(n.Object)
	}
	return err
}

// copy writes chunks until the channel is closed. If the reader fails it doesn't close the
// channel, but then the context ends.
func (p *pipeline) copy(w io.Writer, chunks chan chunk) error {
	for {
		c, ok := receive(p.ctx, chunks)
		if !ok {
			return p.ctx.Err()
		}
		err := c.writeTo(w)
		if c.bytes != nil {
			p.free <- c.bytes
		}
		if err != nil {
			return err
		}
	}
}

func send[T any](ctx context.Context, c chan<- T, v T) error {
	select {
	case c <- v:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// receive returns false when the channel is closed or the context has ended.
func receive[T any](ctx context.Context, c <-chan T) (v T, ok bool) {
	select {
	case v, ok = <-c:
	case <-ctx.Done():
	}
	return v, ok
}
