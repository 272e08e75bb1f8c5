package crfs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"
)

// nestingMax is how deep the values of unknown keys may be nested.
const nestingMax = 100

// tokens reads JSON piece by piece, so that only one string is in memory at a time.
type tokens struct{ d *json.Decoder }

func (t tokens) next() (json.Token, error) {
	token, err := t.d.Token()
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("the text is truncated: %w", io.ErrUnexpectedEOF)
	}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		err = fmt.Errorf("after byte %d: %w", t.d.InputOffset(), err)
	}
	return token, err
}

func (t tokens) want(what string, delim json.Delim) error {
	token, err := t.next()
	if err == nil && token != delim {
		err = fmt.Errorf("want %s, found %s", what, describe(token))
	}
	return err
}

// object reads an object; value is called for each key and reads the value.
func (t tokens) object(value func(key string) error) error {
	if err := t.want("an object", '{'); err != nil {
		return err
	}
	for t.d.More() {
		key, err := t.next()
		if err != nil {
			return err
		}
		if err := value(key.(string)); err != nil {
			return err
		}
	}
	_, err := t.next()
	return err
}

// array reads an array; value is called for each value, and end before its end.
func (t tokens) array(value func() error, end func()) error {
	if err := t.want("an array", '['); err != nil {
		return err
	}
	for t.d.More() {
		if err := value(); err != nil {
			return err
		}
	}
	end()
	_, err := t.next()
	return err
}

func (t tokens) text() (string, error) {
	token, err := t.next()
	if err != nil {
		return "", err
	}
	s, ok := token.(string)
	if !ok {
		return "", fmt.Errorf("want a string, found %s", describe(token))
	}
	return s, nil
}

func (t tokens) number(least, most int64) (int64, error) {
	token, err := t.next()
	if err != nil {
		return 0, err
	}
	text, ok := token.(json.Number)
	if !ok {
		return 0, fmt.Errorf("want a number, found %s", describe(token))
	}
	n, err := strconv.ParseInt(text.String(), 10, 64)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("want a whole number from %d to %d, found %.40s", least, most, text)
	}
	return n, nil
}

// skip reads a value of any type.
func (t tokens) skip() error {
	for depth := 0; ; {
		token, err := t.next()
		if err != nil {
			return err
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			if depth++; depth > nestingMax {
				return fmt.Errorf("values are nested more than %d deep", nestingMax)
			}
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}

func describe(t json.Token) string {
	switch v := t.(type) {
	case json.Delim:
		return map[json.Delim]string{'{': "an object", '[': "an array"}[v]
	case json.Number:
		return "the number " + fmt.Sprintf("%.40s", v)
	case string:
		return fmt.Sprintf("%.40q", v)
	case nil:
		return "null"
	}
	return fmt.Sprint(t)
}

// A utf8Reader returns an error at bytes that aren't UTF-8. encoding/json would replace
// them, which would change names.
type utf8Reader struct {
	r      io.Reader
	begun  [utf8.UTFMax]byte // of a character that continues in the next read
	length int
}

func (u *utf8Reader) Read(p []byte) (int, error) {
	n, err := u.r.Read(p)
	b := append(u.begun[:u.length:u.length], p[:n]...)
	u.length = 0
	for i := max(0, len(b)-utf8.UTFMax+1); i < len(b); i++ {
		if utf8.RuneStart(b[i]) && !utf8.FullRune(b[i:]) {
			u.length = copy(u.begun[:], b[i:])
			b = b[:i]
		}
	}
	if !utf8.Valid(b) || err == io.EOF && u.length > 0 {
		return 0, errors.New("the text isn't UTF-8")
	}
	return n, err
}
