package content

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// InProcess returns a transport that hands requests to a handler of this process without a connection. The answer is
// held in memory as a whole, so it is for pushing; serve the handler over a listener where large content is pulled.
func InProcess(handler http.Handler) http.RoundTripper {
	return inProcess{handler}
}

type inProcess struct{ handler http.Handler }

func (t inProcess) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	in := req.Clone(req.Context())
	in.RequestURI = req.URL.RequestURI()
	in.Host = req.URL.Host
	if in.Body == nil {
		in.Body = http.NoBody
	}
	defer in.Body.Close()
	out := answer{header: http.Header{}}
	t.handler.ServeHTTP(&out, in)
	if out.code == 0 {
		out.code = http.StatusOK
	}
	return &http.Response{
		Status:     fmt.Sprintf("%d %s", out.code, http.StatusText(out.code)),
		StatusCode: out.code,
		Proto:      "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        out.header,
		Body:          io.NopCloser(&out.body),
		ContentLength: contentLength(req.Method, &out),
		Request:       req,
	}, nil
}

// contentLength of an answer; that of a HEAD says what a GET would send.
func contentLength(method string, out *answer) int64 {
	if method != http.MethodHead {
		return int64(out.body.Len())
	}
	length, err := strconv.ParseInt(out.header.Get("Content-Length"), 10, 64)
	if err != nil {
		return -1
	}
	return length
}

type answer struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(code int) {
	if a.code == 0 {
		a.code = code
	}
}

func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}
