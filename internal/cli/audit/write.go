package audit

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"sigs.k8s.io/yaml"

	"umbel.dev/umbel/internal/audit"
	"umbel.dev/umbel/internal/cli/output"
)

// rowsAtOnce is how many rows line up with each other at least.
const rowsAtOnce = 200

// writer writes events.
type writer struct {
	*Options
	table   output.Table
	waiting [][]output.Cell
	rows    int
}

func (o *Options) newWriter() *writer {
	headers := []string{"TIME", "USER", "CLUSTER", "VERB", "OBJECT", "CODE"}
	if o.Format == output.Wide {
		headers = append(headers, "STAGE", "FROM", "AUDIT ID", "DETAILS")
	}
	return &writer{Options: o, table: output.Table{Headers: headers, Palette: o.Palette(o.Out)}}
}

// nothing says where there was nothing.
func (w *writer) nothing() string {
	if w.Until != "" {
		return fmt.Sprintf("no such events between %s and %s", w.Since, w.Until)
	}
	return fmt.Sprintf("no such events since %s; --since looks further back", w.Since)
}

// write writes an event, or has it wait for others that line up with it.
func (w *writer) write(line []byte) error {
	switch w.Format {
	case output.JSON:
		_, err := w.Out.Write(line)
		return err
	case output.YAML:
		text, err := yaml.JSONToYAML(line)
		if err != nil {
			return fmt.Errorf("reading an event: %w", err)
		}
		_, err = fmt.Fprintf(w.Out, "---\n%s", text)
		return err
	}
	var event auditv1.Event
	if err := json.Unmarshal(line, &event); err != nil {
		return fmt.Errorf("reading an event: %w", err)
	}
	if event.Stage == auditv1.StageRequestReceived && w.Format == output.Human {
		return nil // its answer has a row of its own
	}
	w.rows++
	w.waiting = append(w.waiting, w.row(&event))
	if len(w.waiting) >= rowsAtOnce {
		return w.flush()
	}
	return nil
}

// flush writes the rows that wait.
func (w *writer) flush() error {
	if len(w.waiting) == 0 {
		return nil
	}
	rows := w.waiting
	w.waiting = nil
	return w.table.Write(w.Out, rows)
}

func (w *writer) row(e *auditv1.Event) []output.Cell {
	row := output.Cells(e.StageTimestamp.UTC().Format(time.RFC3339), plain(who(e)), plain(e.Annotations[audit.ClusterAnnotation]), plain(e.Verb), plain(object(e)))
	row = append(row, code(e))
	if w.Format == output.Wide {
		row = append(row, output.Cells(string(e.Stage), plain(strings.Join(e.SourceIPs, ",")), plain(string(e.AuditID)), plain(details(e)))...)
	}
	return row
}

func who(e *auditv1.Event) string {
	if e.User.Username == "" {
		return "(nobody known)"
	}
	return e.User.Username
}

// object is NAMESPACE/RESOURCE/NAME or the path of what is no resource.
func object(e *auditv1.Event) string {
	ref := e.ObjectRef
	if ref == nil {
		path, _, _ := strings.Cut(e.RequestURI, "?")
		return path
	}
	resource := ref.Resource
	if ref.APIGroup != "" {
		resource += "." + ref.APIGroup
	}
	if ref.Subresource != "" {
		resource += "/" + ref.Subresource
	}
	name := strings.Trim(ref.Namespace+"/"+ref.Name, "/")
	return strings.TrimSpace(resource + " " + name)
}

func code(e *auditv1.Event) output.Cell {
	if e.ResponseStatus == nil || e.ResponseStatus.Code == 0 {
		return output.Text("")
	}
	cell := output.Text(strconv.Itoa(int(e.ResponseStatus.Code)))
	if e.ResponseStatus.Code >= 400 {
		cell.Tone = output.Bad
	}
	return cell
}

// details are what the hub noted, in the order of their keys.
func details(e *auditv1.Event) string {
	var notes []string
	for _, key := range []string{
		audit.RefusedAnnotation, audit.EndedAnnotation, audit.MemberUserAnnotation, audit.OmittedAnnotation, audit.LostAnnotation,
		"umbel.dev/release", "umbel.dev/revision", "umbel.dev/digest", "umbel.dev/key", "umbel.dev/not-after", "umbel.dev/prune",
		"umbel.dev/deletion", "umbel.dev/cause", "umbel.dev/approved", "umbel.dev/objects", "umbel.dev/names",
	} {
		if value := e.Annotations[key]; value != "" {
			notes = append(notes, strings.TrimPrefix(key, "umbel.dev/")+"="+value)
		}
	}
	return strings.Join(notes, " ")
}

// plain keeps what somebody has made up, such as a name, from speaking to a terminal.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if strconv.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, text)
}
