package console

import (
	"errors"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// sheet is what somebody wrote, and what is wrong with it, line by line.
type sheet struct {
	text     string
	root     *yaml.Node
	problems []Problem
}

// sheetOf reads one object in YAML, as far as it goes.
func sheetOf(text string) *sheet {
	p := &sheet{text: text, problems: []Problem{}}
	decoder := yaml.NewDecoder(strings.NewReader(text))
	var document yaml.Node
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF):
		p.problem("", "nothing is written here")
	case err != nil:
		p.unreadable(err)
	case len(document.Content) != 1 || document.Content[0].Kind != yaml.MappingNode:
		p.problem("", "this is no object: one has apiVersion, kind and metadata")
	default:
		p.root = document.Content[0]
		var another yaml.Node
		if err := decoder.Decode(&another); !errors.Is(err, io.EOF) {
			p.problems = append(p.problems, Problem{Line: another.Line, Message: "one object is written at a time: this is another"})
		}
	}
	return p
}

var (
	// atLine is how the parser says where, and what.
	atLine = regexp.MustCompile(`line (\d+): (.*)`)
	// unknownField is how an API server names a field that it does not know.
	unknownField = regexp.MustCompile(`unknown field \\?"([^"\\]+)\\?"`)
)

// unreadable says what of the text is no YAML.
func (p *sheet) unreadable(err error) {
	found := atLine.FindAllStringSubmatch(err.Error(), -1)
	for _, one := range found {
		line, _ := strconv.Atoi(one[1]) // it is digits
		p.problems = append(p.problems, Problem{Line: line, Message: one[2]})
	}
	if len(found) == 0 {
		p.problem("", err.Error())
	}
}

func (p *sheet) problem(field, message string) {
	p.problems = append(p.problems, Problem{Line: lineOf(p.root, field), Field: field, Message: message})
}

// problemsOf reads what the API does not take; nothing where its answer is not about what was written.
func (p *sheet) problemsOf(err error) []Problem {
	status, is := errors.AsType[*apierrors.StatusError](err)
	if !is || status.ErrStatus.Code != http.StatusBadRequest && status.ErrStatus.Code != http.StatusUnprocessableEntity {
		return []Problem{}
	}
	p.problems = []Problem{}
	for _, unknown := range unknownField.FindAllStringSubmatch(status.ErrStatus.Message, -1) {
		p.problem(unknown[1], "there is no such field")
	}
	if len(p.problems) > 0 {
		return p.problems
	}
	if details := status.ErrStatus.Details; details != nil {
		for _, cause := range details.Causes {
			p.problem(cause.Field, cause.Message)
		}
	}
	if len(p.problems) == 0 {
		p.problem("", status.ErrStatus.Message)
	}
	return p.problems
}

// lineOf is the line of a field, as an API server names it: spec.stages[0].name or metadata.labels[app]. Of one that is not there it is that of
// the closest around it; 0 stands for none.
func lineOf(root *yaml.Node, field string) int {
	line := 0
	for at, steps := root, stepsOf(field); at != nil && len(steps) > 0; steps = steps[1:] {
		key, value := childOf(at, steps[0])
		if value == nil {
			break
		}
		line, at = key.Line, value
	}
	return line
}

// stepsOf takes the path of a field apart.
func stepsOf(field string) []string {
	var steps []string
	for field != "" {
		if rest, bracket := strings.CutPrefix(field, "["); bracket {
			step, after, _ := strings.Cut(rest, "]")
			steps, field = append(steps, strings.Trim(step, `"'`)), after
			continue
		}
		field = strings.TrimPrefix(field, ".")
		end := strings.IndexAny(field, ".[")
		if end < 0 {
			end = len(field)
		}
		if end > 0 {
			steps = append(steps, field[:end])
		} else if !strings.HasPrefix(field, "[") { // two dots: there is nothing between them
			break
		}
		field = field[end:]
	}
	return steps
}

// childOf is a value within another, and where it begins: by its key, or by its place in a list.
func childOf(at *yaml.Node, step string) (key, value *yaml.Node) {
	if at.Kind == yaml.AliasNode {
		at = at.Alias
	}
	switch at.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(at.Content); i += 2 {
			if at.Content[i].Value == step {
				return at.Content[i], at.Content[i+1]
			}
		}
	case yaml.SequenceNode:
		if place, err := strconv.Atoi(step); err == nil && place >= 0 && place < len(at.Content) {
			return at.Content[place], at.Content[place]
		}
	}
	return nil, nil
}
