package output

import (
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// Width is how many columns the terminal has that somebody watches; 0 where nobody does: whatever reads a pipe gets whole lines.
func Width(w io.Writer) int {
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return 0
	}
	width, _, err := term.GetSize(int(file.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// Wrap breaks a text between its words into lines that are not longer than width. A command between backquotes, and a word, that
// is longer stays whole, so that it can be copied; and so does every text where width is 0 or less.
func Wrap(text string, width int) []string {
	if width <= 0 || utf8.RuneCountInString(text) <= width {
		return []string{text}
	}
	var lines []string
	line, long := "", 0
	for _, word := range wholes(text) {
		n := utf8.RuneCountInString(word)
		if long > 0 && long+1+n > width {
			lines = append(lines, line)
			line, long = "", 0
		}
		if long > 0 {
			line, long = line+" ", long+1
		}
		line, long = line+word, long+n
	}
	return append(lines, line)
}

// wholes are the parts of a text that are not broken: its words, and what stands between backquotes.
func wholes(text string) []string {
	var parts []string
	open := false
	for word := range strings.SplitSeq(text, " ") {
		if open {
			parts[len(parts)-1] += " " + word
		} else {
			parts = append(parts, word)
		}
		if strings.Count(word, "`")%2 == 1 {
			open = !open
		}
	}
	return parts
}
