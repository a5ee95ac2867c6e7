package console

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/rest"

	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/output"
)

// desk is how the rooms of the command line are asked as the person of a session: what `umbel plan` or `umbel capacity` would read, they
// read through the gateway's door, in this process, with this person's rights and under their name in the audit log.
func (c *Console) desk(r *http.Request, s *session, namespace string) *client.Factory {
	return &client.Factory{
		Streams: output.Streams{In: http.NoBody, Out: io.Discard, Err: io.Discard}, Namespace: namespace, Now: c.Now,
		Through: &rest.Config{Host: "https://" + r.Host, QPS: -1, UserAgent: "umbel-console", WarningHandler: rest.NoWarnings{}, Transport: through{c.Door, r, s.who()}},
	}
}

// through sends requests through the door as somebody, on behalf of a request of theirs.
type through struct {
	door Door
	of   *http.Request
	who  user.Info
}

// RoundTrip implements http.RoundTripper. Whoever closes the answer's body, or ends the request, ends what answers it.
func (t through) RoundTrip(r *http.Request) (*http.Response, error) {
	inner := r.Clone(r.Context())
	inner.URL = &url.URL{Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery}
	inner.Host, inner.RemoteAddr = t.of.Host, t.of.RemoteAddr
	inner.Proto, inner.ProtoMajor, inner.ProtoMinor = "HTTP/1.1", 1, 1
	if inner.Body == nil {
		inner.Body = http.NoBody
	}
	body, writer := io.Pipe()
	answer := &answering{header: http.Header{}, to: writer, begun: make(chan *http.Response, 1), of: r, body: body}
	go func() {
		defer inner.Body.Close()
		defer func() {
			err := error(nil)
			if why := recover(); why != nil { // who forwards answers gives up so when it is cut off
				err = fmt.Errorf("the answer was cut off: %v", why)
			}
			answer.end(err)
		}()
		t.door.ServeAs(answer, inner, t.who)
	}()
	select {
	case response := <-answer.begun:
		return response, nil
	case <-r.Context().Done():
		body.Close()
		return nil, r.Context().Err()
	}
}

// answering is an answer that is read while it is written.
type answering struct {
	header http.Header
	to     *io.PipeWriter
	body   io.ReadCloser
	of     *http.Request
	begun  chan *http.Response
	once   sync.Once
}

// Header implements http.ResponseWriter.
func (a *answering) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *answering) WriteHeader(code int) {
	if code < 200 {
		return
	}
	a.once.Do(func() {
		a.begun <- &http.Response{
			StatusCode: code, Status: fmt.Sprintf("%d %s", code, http.StatusText(code)), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header: a.header.Clone(), Body: a.body, ContentLength: -1, Request: a.of,
		}
	})
}

// Write implements http.ResponseWriter.
func (a *answering) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.to.Write(p)
}

// Flush implements http.Flusher: whoever reads has it already.
func (a *answering) Flush() { a.WriteHeader(http.StatusOK) }

func (a *answering) end(err error) {
	a.WriteHeader(http.StatusOK)
	a.to.CloseWithError(err)
}
