package explain

import (
	"fmt"
	"io"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/view"
	"umbel.dev/umbel/internal/placement/decide"
)

// page writes accounts for people.
type page struct {
	out     io.Writer
	palette output.Palette
}

func (p *page) account(a *Account, moment view.Moment) error {
	if _, err := fmt.Fprintf(p.out, "%s\n\n", p.palette.Paint(tone(a.State), a.Summary)); err != nil {
		return err
	}
	table := output.Table{Headers: []string{"STAGE", "RESULT", "AGE", "CHECK", "MESSAGE"}, Palette: p.palette}
	var rows [][]output.Cell
	var before Stage
	for _, step := range a.Steps {
		stage := output.Text(string(step.Stage))
		if step.Stage == before {
			stage.Text = " "
		}
		before = step.Stage
		rows = append(rows, []output.Cell{stage, result(step.Result), output.Text(age(step.Since, moment)), output.Text(step.Check), output.Text(step.Message)})
	}
	if err := table.Write(p.out, rows); err != nil {
		return err
	}
	if len(a.Next) == 0 {
		return nil
	}
	if _, err := fmt.Fprint(p.out, "\nNext:\n"); err != nil {
		return err
	}
	for _, step := range a.Next {
		if _, err := fmt.Fprintf(p.out, "  %s\n", step); err != nil {
			return err
		}
	}
	return nil
}

func (p *page) survey(v *Verdicts) error {
	if _, err := fmt.Fprintf(p.out, "%s\n\n", v.Summary); err != nil {
		return err
	}
	table := output.Table{Headers: []string{"CLUSTER", "STATE", "BECAUSE"}, Palette: p.palette}
	var rows [][]output.Cell
	for _, verdict := range v.Clusters {
		rows = append(rows, []output.Cell{
			output.Text(string(verdict.Cluster)), {Text: string(verdict.State), Tone: tone(verdict.State)}, output.Text(verdict.Because),
		})
	}
	return table.Write(p.out, rows)
}

func age(since *metav1.Time, moment view.Moment) string {
	if since == nil {
		return ""
	}
	return output.Age(since.Time, moment.Now)
}

func result(of decide.Result) output.Cell {
	switch of {
	case decide.Pass:
		return output.Cell{Text: "pass", Tone: output.Good}
	case decide.Fail:
		return output.Cell{Text: "fail", Tone: output.Bad}
	case decide.Unknown:
		return output.Cell{Text: "unknown", Tone: output.Doubtful}
	}
	return output.Cell{Text: "noted", Tone: output.Faint}
}

func tone(state view.State) output.Tone {
	switch state {
	case view.Ready, Selected:
		return output.Good
	case view.Failing:
		return output.Bad
	case NotHere, NotSelected:
		return output.Neutral
	}
	return output.Doubtful
}
