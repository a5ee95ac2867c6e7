package kubeproxy

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

type answering func(w http.ResponseWriter)

func (a answering) RoundTrip(*http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	a(w)
	return w.Result(), nil
}

// TestAHistoryIsOfAnAgent: its answers come through, and what others answer in its place is told apart.
func TestAHistoryIsOfAnAgent(t *testing.T) {
	says := func(code int, text string) answering {
		return func(w http.ResponseWriter) { WriteError(w, code, text) }
	}
	typed := func(contentType, text string) answering {
		return func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", contentType)
			io.WriteString(w, text) //nolint:errcheck // a recorder takes all
		}
	}
	for _, c := range []struct {
		reason string
		from   answering
		older  bool
		want   string // of the answer, or of the error
	}{
		{"the agent", typed(HistoryType, "{}\n"), false, "{}\n"},
		{"the agent, of a bad question", says(http.StatusBadRequest, "no time"), false, "no time"},
		{"a replica that does not have it any more", says(http.StatusServiceUnavailable, "it is changing over"), false, "changing over"},
		{"an API server that forbids it", says(http.StatusForbidden, "hub:system:umbel:hub cannot get path"), true, ""},
		{"an API server that lets everybody do all", says(http.StatusNotFound, "the server could not find it"), true, ""},
		{"an API server that answers anything", typed("text/html", "hello"), true, ""},
		{"a replica that does not know the one that asks", says(http.StatusUnauthorized, "this path is for replicas of the hub"), false, "refused: this path is for replicas"},
		{"somebody who says no more", func(w http.ResponseWriter) { w.WriteHeader(http.StatusUnauthorized) }, false, "refused: 401 Unauthorized"},
	} {
		answer, err := FromAgent{c.from}.RoundTrip(httptest.NewRequest(http.MethodGet, HistoryPath, nil))
		if errors.Is(err, ErrOlder) != c.older {
			t.Errorf("%s: got %v, want that it is an older agent: %t", c.reason, err, c.older)
		}
		var got string
		if err != nil {
			got = err.Error()
		} else {
			text, err := io.ReadAll(answer.Body)
			if err != nil {
				t.Fatal(err)
			}
			got = string(text)
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.reason, got, c.want)
		}
	}
}
