package dumpfile

import (
	"fmt"
	"math"
	"math/bits"
)

// number parses a whole field as C's strtoull does: blanks and a sign may precede the digits,
// a minus negates modulo 2^64, and larger numbers become 2^64-1.
func number(field []byte, base uint64) (uint64, error) {
	s := field
	for len(s) > 0 && (s[0] == ' ' || s[0] >= '\t' && s[0] <= '\r') {
		s = s[1:]
	}
	negative := len(s) > 0 && s[0] == '-'
	if negative || len(s) > 0 && s[0] == '+' {
		s = s[1:]
	}
	if len(s) == 0 {
		return 0, fmt.Errorf("want a number, found %.40q", field)
	}
	var v uint64
	saturated := false
	for _, c := range s {
		digit := uint64(c) - '0' // anything below '0' becomes huge
		if digit >= base {
			return 0, fmt.Errorf("want a number of base %d, found %.40q", base, field)
		}
		hi, lo := bits.Mul64(v, base)
		sum, carry := bits.Add64(lo, digit, 0)
		saturated = saturated || hi != 0 || carry != 0
		v = sum
	}
	if saturated {
		return math.MaxUint64, nil
	}
	if negative {
		v = -v
	}
	return v, nil
}
