package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

// apiLook is how often the file of an API server is looked at while somebody follows: it is another process.
const apiLook = 500 * time.Millisecond

// APILog is the audit log of the hub's own API server, as a Source: what is done there past the gateway, with the hub's own
// kubeconfig. The API server writes it and rotates it, to NAME-TIME.log and later NAME-TIME.log.gz beside it. It is the path.
type APILog string

var _ Source = APILog("")

// Read implements Source. An event about a member has its annotation, and no credential in its URI, like all that are ours.
func (l APILog) Read(ctx context.Context, query Query, yield func(line []byte) error) (Report, error) {
	r := &apiReader{path: string(l), query: query}
	r.reader = reader{ctx: ctx, yield: func(text []byte) error {
		if !query.mayMatch(text) {
			return nil
		}
		ours := ofAPI(text)
		asked, err := query.Matches(ours)
		if err != nil {
			r.report.Damaged++
		}
		if !asked {
			return nil
		}
		return yield(ours)
	}}
	err := r.run()
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) && query.Follow {
		err = nil
	}
	return r.report, err
}

// ofAPI writes an event of an API server as one of ours; nothing when it is none.
func ofAPI(text []byte) []byte {
	var event auditv1.Event
	if err := json.Unmarshal(text, &event); err != nil {
		return nil
	}
	path, query, _ := strings.Cut(event.RequestURI, "?")
	event.RequestURI = redactURI(path, query, keepHarmless)
	if event.ObjectRef != nil {
		if event.Annotations == nil {
			event.Annotations = map[string]string{}
		}
		aboutMember(&event)
	}
	return encode(&event)
}

// apiReader is one Read of an APILog.
type apiReader struct {
	reader // reads lines: its query asks for all of them
	path   string
	query  Query
	last   string // the rotated file that was read last
}

func (r *apiReader) run() error {
	for {
		next, err := r.next()
		if err != nil {
			return err
		}
		if next != "" {
			r.last = next
			if err := r.file(next, next+compressed); err != nil {
				return err
			}
			continue
		}
		more, err := r.current()
		if err != nil || !more {
			return err
		}
	}
}

// next returns the oldest rotated file after the last one, without what says that it is compressed; empty when there is none.
// The times in their names have them in their order.
func (r *apiReader) next() (string, error) {
	entries, err := os.ReadDir(filepath.Dir(r.path))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("reading the folder of the API server's audit log: %w", err)
	}
	begins := strings.TrimSuffix(r.path, ".log") + "-"
	var names []string
	for _, entry := range entries {
		name := filepath.Join(filepath.Dir(r.path), strings.TrimSuffix(entry.Name(), compressed))
		if strings.HasPrefix(name, begins) && strings.HasSuffix(name, ".log") && name > r.last {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		for _, file := range []string{name, name + compressed} {
			if last, there := lastWritten(file); there && last.Add(time.Second).After(r.query.Since) {
				return name, nil
			}
		}
	}
	return "", nil
}

// current reads the file that is written to; with Follow until it is rotated. more says that there are files to read still.
func (r *apiReader) current() (more bool, err error) {
	f, err := os.Open(r.path)
	if errors.Is(err, fs.ErrNotExist) { // before the first event, or between two files
		next, err := r.next() // the one that was renamed after it was looked for
		if next != "" || err != nil || !r.query.Follow {
			return next != "", err
		}
		return true, r.pause()
	}
	if err != nil {
		return false, fmt.Errorf("reading the API server's audit log: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was read only
	if next, err := r.next(); next != "" || err != nil {
		return true, err // rotated a moment ago: that one comes first
	}
	lines := newLines(f)
	for {
		turned := turned(f, r.path) // before it is read: what was written to it is written then
		if err := r.all(lines); err != nil || !r.query.Follow {
			return false, err
		}
		if turned {
			next, err := r.next()
			if next != "" { // otherwise it was removed, and those before it are read already
				r.last = next // it is the oldest of those that were rotated since
			}
			return true, err
		}
		if err := r.pause(); err != nil {
			return false, err
		}
	}
}

func (r *apiReader) pause() error {
	timer := time.NewTimer(apiLook)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-r.ctx.Done():
		return r.ctx.Err()
	}
}
