package crfs

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/composefs-go/composefs/erofs/tree"
)

// An entry has the values of an object of the array, with zeros for missing keys.
type entry struct {
	kind, name, link   string
	has                map[string]bool
	mode, uid, gid     int64
	size, major, minor int64
	mtime              int64
	payload            string // of x-payload, or of digest
	content            []byte
	xattrs             []tree.Xattr
}

// keys says how to read the values of an entry's keys. Other keys are ignored.
var keys = map[string]func(*parser, *entry) error{
	"type":      func(p *parser, e *entry) (err error) { e.kind, err = p.text(); return },
	"name":      func(p *parser, e *entry) (err error) { e.name, err = p.name(); return },
	"linkName":  func(p *parser, e *entry) (err error) { e.link, err = p.name(); return },
	"mode":      func(p *parser, e *entry) (err error) { e.mode, err = p.number(0, 0o177777); return },
	"uid":       func(p *parser, e *entry) (err error) { e.uid, err = p.number(0, math.MaxUint32); return },
	"gid":       func(p *parser, e *entry) (err error) { e.gid, err = p.number(0, math.MaxUint32); return },
	"size":      func(p *parser, e *entry) (err error) { e.size, err = p.number(0, math.MaxInt64); return },
	"devMajor":  func(p *parser, e *entry) (err error) { e.major, err = p.number(0, 1<<12-1); return },
	"devMinor":  func(p *parser, e *entry) (err error) { e.minor, err = p.number(0, 1<<20-1); return },
	"modtime":   (*parser).modtime,
	"digest":    (*parser).digest,
	"x-payload": (*parser).payload,
	"x-content": (*parser).content,
	"xattrs":    (*parser).xattrs,
}

// parseEntry reads an object of the array.
func (p *parser) parseEntry() (*entry, error) {
	e := &entry{has: make(map[string]bool)}
	p.key = ""
	err := p.object(func(key string) error {
		p.key = key
		read, ok := keys[key]
		if !ok {
			return p.skip()
		}
		if e.has[key] {
			return errors.New("the key is there twice")
		}
		e.has[key] = true
		return read(p, e)
	})
	if err != nil {
		return nil, err
	}
	for _, key := range [...]string{"type", "name"} {
		if p.key = key; !e.has[key] && e.kind != "chunk" {
			return nil, errors.New("the entry lacks it")
		}
	}
	return e, nil
}

// name reads the name of a file or an attribute.
func (p *parser) name() (string, error) {
	s, err := p.tokens.text()
	if err == nil && strings.ContainsRune(s, '\ufffd') {
		err = fmt.Errorf("U+FFFD in %.300q: it stands for bytes that JSON couldn't hold", s)
	}
	return s, err
}

// modtime reads a time. As in composefs-from-json, its fraction is ignored.
func (p *parser) modtime(e *entry) error {
	text, err := p.tokens.text()
	if err != nil {
		return err
	}
	for _, layout := range [...]string{time.RFC3339, "2006-01-02T15:04:05Z0700"} {
		if t, err := time.Parse(layout, text); err == nil {
			e.mtime = t.Unix()
			return nil
		}
	}
	return fmt.Errorf("want a time like 2024-05-01T12:00:00Z, found %.40q", text)
}

func (p *parser) digest(e *entry) error {
	text, err := p.tokens.text()
	if err != nil {
		return err
	}
	text = strings.TrimPrefix(text, "sha256:")
	if b, err := hex.DecodeString(text); err != nil || len(b) != 32 && len(b) != 64 {
		return fmt.Errorf("want a hash in hexadecimal digits, with sha256: before it or nothing, found %.150q", text)
	}
	if !e.has["x-payload"] {
		e.payload = text[:2] + "/" + text[2:]
	}
	return nil
}

func (p *parser) payload(e *entry) (err error) {
	e.payload, err = p.name()
	if err == nil && (len(e.payload) > tree.PayloadMax || strings.IndexByte(e.payload, 0) >= 0) {
		err = fmt.Errorf("want a path of at most %d bytes, without NUL", tree.PayloadMax)
	}
	return err
}

func (p *parser) content(e *entry) (err error) {
	e.content, err = p.base64(tree.ContentMax)
	return err
}

func (p *parser) base64(most int) ([]byte, error) {
	text, err := p.tokens.text()
	if err != nil {
		return nil, err
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("want base64: %w", err)
	}
	if len(b) > most {
		return nil, fmt.Errorf("want at most %d bytes, found %d", most, len(b))
	}
	return b, nil
}

func (p *parser) xattrs(e *entry) error {
	seen := make(map[string]bool)
	return p.object(func(name string) error {
		switch {
		case name == "" || len(name) > tree.XattrNameMax || strings.IndexByte(name, 0) >= 0 || strings.ContainsRune(name, '\ufffd'):
			return fmt.Errorf("extended attribute %.300q: want a name of 1 to %d bytes, without NUL or U+FFFD", name, tree.XattrNameMax)
		case seen[name]:
			return fmt.Errorf("extended attribute %q is there twice", name)
		}
		seen[name] = true
		value, err := p.base64(tree.XattrValueMax)
		if err != nil {
			return fmt.Errorf("extended attribute %q: %w", name, err)
		}
		e.xattrs = append(e.xattrs, tree.Xattr{Name: p.arena.Name([]byte(name)), Value: p.arena.Value(value)})
		return nil
	})
}
