package initrd

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// maxModule bounds the size of a module in bytes. The largest real ones, for graphics cards,
// have some 10 MB.
const maxModule = 256 << 20

// decompressors are by the end of the name of the file.
var decompressors = map[string]func(io.Reader) (io.Reader, error){
	".ko": func(r io.Reader) (io.Reader, error) { return r, nil },
	".gz": func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
	".xz": func(r io.Reader) (io.Reader, error) { return xz.NewReader(r) },
	".zst": func(r io.Reader) (io.Reader, error) {
		return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxModule))
	},
}

// Read returns a module as the kernel loads it, decompressed.
func (k *Kernel) Read(m Module) ([]byte, error) {
	data, err := k.read(m.File)
	if err != nil {
		return nil, fmt.Errorf("%w: read %s/%s: %w", ErrModules, k.dir, m.File, err)
	}
	if !bytes.HasPrefix(data, []byte("\x7fELF")) {
		return nil, fmt.Errorf("%w: %s/%s is not an ELF file", ErrModules, k.dir, m.File)
	}
	return data, nil
}

func (k *Kernel) read(file string) ([]byte, error) {
	f, err := k.fsys.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	decompress := decompressors[path.Ext(file)]
	if decompress == nil {
		return nil, fmt.Errorf("want a name that ends in .ko, .ko.gz, .ko.xz or .ko.zst")
	}
	r, err := decompress(f)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(r, maxModule+1))
	if err == nil && len(data) > maxModule {
		err = fmt.Errorf("it has more than %d bytes", maxModule)
	}
	return data, err
}

// plainName returns the name of a module's file without the suffix for its compression.
func plainName(file string) string {
	return strings.TrimSuffix(file, strings.TrimPrefix(path.Ext(file), ".ko"))
}
