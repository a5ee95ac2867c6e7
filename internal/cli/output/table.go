package output

import (
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	gap    = "   "  // between two columns, as kubectl has it
	enough = 24     // columns that a text has to have before it stands beside others
	below  = "    " // before a text that stands below
)

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
	// Width is how long lines are at most, as far as the last column can see to it: its texts are wrapped, and stand below the
	// others where those leave no room. The default is as long as they are.
	Width int
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
		headers := Cells(t.Headers...)
		if last := len(headers) - 1; !slices.ContainsFunc(rows, func(row []Cell) bool { return row[len(row)-1].Text != "" }) && t.isBelow(headers[last]) {
			headers[last].Text = "" // it would stand below, above nothing
		}
		t.line(&text, headers)
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
	last := len(row) - 1
	for i, cell := range row[:last] {
		shown := orNone(cell.Text)
		text.WriteString(t.Palette.Paint(cell.Tone, shown))
		if i == last-1 && t.isBelow(row[last]) {
			break
		}
		text.WriteString(strings.Repeat(" ", t.widths[i]-utf8.RuneCountInString(shown)) + gap)
	}
	t.last(text, row[last])
}

// last writes the text of the last column.
func (t *Table) last(text *strings.Builder, cell Cell) {
	start := t.start()
	if t.isBelow(cell) {
		if cell.Text == "" {
			text.WriteByte('\n')
			return
		}
		start = utf8.RuneCountInString(t.Indent) + len(below)
		text.WriteString("\n" + strings.Repeat(" ", start))
	}
	width := 0
	if t.Width > 0 {
		width = max(enough, t.Width-start)
	}
	for i, line := range Wrap(orNone(cell.Text), width) {
		if i > 0 {
			text.WriteString(strings.Repeat(" ", start))
		}
		text.WriteString(t.Palette.Paint(cell.Tone, line) + "\n")
	}
}

// start is where the last column begins.
func (t *Table) start() int {
	start := utf8.RuneCountInString(t.Indent)
	for _, width := range t.widths[:len(t.widths)-1] {
		start += width + len(gap)
	}
	return start
}

// isBelow says whether the text of the last column stands below the others, since it fits nowhere beside them. One that is empty is left out there.
func (t *Table) isBelow(cell Cell) bool {
	room := t.Width - t.start()
	return t.Width > 0 && len(t.widths) > 1 && room < enough && (cell.Text == "" || utf8.RuneCountInString(cell.Text) > room)
}

// orNone makes an empty cell visible, and keeps a text on its line.
func orNone(text string) string {
	if text == "" {
		return "-"
	}
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' }), " ")
}
