package dumpfile

import (
	"bytes"
	"errors"
	"fmt"
)

const hexDigits = "0123456789abcdef"

// unescape undoes the escapes in src. It returns src itself if there are none, otherwise
// bytes appended to dst.
func unescape(dst, src []byte) ([]byte, error) {
	for {
		i := bytes.IndexByte(src, '\\')
		if i < 0 && len(dst) == 0 {
			return src, nil
		}
		if i < 0 {
			return append(dst, src...), nil
		}
		c, n, err := unescapeOne(src[i:])
		if err != nil {
			return nil, err
		}
		dst = append(append(dst, src[:i]...), c)
		src = src[i+n:]
	}
}

// unescapeOne reads the escape at the start of s, and returns its length too.
func unescapeOne(s []byte) (c byte, n int, err error) {
	if len(s) < 2 {
		return 0, 0, errors.New("nothing follows the last backslash")
	}
	switch s[1] {
	case '\\':
		return '\\', 2, nil
	case 'n':
		return '\n', 2, nil
	case 'r':
		return '\r', 2, nil
	case 't':
		return '\t', 2, nil
	case 'x':
		if len(s) < 4 {
			return 0, 0, fmt.Errorf("want two hex digits in the escape %q", s)
		}
		hi, lo := hexValue(s[2]), hexValue(s[3])
		if hi < 0 || lo < 0 {
			return 0, 0, fmt.Errorf("want two hex digits in the escape %q", s[:4])
		}
		return byte(hi<<4 | lo), 4, nil
	}
	return 0, 0, fmt.Errorf(`want \\, \n, \r, \t or \xHH, found the escape %q`, s[:2])
}

func hexValue(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// appendEscaped appends s, and escapes everything that a field can't have. In an xattr this
// includes the equals sign, which separates key and value.
func appendEscaped[T string | []byte](dst []byte, s T, escapeEquals bool) []byte {
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c > ' ' && c < 0x7f && c != '\\' && (c != '=' || !escapeEquals) {
			continue
		}
		dst = append(dst, s[start:i]...)
		start = i + 1
		switch c {
		case '\\':
			dst = append(dst, `\\`...)
		case '\n':
			dst = append(dst, `\n`...)
		case '\r':
			dst = append(dst, `\r`...)
		case '\t':
			dst = append(dst, `\t`...)
		default:
			dst = append(dst, '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(dst, s[start:]...)
}

// cutNUL returns the part of b before the first NUL. In the C program names and targets are
// C strings, so \x00 ends them.
func cutNUL(b []byte) []byte {
	before, _, _ := bytes.Cut(b, []byte{0})
	return before
}
