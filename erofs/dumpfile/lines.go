package dumpfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// lineMax is the longest line in bytes. A path of tree.DepthMax names, each of 255 escaped
// bytes, has 4 MiB; everything else on a line is less than 128 KiB.
const lineMax = 4<<20 + 256<<10

var errLongLine = errors.New("the line is too long")

// A lineReader splits its input at newlines. The last line needs none.
type lineReader struct {
	r    *bufio.Reader
	long []byte // a line that doesn't fit the reader's buffer
	open bool   // the last line had no newline
}

func newLineReader(r io.Reader) *lineReader { return &lineReader{r: bufio.NewReaderSize(r, 64<<10)} }

// next returns the next line without its newline, valid until the next call, or
// io.EOF after the last.
func (l *lineReader) next() ([]byte, error) {
	line, err := l.r.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		line, err = l.nextLong(line)
	}
	if err == nil {
		return line[:len(line)-1], nil
	}
	if err == io.EOF && len(line) > 0 {
		l.open = true
		return line, nil
	}
	return nil, err
}

func (l *lineReader) nextLong(start []byte) ([]byte, error) {
	l.long = append(l.long[:0], start...)
	for {
		more, err := l.r.ReadSlice('\n')
		l.long = append(l.long, more...)
		if len(l.long) > lineMax {
			return nil, fmt.Errorf("%w: want at most %d bytes", errLongLine, lineMax)
		}
		if err != bufio.ErrBufferFull {
			return l.long, err
		}
	}
}
