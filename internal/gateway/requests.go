package gateway

import (
	"net/http"
	"sync"

	"umbel.dev/umbel/internal/tunnel/kubeproxy"
)

// requests are those that are being served. An http.Server forgets a request whose connection was taken over, as by an exec,
// and does not wait for the others when it is closed. The zero value is ready for use.
type requests struct {
	mu      sync.Mutex
	ended   bool
	running sync.WaitGroup
}

// counted serves as next does, until Wait was called.
func (q *requests) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q.mu.Lock()
		if q.ended {
			q.mu.Unlock()
			kubeproxy.WriteError(w, http.StatusServiceUnavailable, "this hub is ending; try again")
			return
		}
		q.running.Add(1)
		q.mu.Unlock()
		defer q.running.Done()
		next.ServeHTTP(w, r)
	})
}

// Wait has no more begin, and waits for those that have.
func (q *requests) Wait() {
	q.mu.Lock()
	q.ended = true
	q.mu.Unlock()
	q.running.Wait()
}
