package main

import (
	"context"
	"errors"
	"time"

	"github.com/composefs-go/composefs/internal/await"
	"github.com/composefs-go/composefs/internal/store/repo"
)

// lockPatience is how long the wait for a repository's lock goes without a word.
const lockPatience = time.Second

// openRepo opens a repository.
func openRepo(u *ui, dir string) (*repo.Repo, error) {
	return locking(u, dir, func() (*repo.Repo, error) { return repo.Open(dir) })
}

// closeOrDiscard closes a repository that was written to. After an error, one that was made for nothing
// goes.
func closeOrDiscard(r *repo.Repo, err *error) {
	if *err == nil {
		*err = r.Close()
		return
	}
	*err = errors.Join(*err, r.Discard())
}

// locking calls a function that locks a directory. Another program may hold the lock for
// any time, so the wait is told, and ends with the context.
func locking[T any](u *ui, dir string, f func() (T, error)) (T, error) {
	ctx := u.ctx
	if ctx == nil {
		ctx = context.Background()
	}
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := f()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-time.After(lockPatience):
		u.remark("waiting for another program, which has locked %s", dir)
	case <-ctx.Done():
	}
	r, err := await.Call(ctx, func() (result, error) { return <-done, nil })
	if err != nil {
		return r.value, err
	}
	return r.value, r.err
}
