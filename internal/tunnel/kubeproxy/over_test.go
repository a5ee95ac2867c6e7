package kubeproxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// waiting is a way to a member that does not answer.
type waiting chan struct{}

func (w waiting) RoundTrip(r *http.Request) (*http.Response, error) {
	close(w)
	<-r.Context().Done()
	return nil, errors.New("the tunnel ended")
}

// When a hub ends, requests that wait for their answer end with an error: an empty answer would pass for all there is.
func TestAHubThatEndsAnswersNothing(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		ctx, end := context.WithCancel(t.Context())
		asked := make(waiting)
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := Forward(w, r, asked, alice, "/api"); err != nil {
				t.Error(err)
			}
		}))
		server.EnableHTTP2 = http2
		server.Config.BaseContext = func(net.Listener) context.Context { return ctx }
		server.StartTLS()
		go func() {
			<-asked
			end()
		}()
		answer, err := server.Client().Get(server.URL + "/api")
		if err == nil {
			body, _ := io.ReadAll(answer.Body)
			answer.Body.Close()
			t.Errorf("HTTP/2 %t: the answer was %s, %q", http2, answer.Status, body)
		}
		server.Close()
	}
}
