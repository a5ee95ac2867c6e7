package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Path is where a gateway serves its audit log.
const Path = "/v1/audit"

// Subresource and Verb are what somebody needs on memberclusters of the hub to read the audit log: of all of them for all of
// it, of one, by its name, for what is about that cluster.
const (
	Subresource = "audit"
	Verb        = "get"
)

const (
	// flushEvery is how long an event may wait for company on its way to the reader.
	flushEvery = 200 * time.Millisecond
	// writeTimeout is how long a reader may take none of what it asked for.
	writeTimeout = time.Minute
)

// End is the last line of an answer: a Status of Kubernetes. A reader that does not see it has not seen all.
type End struct {
	metav1.Status
	Report
}

// newest sends lines on; where there is a most, the newest alone, once all have come.
type newest struct {
	most    int
	send    func([]byte) error
	lines   [][]byte // a ring once there are as many as there may be
	dropped int
}

func (n *newest) take(line []byte) error {
	switch {
	case n.most == 0:
		return n.send(line)
	case len(n.lines) < n.most:
		n.lines = append(n.lines, bytes.Clone(line))
	default:
		at := n.dropped % n.most
		n.lines[at] = append(n.lines[at][:0], line...)
		n.dropped++
	}
	return nil
}

// end sends what was kept, the oldest first.
func (n *newest) end() error {
	for i := range n.lines {
		if err := n.send(n.lines[(n.dropped+i)%len(n.lines)]); err != nil {
			return err
		}
	}
	return nil
}

// Endpoint writes what a query asks of a source as lines of JSON, as they are read, and End as the last one. The caller
// has decided that it may.
func Endpoint(w http.ResponseWriter, r *http.Request, source Source, query Query) {
	w.Header().Set("Content-Type", "application/json;stream=watch")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	out := http.NewResponseController(w)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer out.SetWriteDeadline(time.Time{}) //nolint:errcheck // the connection's next request has none
	out.Flush()                             //nolint:errcheck // the first event finds out
	flushed := time.Now()
	send := func(line []byte) error {
		// A server without deadlines has none to set: then a reader that stands still is the connection's to end.
		_ = out.SetWriteDeadline(time.Now().Add(writeTimeout))
		if _, err := w.Write(line); err != nil {
			return err
		}
		if query.Follow || time.Since(flushed) > flushEvery {
			flushed = time.Now()
			return out.Flush()
		}
		return nil
	}
	kept := newest{most: query.Last, send: send}
	report, err := source.Read(ctx, query, kept.take)
	report.Earlier += kept.dropped
	if err == nil {
		err = kept.end()
	}
	end := End{Report: report, Status: metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusSuccess}}
	if err != nil {
		end.Status.Status, end.Message, end.Code = metav1.StatusFailure, err.Error(), http.StatusInternalServerError
	}
	json.NewEncoder(w).Encode(end) //nolint:errcheck // a reader that is gone misses nothing
}
