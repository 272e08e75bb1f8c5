package ocistore

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"iter"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/composefs-go/composefs/internal/oci"
	"github.com/composefs-go/composefs/internal/source/tarball"
	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/internal/store/splitstream"
	"github.com/composefs-go/composefs/verity"
)

// A layerSink is the stage of the layer that is being read.
type layerSink struct{ *repo.Stage }

// layer stores a layer unless it is there, and adds it to the tree.
func (p *puller) layer(ctx context.Context, l oci.Layer) error {
	stage, err := p.repo.Begin()
	if err != nil {
		return err
	}
	defer func() { p.sink.Abort() }()
	p.sink.Stage = stage
	stored, err := p.stored(ctx, stage, l)
	if err != nil {
		return err
	}
	if stored != nil {
		defer stored.Close()
		p.told(l, true)
		p.done.Stored++
		p.layers = append(p.layers, storedLayer{l.DiffID, stored.object, stored.Size})
		if err := p.builder.Replay(ctx, stored.recording()); err != nil {
			return err
		}
		// A sparse file is there only as the archive has it, if another program stored it.
		defer p.count(stage)
		return stage.Commit()
	}
	p.told(l, false)
	// A new one, which hasn't counted what is damaged.
	stage.Abort()
	if stage, err = p.repo.Begin(); err != nil {
		return err
	}
	p.sink.Stage = stage
	kept, err := p.record(ctx, stage, l)
	if err != nil {
		return err
	}
	p.layers = append(p.layers, kept)
	return nil
}

func (p *puller) told(l oci.Layer, stored bool) {
	if p.Layer != nil {
		p.Layer(l, stored)
	}
}

// record reads a layer into the tree and stores it.
func (p *puller) record(ctx context.Context, stage *repo.Stage, l oci.Layer) (storedLayer, error) {
	kept := storedLayer{diffID: l.DiffID}
	w, err := splitstream.NewWriter(p.repo.Meta().Algorithm, splitstream.Layer)
	if err != nil {
		return kept, err
	}
	if err := p.read(ctx, l, w); err != nil {
		return kept, err
	}
	kept.size = w.Size()
	if kept.stream, _, err = stage.Put(w.Finish); err != nil {
		return kept, err
	}
	if ctx.Err() != nil {
		return kept, context.Cause(ctx)
	}
	if err := stage.Commit(); err != nil {
		return kept, err
	}
	p.count(stage)
	return kept, p.repo.SetStream(layerPrefix+l.DiffID, kept.stream)
}

// read reads a layer, whose content and unpacked content must be what the image says.
func (p *puller) read(ctx context.Context, l oci.Layer, to tarball.Recorder) error {
	r, err := l.Open(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	unpacked := sha256.New()
	err = p.builder.Record(ctx, r, unpacked, to)
	if err != nil && !errors.Is(err, tarball.ErrArchive) {
		return err
	}
	// What follows the archive counts for the digest as well. An archive that can't be read
	// may be another than the image's.
	if _, wrong := io.Copy(io.Discard, r); wrong != nil {
		return wrong
	}
	if err != nil {
		return err
	}
	return l.CheckDiff(oci.Digest(unpacked.Sum(nil)))
}

// stored returns the layer's stream if it is there, and it and all its objects are right.
func (p *puller) stored(ctx context.Context, stage *repo.Stage, l oci.Layer) (*stream, error) {
	s, err := openStream(p.repo, layerPrefix+l.DiffID, splitstream.Layer)
	if errors.Is(err, repo.ErrNoStream) {
		return nil, nil
	}
	if err == nil {
		err = s.check(ctx, stage, l.DiffID)
	}
	if err == nil {
		return s, nil
	}
	if s != nil {
		s.Close()
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	p.done.Replaced++
	return nil, nil
}

// check hashes the layer and its objects. All objects but the damaged ones are counted as put.
func (s *stream) check(ctx context.Context, stage *repo.Stage, diffID string) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0) + 1)
	group.Go(func() error {
		unpacked := sha256.New()
		err := s.merge(&until{ctx: ctx, Writer: unpacked})
		if err == nil && oci.Digest(unpacked.Sum(nil)) != diffID {
			err = ErrBroken
		}
		return err
	})
	for _, d := range s.Objects {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			size, err := s.repo.ObjectSize(d)
			if err == nil && !stage.Holds(d, size) {
				err = ErrBroken
			}
			return err
		})
	}
	return group.Wait()
}

// An until is a Writer whose Write fails once a context has ended.
type until struct {
	ctx context.Context
	io.Writer
	err error // of the last Write
}

func (u *until) Write(p []byte) (n int, err error) {
	if u.err = u.ctx.Err(); u.err == nil {
		n, u.err = u.Writer.Write(p)
	}
	return n, u.err
}

// recording returns the layer for tarball.Builder.Replay.
func (s *stream) recording() tarball.Recording {
	return tarball.Recording{Size: s.Size, Pieces: s.pieces(), Open: s.open}
}

// pieces are the chunks of a layer with the sizes of its objects.
func (s *stream) pieces() iter.Seq2[tarball.Piece, error] {
	return func(yield func(tarball.Piece, error) bool) {
		for c, err := range s.Chunks() {
			piece := tarball.Piece{Inline: c.Inline, Object: c.Object}
			if err == nil && !c.Object.IsZero() {
				piece.Size, err = s.repo.ObjectSize(c.Object)
			}
			if !yield(piece, err) || err != nil {
				return
			}
		}
	}
}

// open opens an object of the layer.
func (s *stream) open(d verity.Digest) (io.ReadCloser, error) { return s.repo.OpenObject(d) }
