package erofs

import "hash/maphash"

// A pairIndex finds pairs by name and value. It is a hash table of nothing but places
// in a list, since nearly every file has pairs of its own, and a map would need more
// memory than they do.
//
// A slot holds a place plus 1, or 0 while it is empty; who isn't in his slot is in
// one of those behind it, before the next empty one.
type pairIndex struct {
	slots []uint32 // a power of two of them
	seed  maphash.Seed
}

// reserve makes room for n pairs.
func (x *pairIndex) reserve(n int) {
	size := 16
	for size < 2*n {
		size *= 2
	}
	x.slots, x.seed = make([]uint32, size), maphash.MakeSeed()
}

// find returns the slot of a pair. If it is empty, the caller puts the pair there.
func (x *pairIndex) find(pairs []xattrPair, name uint32, value []byte) *uint32 {
	if 4*len(pairs) > 3*len(x.slots) {
		x.grow(pairs)
	}
	mask := uint64(len(x.slots) - 1)
	for i := x.hash(name, maphash.Bytes(x.seed, value)); ; i++ {
		place := &x.slots[i&mask]
		if *place == 0 {
			return place
		}
		if p := &pairs[*place-1]; p.name == name && p.value == string(value) {
			return place
		}
	}
}

// hash mixes the name's number into the hash of the value.
func (x *pairIndex) hash(name uint32, value uint64) uint64 {
	return value + uint64(name)*0x9e3779b97f4a7c15
}

// grow makes a table twice as large.
func (x *pairIndex) grow(pairs []xattrPair) {
	x.slots = make([]uint32, 2*len(x.slots))
	mask := uint64(len(x.slots) - 1)
	for id := range pairs {
		i := x.hash(pairs[id].name, maphash.String(x.seed, pairs[id].value))
		for x.slots[i&mask] != 0 {
			i++
		}
		x.slots[i&mask] = uint32(id + 1)
	}
}
