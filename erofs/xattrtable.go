package erofs

import (
	"slices"

	"github.com/composefs-go/composefs/internal/tree"
)

// xattrTable holds each distinct pair of name and value once, and counts the
// inodes that have it: those with several are shared.
type xattrTable struct {
	pairs  []xattrPair
	names  []xattrName
	byName map[string]uint32 // → names
	byPair pairIndex
	shared []uint32   // pairs with several users, in the order of the shared table
	size   int64      // of the shared table
	text   tree.Arena // owns the values

	prefixes []uint8 // indexes of those that names are taken apart at
}

type xattrPair struct {
	value  string
	name   uint32 // in names
	count  uint32
	offset int64 // in the shared table
}

type xattrName struct {
	full   string
	suffix string
	index  uint8
	bit    uint32 // in the filter
}

// A sharedXattr is a pair with its name, for comparison.
type sharedXattr struct {
	*xattrName
	value string
}

func newXattrTable(inodes int, prefixes []uint8) *xattrTable {
	t := &xattrTable{byName: make(map[string]uint32), prefixes: prefixes}
	t.byPair.reserve(2 * inodes)
	return t
}

// add notes one more user of a pair and returns its place in pairs.
func (t *xattrTable) add(x effectiveXattr) uint32 {
	name, ok := t.byName[x.name]
	if !ok {
		name = uint32(len(t.names))
		index, suffix := splitName(x.name, t.prefixes)
		t.names = append(t.names, xattrName{x.name, suffix, index, filterBit(index, suffix)})
		t.byName[x.name] = name
	}
	place := t.byPair.find(t.pairs, name, x.value)
	if *place == 0 {
		t.pairs = append(t.pairs, xattrPair{name: name, value: t.text.String(x.value)})
		*place = uint32(len(t.pairs))
	}
	id := *place - 1
	t.pairs[id].count++
	return id
}

// entrySize returns the size in bytes of a pair's entry.
func (t *xattrTable) entrySize(id uint32) int64 {
	p := &t.pairs[id]
	return roundUp(int64(xattrEntrySize+len(t.names[p.name].suffix)+len(p.value)), 4)
}

// appendEntry appends a pair's entry to b, which is at a multiple of 4.
func (t *xattrTable) appendEntry(b []byte, id uint32) []byte {
	p := &t.pairs[id]
	n := &t.names[p.name]
	b = append(b, uint8(len(n.suffix)), n.index, uint8(len(p.value)), uint8(len(p.value)>>8))
	b = append(append(b, n.suffix...), p.value...)
	for used := len(n.suffix) + len(p.value); used%4 != 0; used++ {
		b = append(b, 0)
	}
	return b
}

// share lays out the table of shared pairs, when all users are counted.
func (t *xattrTable) share(compare func(a, b sharedXattr) int) {
	for id := range t.pairs {
		if t.pairs[id].count > 1 {
			t.shared = append(t.shared, uint32(id))
		}
	}
	slices.SortFunc(t.shared, func(i, j uint32) int {
		a, b := &t.pairs[i], &t.pairs[j]
		return compare(sharedXattr{&t.names[a.name], a.value}, sharedXattr{&t.names[b.name], b.value})
	})
	for _, id := range t.shared {
		t.pairs[id].offset = t.size
		t.size += t.entrySize(id)
	}
}
