package sign

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// MaxKeys is how many keys a keyring may have.
const MaxKeys = 256

// A Keyring is a list of trusted keys.
type Keyring []Key

// String lists the keys, for people.
func (k Keyring) String() string {
	var names []string
	for _, key := range k {
		names = append(names, key.String())
	}
	return join(names)
}

// LoadKeyring reads all files *.pub of a directory, in the order of their names.
// One that can't be read or is no key is an error: a key that silently isn't there
// would be looked for in the wrong place. So is a directory that isn't there, as
// fs.ErrNotExist.
func LoadKeyring(fsys fs.FS, dir string) (Keyring, error) {
	entries, err := fs.ReadDir(fsys, dir)
	if cause := (*fs.PathError)(nil); errors.As(err, &cause) {
		err = cause.Err // the caller knows the directory by a better name than fsys
	}
	if err != nil {
		return nil, fmt.Errorf("read the trusted keys: %w", err)
	}
	var keys Keyring
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".pub")
		if !ok {
			continue
		}
		if len(keys) == MaxKeys {
			return nil, fmt.Errorf("read the trusted keys of %q: want at most %d, found more", dir, MaxKeys)
		}
		file := path.Join(dir, e.Name())
		key, err := loadKey(fsys, file, name)
		if errors.Is(err, fs.ErrNotExist) {
			// Not passed on: it would look as if there were no keys at all.
			err = errors.New("the file is listed, but isn't there: it may be a link that leads nowhere")
		}
		if err != nil {
			return nil, fmt.Errorf("read the trusted key %q: %w", file, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func loadKey(fsys fs.FS, file, name string) (Key, error) {
	f, err := fsys.Open(file)
	if err != nil {
		return Key{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Key{}, err
	}
	if !info.Mode().IsRegular() {
		return Key{}, errors.New("want a regular file")
	}
	text, err := io.ReadAll(io.LimitReader(f, MaxKeySize+1))
	if err != nil {
		return Key{}, err
	}
	return ParseKey(name, text)
}

// join makes one phrase of some, of which it leaves out those after the fourth.
func join(phrases []string) string {
	const most = 4
	if n := len(phrases); n > most {
		phrases = append(phrases[:most:most], fmt.Sprintf("and %d more", n-most))
	}
	return strings.Join(phrases, ", ")
}
