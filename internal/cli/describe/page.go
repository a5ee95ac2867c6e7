package describe

import (
	"fmt"
	"io"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/view"
)

const indent = "  "

// page is the text that describes an object.
type page struct {
	palette output.Palette
	wide    bool
	width   int // of the terminal; 0 where nobody watches

	text    strings.Builder
	pending [][2]string // fields that wait for their width to be known
	tones   []output.Tone
}

// field adds a line NAME: VALUE, lined up with its neighbours. One without a value is left out.
func (p *page) field(name, value string) { p.cell(name, output.Text(value)) }

// cell adds a field whose value has a tone.
func (p *page) cell(name string, value output.Cell) {
	if value.Text == "" {
		return
	}
	p.pending = append(p.pending, [2]string{name + ":", value.Text})
	p.tones = append(p.tones, value.Tone)
}

// settle writes the fields that wait.
func (p *page) settle() {
	width := 0
	for _, field := range p.pending {
		width = max(width, len(field[0]))
	}
	for i, field := range p.pending {
		for n, line := range output.Wrap(field[1], p.room(width+1)) {
			if n > 0 {
				field[0] = ""
			}
			fmt.Fprintf(&p.text, "%-*s %s\n", width, field[0], p.palette.Paint(p.tones[i], line))
		}
	}
	p.pending, p.tones = nil, nil
}

// section begins a part with a title.
func (p *page) section(title string) {
	p.settle()
	fmt.Fprintf(&p.text, "\n%s:\n", title)
}

// line adds a line to a section.
func (p *page) line(text string) {
	for i, line := range output.Wrap(text, p.room(2*len(indent))) {
		if i > 0 {
			line = indent + line
		}
		fmt.Fprintf(&p.text, "%s%s\n", indent, line)
	}
}

// room is what a line has left after so many columns; 0 where it has no end.
func (p *page) room(taken int) int {
	if p.width == 0 {
		return 0
	}
	const least = 24 // on a terminal that is narrower still, the terminal breaks lines
	return max(least, p.width-taken)
}

// table adds a section with a table, unless it has no rows.
func (p *page) table(title string, headers []string, rows [][]output.Cell) {
	if len(rows) == 0 {
		return
	}
	p.section(title)
	table := output.Table{Headers: headers, Palette: p.palette, Indent: indent, Width: p.width}
	_ = table.Write(&p.text, rows) // writing to memory does not fail
}

// conditions adds the conditions, as far as they may be believed.
func (p *page) conditions(moment view.Moment, list []metav1.Condition, believed func(metav1.Condition) output.Cell) {
	var rows [][]output.Cell
	for _, c := range list {
		rows = append(rows, []output.Cell{
			output.Text(c.Type), believed(c), output.Text(c.Reason), moment.Age(c.LastTransitionTime), output.Text(c.Message),
		})
	}
	p.table("Conditions", []string{"TYPE", "STATUS", "REASON", "AGE", "MESSAGE"}, rows)
}

func (p *page) events(moment view.Moment, events []event) {
	var rows [][]output.Cell
	for _, e := range events {
		tone := output.Neutral
		if e.Type == "Warning" {
			tone = output.Doubtful
		}
		message := e.Message
		if e.Count > 1 {
			message += fmt.Sprintf(" (%d times)", e.Count)
		}
		rows = append(rows, []output.Cell{moment.Age(e.Time), {Text: e.Type, Tone: tone}, output.Text(e.Reason), output.Text(message)})
	}
	p.table("Events", []string{"AGE", "TYPE", "REASON", "MESSAGE"}, rows)
}

// next adds what to do next.
func (p *page) next(steps []string) {
	if len(steps) == 0 {
		return
	}
	p.section("Next")
	for _, step := range steps {
		p.line(step)
	}
}

func (p *page) flush(w io.Writer) error {
	p.settle()
	_, err := io.WriteString(w, p.text.String())
	return err
}
