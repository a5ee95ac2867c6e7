package output

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// Streams is where a command reads and writes.
type Streams struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
}

// System returns the streams of the process.
func System() Streams {
	return Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
}

// Palette returns the colours that fit the stream w.
func (s Streams) Palette(w io.Writer) Palette {
	if os.Getenv("NO_COLOR") != "" || !Animated(w) {
		return Plain
	}
	return Coloured
}

// Animated says whether somebody watches the stream on a terminal that knows colours and can be drawn anew.
func Animated(w io.Writer) bool { return Terminal(w) && os.Getenv("TERM") != "dumb" }

// Note says something about the results, on Err.
func (s Streams) Note(format string, args ...any) {
	fmt.Fprintf(s.Err, format+"\n", args...)
}

// Terminal says whether somebody watches the stream.
func Terminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
