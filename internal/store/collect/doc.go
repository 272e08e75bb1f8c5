// Package collect finds out what in a repository nothing leads to any more, and removes it.
//
//	images/refs/NAME  ─▶ image ─▶ objects
//	seals/HEX.seal    ─▶ image
//	streams/refs/NAME ─▶ stream ─▶ objects, other streams, images
//
// These are the roots; a caller may add images. What no root leads to is garbage.
//
// # In doubt nothing is removed
//
// Everything that a root leads to is read. If some of it is missing or damaged, it can't be
// known what it needs, so nothing at all is removed. A repository without any root, in which
// everything would be garbage, is refused too.
//
// Names are removed before the objects that they lead to, so that a power failure leaves no
// name without its object.
package collect

import (
	"errors"
	"fmt"
)

// Causes of errors.
var (
	// ErrBroken is the cause when something that is needed is missing or damaged.
	ErrBroken = errors.New("nothing is removed, as it isn't known what is needed")
	// ErrNoRoot is the cause when everything would be removed.
	ErrNoRoot = errors.New("no ref, seal or tag leads to anything: everything would be removed")
)

// A RootError is about a root that leads to something missing or damaged. It wraps ErrBroken.
type RootError struct {
	Root Item
	Err  error
}

func (e *RootError) Error() string { return fmt.Sprintf("%s: %v: %v", e.Root, ErrBroken, e.Err) }

func (e *RootError) Unwrap() []error { return []error{ErrBroken, e.Err} }
