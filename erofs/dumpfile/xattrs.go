package dumpfile

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/composefs-go/composefs/erofs/tree"
)

// libcomposefs limits the size of a file's xattrs. It adds a fixed amount for each, and
// another for the first.
const (
	xattrCost      = 7
	firstXattrCost = 12
	xattrBudget    = 32767
)

// xattrFields reads the KEY=VALUE items at the end of a line.
func (p *parser) xattrFields(n *tree.Node, text []byte) error {
	if len(text) > xattrTextMax && p.dialect != Rust {
		return p.fault(Xattrs, fmt.Errorf("want at most %d bytes of extended attributes, found %d", xattrTextMax, len(text)))
	}
	p.xattrs = p.xattrs[:0]
	used := 0
	for len(text) > 0 {
		var item []byte
		item, text, _ = bytes.Cut(text, []byte{' '})
		if err := p.xattrField(item, &used); err != nil {
			return p.fault(Xattrs, err)
		}
	}
	if len(p.xattrs) > 0 {
		n.SetXattrs(append(p.arena.Xattrs(len(p.xattrs)), p.xattrs...))
	}
	return nil
}

// xattrField adds one item to p.xattrs, which is sorted, and its size to the used part of
// the budget.
func (p *parser) xattrField(item []byte, used *int) error {
	rawKey, rawValue, ok := bytes.Cut(item, []byte{'='})
	if !ok {
		return fmt.Errorf("want KEY=VALUE, found %.200q", item)
	}
	key, err := unescape(p.key[:0], rawKey)
	if err != nil {
		return err
	}
	p.key = keep(p.key, key, rawKey)
	value, err := unescape(p.value[:0], rawValue)
	if err != nil {
		return err
	}
	p.value = keep(p.value, value, rawValue)
	if len(value) > tree.XattrValueMax {
		return fmt.Errorf("want a value of at most %d bytes, found %d", tree.XattrValueMax, len(value))
	}
	if p.dialect == Rust && bytes.IndexByte(key, 0) >= 0 {
		return fmt.Errorf("NUL in the name %.200q", key)
	}
	if key = cutNUL(key); len(key) == 0 || len(key) > tree.XattrNameMax {
		return fmt.Errorf("want a name of 1 to %d bytes, found %d: %.40q…", tree.XattrNameMax, len(key), key)
	}
	name := p.arena.Name(key)
	i, found := slices.BinarySearchFunc(p.xattrs, name, func(x tree.Xattr, s string) int { return strings.Compare(x.Name, s) })
	if found {
		*used -= xattrCost + len(name) + len(p.xattrs[i].Value)
		p.xattrs = slices.Delete(p.xattrs, i, i+1)
	}
	if len(p.xattrs) == 0 {
		*used = firstXattrCost
	}
	if *used += xattrCost + len(name) + len(value); *used > p.xattrBudget {
		return errors.New("too many or too large extended attributes: mkcomposefs takes about 32 KiB for a file")
	}
	p.xattrs = slices.Insert(p.xattrs, i, tree.Xattr{Name: name, Value: p.arena.Value(value)})
	return nil
}
