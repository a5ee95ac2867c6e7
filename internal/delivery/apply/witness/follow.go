package witness

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

const (
	// maxLine is how long a line may be: at the level Metadata one has some 2 kB.
	maxLine = 256 << 10
	// maxLook is how much of a file is read at a look, and maxBehind how far one may be behind before what is between is left out.
	maxLook   = 4 << 20
	maxBehind = 32 << 20
)

// follower reads what is added to a file, across rotation.
type follower struct {
	path string
	file *os.File // nil while there is none
	at   int64
	// rest is the beginning of a line whose end is not there yet. While skip is set the end of one is passed over.
	rest []byte
	skip bool
	// buffer is what is read into.
	buffer []byte
}

func (f *follower) close() {
	if f.file != nil {
		_ = f.file.Close()
		f.file = nil
	}
}

// fromEnd opens the file, if it is there, so that only what is added from now on is read.
func (f *follower) fromEnd() error {
	if err := f.open(); err != nil {
		return err
	}
	return f.end()
}

// end goes to the end of the file. What is read there first may be the end of a line.
func (f *follower) end() error {
	info, err := f.file.Stat()
	if err != nil {
		return err
	}
	f.at, f.rest, f.skip = info.Size(), nil, info.Size() > 0
	if f.at > 0 { // unless the line before has ended
		var last [1]byte
		if _, err := f.file.ReadAt(last[:], f.at-1); err == nil {
			f.skip = last[0] != '\n'
		}
	}
	return nil
}

// open opens the file from its beginning.
func (f *follower) open() error {
	file, err := os.OpenFile(f.path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a file", f.path)
	}
	if err != nil {
		return errors.Join(err, file.Close())
	}
	f.file, f.at, f.rest, f.skip = file, 0, nil, false
	return nil
}

// look gives what was added since the last look to take, line by line, and says how many bytes were left out: of lines that are too
// long, and of what came faster than it is read. A line is take's for the time of the call.
func (f *follower) look(take func([]byte)) (omitted int64, err error) {
	if f.file == nil {
		if err := f.open(); err != nil {
			return 0, err
		}
	}
	left := int64(maxLook)
	for {
		gone, err := f.drain(take, &left)
		omitted += gone
		if err != nil || left <= 0 {
			return omitted, err
		}
		replaced, err := f.replaced()
		if err != nil || !replaced {
			return omitted, err
		}
		// Whoever writes may have gone on in the old file until its name was the new one's.
		gone, err = f.drain(take, &left)
		omitted += gone
		if err != nil || left <= 0 {
			return omitted, err
		}
		f.close()
		if err := f.open(); err != nil {
			return omitted, err
		}
	}
}

// replaced says whether another file has the name now. While none has it, the one of before is gone on with.
func (f *follower) replaced() (bool, error) {
	is, err := os.Stat(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	was, err := f.file.Stat()
	return err == nil && !os.SameFile(is, was), err
}

// drain reads to the end of the file, or as much as is left.
func (f *follower) drain(take func([]byte), left *int64) (omitted int64, err error) {
	info, err := f.file.Stat()
	if err != nil {
		return 0, err
	}
	switch size := info.Size(); {
	case size < f.at: // it was emptied
		f.at, f.rest, f.skip = 0, nil, false
	case size-f.at > maxBehind:
		omitted = size - f.at
		if err := f.end(); err != nil {
			return omitted, err
		}
	}
	if f.buffer == nil {
		f.buffer = make([]byte, 64<<10)
	}
	for *left > 0 {
		n, err := f.file.ReadAt(f.buffer, f.at)
		f.at += int64(n)
		*left -= int64(n)
		omitted += f.split(f.buffer[:n], take)
		if errors.Is(err, io.EOF) {
			return omitted, nil
		}
		if err != nil {
			return omitted, err
		}
	}
	return omitted, nil
}

// split cuts what was read into lines.
func (f *follower) split(read []byte, take func([]byte)) (omitted int64) {
	for len(read) > 0 {
		line, after, ended := bytes.Cut(read, []byte{'\n'})
		read = after
		switch {
		case f.skip:
			omitted += int64(len(line))
		case len(f.rest)+len(line) > maxLine:
			omitted += int64(len(f.rest) + len(line))
			f.rest, f.skip = nil, true
		case !ended:
			f.rest = append(f.rest, line...)
		case len(f.rest) > 0:
			f.rest = append(f.rest, line...)
			take(f.rest)
			f.rest = f.rest[:0]
		default:
			take(line)
		}
		if ended {
			f.skip = false
		}
	}
	if cap(f.rest) > 0 && len(f.rest) == 0 {
		f.rest = nil
	}
	return omitted
}
