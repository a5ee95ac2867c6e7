package gateway

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// A request whose connection was taken over is waited for too, and none begins after that.
func TestRequestsThatWereTakenOverAreWaitedFor(t *testing.T) {
	var serving requests
	taken, end := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(serving.counted(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/lasts" {
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
		}
		defer conn.Close()
		close(taken)
		<-end
	})))
	defer server.Close()
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		if answer, err := http.Get(server.URL + "/lasts"); err == nil {
			answer.Body.Close()
		}
	}()
	<-taken
	waited := make(chan struct{})
	go func() {
		defer close(waited)
		serving.Wait()
	}()
	for { // until it waits
		answer, err := http.Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		if answer.StatusCode == http.StatusServiceUnavailable {
			break
		}
	}
	select {
	case <-waited:
		t.Fatal("it did not wait")
	default:
	}
	close(end)
	<-waited
	<-answered
}
