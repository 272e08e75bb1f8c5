// Package fetch gets the objects of an image that a repository lacks from an origin: another
// repository, in a directory or behind a web server that just serves its files.
//
//	image's object  ─▶  its tree  ─▶  objects that are missing or damaged  ─▶  images/HEX
//
// The origin isn't believed. An object gets its name only if it has the digest that is the
// name, and no more of it is read than the image says that it has. So all that a bad origin
// can do is to fail; what it had right stays for the next try.
package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/composefs-go/composefs/erofs/tree"
	"github.com/composefs-go/composefs/internal/store/repo"
	"github.com/composefs-go/composefs/verity"
)

const (
	// workers is how many objects are fetched at once.
	workers = 8
	// durable is after how many bytes objects get their names: what is killed, or loses its power,
	// needs not fetch them again.
	durable = 32 << 20
)

// MaxImage limits the size of an image's own object, in bytes: nothing says how large it
// should be. An image of 11,000 files has 2.4 MB.
const MaxImage = 4 << 30

// A Fetched says what an Image did.
type Fetched struct {
	Stats   repo.Stats // Present are the objects that didn't have to be fetched
	Objects int        // of the image, with its own
}

// An ObjectError is about an object that couldn't be fetched.
type ObjectError struct {
	Digest verity.Digest
	Origin string
	Err    error
}

func (e *ObjectError) Error() string {
	return fmt.Sprintf("object %s from %s: %v", e.Digest.Hex(), e.Origin, e.Err)
}

func (e *ObjectError) Unwrap() error { return e.Err }

// A fetcher fetches an image.
type fetcher struct {
	repo     *repo.Repo
	stage    *repo.Stage
	origin   Origin
	progress func(size int64)
}

// Image fetches an image with its objects, and gives it its name. progress, if it isn't nil, is
// called with the size of each object that was fetched, from several goroutines. If it fails
// or is interrupted, the objects that it has fetched so far stay.
func Image(ctx context.Context, r *repo.Repo, from Origin, image verity.Digest, progress func(int64)) (done Fetched, err error) {
	stage, err := r.Begin()
	if err != nil {
		return done, err
	}
	defer stage.Abort()
	f := &fetcher{r, stage, from, progress}
	done.Objects, err = f.image(ctx, image)
	done.Stats = stage.Stats()
	if committed := stage.Commit(); err != nil || committed != nil {
		return done, errors.Join(err, committed)
	}
	return done, r.AddImage(image)
}

// Objects fetches objects and puts them in the place of whatever is there. Their sizes may be -1,
// if they aren't known. It returns the ones that it couldn't get, and why.
func Objects(ctx context.Context, r *repo.Repo, from Origin, sizes map[verity.Digest]int64, progress func(int64)) (map[verity.Digest]error, error) {
	stage, err := r.Begin()
	if err != nil {
		return nil, err
	}
	defer stage.Abort()
	f := &fetcher{r, stage, from, progress}
	failed := make(map[verity.Digest]error)
	for d, size := range sizes {
		exact := size >= 0
		if !exact {
			size = MaxImage
		}
		err := f.get(ctx, d, size, exact)
		if object := (*ObjectError)(nil); errors.As(err, &object) {
			failed[d] = err
		} else if err != nil {
			return nil, err
		}
	}
	return failed, stage.Commit()
}

// image fetches everything, and returns the number of objects.
func (f *fetcher) image(ctx context.Context, image verity.Digest) (int, error) {
	root, err := f.tree(ctx, image)
	if err != nil {
		return 0, err
	}
	sizes := make(map[verity.Digest]int64)
	for _, e := range tree.Walk(root) {
		if d := e.Node.ContentObject(); !d.IsZero() {
			if d.Algorithm() != image.Algorithm() {
				return 0, fmt.Errorf("image %s: want objects by %v, found %v", image.Hex(), image.Algorithm(), d)
			}
			sizes[d] = int64(e.Node.Size)
		}
	}
	order := slices.SortedFunc(maps.Keys(sizes), verity.Digest.Compare)
	for len(order) > 0 {
		n, err := f.batch(ctx, order, sizes)
		if err == nil && n < len(order) {
			err = f.stage.Checkpoint()
		}
		if err != nil {
			return 1 + len(sizes), err
		}
		order = order[n:]
	}
	return 1 + len(sizes), nil
}

// batch fetches the first objects, and returns how many.
func (f *fetcher) batch(ctx context.Context, order []verity.Digest, sizes map[verity.Digest]int64) (done int, err error) {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(workers)
	for sum := int64(0); done < len(order) && sum < durable; done++ {
		d := order[done]
		size := sizes[d]
		sum += min(size, durable)
		group.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return f.object(ctx, d, size)
		})
	}
	return done, group.Wait()
}

// tree returns the tree of an image, which is fetched unless it is there.
func (f *fetcher) tree(ctx context.Context, image verity.Digest) (*tree.Node, error) {
	size, err := f.repo.ObjectSize(image)
	if err != nil || !f.stage.Holds(image, size) {
		if err := f.get(ctx, image, MaxImage, false); err != nil {
			return nil, err
		}
	}
	file, err := f.open(image)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return repo.ReadTree(file, image)
}

// open opens an object that is staged or in the repository.
func (f *fetcher) open(d verity.Digest) (*os.File, error) {
	if file, err := f.stage.Open(d); err == nil {
		return file, nil
	}
	return f.repo.OpenObject(d)
}

// object fetches an object of a size unless it is there.
func (f *fetcher) object(ctx context.Context, d verity.Digest, size int64) error {
	if f.stage.Holds(d, size) {
		return nil
	}
	return f.get(ctx, d, size, true)
}

// get fetches an object of a size, or of at most a size.
func (f *fetcher) get(ctx context.Context, d verity.Digest, size int64, exact bool) error {
	fault := func(err error) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return &ObjectError{d, f.origin.String(), err}
	}
	body, err := f.origin.open(ctx, d)
	if err != nil {
		return fault(err)
	}
	defer body.Close()
	if file, ok := body.(*os.File); ok && exact {
		return f.copy(file, d, size, fault)
	}
	var n int64
	var readErr error
	err = f.stage.PutAs(d, func(w io.Writer) error {
		n, readErr = io.Copy(w, io.LimitReader(body, size+1))
		if readErr == nil && (n > size || exact && n < size) {
			readErr = fmt.Errorf("%w: want %s%d bytes, found %s", ErrWrong, map[bool]string{false: "at most "}[exact], size, found(n, size))
		}
		return readErr
	})
	switch {
	case readErr != nil:
		return fault(readErr)
	case errors.Is(err, verity.ErrMismatch):
		return fault(fmt.Errorf("%w: %w", ErrWrong, err))
	case err != nil:
		return err
	}
	if f.progress != nil {
		f.progress(n)
	}
	return nil
}

// copy copies an object that is a file.
func (f *fetcher) copy(file *os.File, d verity.Digest, size int64, fault func(error) error) error {
	st, err := file.Stat()
	if err == nil && st.Size() != size {
		err = fmt.Errorf("%w: want %d bytes, found %d", ErrWrong, size, st.Size())
	}
	if err != nil {
		return fault(err)
	}
	err = f.stage.PutFileAs(d, file, size)
	if errors.Is(err, verity.ErrMismatch) {
		return fault(fmt.Errorf("%w: %w", ErrWrong, err))
	}
	if err == nil && f.progress != nil {
		f.progress(size)
	}
	return err
}

func found(n, size int64) string {
	if n > size {
		return "more"
	}
	return fmt.Sprint(n)
}
