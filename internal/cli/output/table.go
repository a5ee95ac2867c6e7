package output

import (
	"io"
	"strings"
	"unicode/utf8"
)

const gap = "   " // between two columns, as kubectl has it

// Cell is one text of a table.
type Cell struct {
	Text string
	Tone Tone
}

// Text returns a cell without a tone.
func Text(text string) Cell { return Cell{Text: text} }

// Cells returns a cell without a tone for each text.
func Cells(texts ...string) []Cell {
	cells := make([]Cell, len(texts))
	for i, text := range texts {
		cells[i] = Text(text)
	}
	return cells
}

// Table writes rows below headers. It remembers the width of its columns, so that rows that come later, while somebody
// watches, line up with those above.
type Table struct {
	// Headers stand above the columns. The widths of their texts are the least that the columns have.
	Headers []string
	// Palette says how tones look. The default is Plain.
	Palette Palette
	// Indent stands before every line. The default is none.
	Indent string
	// HideHeaders leaves the line of headers out.
	HideHeaders bool

	widths []int
}

// Write writes the rows, the first time below the headers.
func (t *Table) Write(w io.Writer, rows [][]Cell) error {
	first := t.widths == nil
	if first {
		t.widths = make([]int, len(t.Headers))
		if !t.HideHeaders {
			t.widen(Cells(t.Headers...))
		}
	}
	for _, row := range rows {
		t.widen(row)
	}
	var text strings.Builder
	if first && !t.HideHeaders {
		t.line(&text, Cells(t.Headers...))
	}
	for _, row := range rows {
		t.line(&text, row)
	}
	_, err := io.WriteString(w, text.String())
	return err
}

func (t *Table) widen(row []Cell) {
	for i, cell := range row {
		t.widths[i] = max(t.widths[i], utf8.RuneCountInString(orNone(cell.Text)))
	}
}

func (t *Table) line(text *strings.Builder, row []Cell) {
	text.WriteString(t.Indent)
	for i, cell := range row {
		shown := orNone(cell.Text)
		text.WriteString(t.Palette.Paint(cell.Tone, shown))
		if i < len(row)-1 {
			text.WriteString(strings.Repeat(" ", t.widths[i]-utf8.RuneCountInString(shown)) + gap)
		}
	}
	text.WriteByte('\n')
}

// orNone makes an empty cell visible, and keeps a text on its line.
func orNone(text string) string {
	if text == "" {
		return "-"
	}
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' }), " ")
}
