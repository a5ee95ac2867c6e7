package gateway

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"umbel.dev/umbel/api/v1alpha1"
)

// turnstile lets writes of a status through together, once there are enough of them.
type turnstile struct {
	http.RoundTripper
	enough int
	open   chan struct{}

	mu      sync.Mutex
	waiting int
}

func (s *turnstile) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPatch && strings.HasSuffix(r.URL.Path, "/status") {
		s.mu.Lock()
		if s.waiting++; s.waiting == s.enough {
			close(s.open)
		}
		s.mu.Unlock()
		select {
		case <-s.open:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	return s.RoundTripper.RoundTrip(r)
}

func TestStatusesOfManyMembersAreWrittenAtOnce(t *testing.T) {
	h := newHub(t)
	h.stop()
	h.address = "127.0.0.1:0" // the hub may not have begun yet, and then it keeps its address until the test ends
	names := []v1alpha1.ClusterName{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p"}
	for _, name := range names {
		h.invite(name, time.Now().Add(time.Hour))
	}
	gate := &turnstile{enough: len(names), open: make(chan struct{})}
	h.api = rest.CopyConfig(h.api)
	h.api.Wrap(func(next http.RoundTripper) http.RoundTripper {
		gate.RoundTripper = next
		return gate
	})
	h.start()
	select {
	case <-gate.open:
	case <-time.After(30 * time.Second):
		t.Errorf("%d statuses are on their way to a slow API at once, of %d that are to be written", gate.waiting, len(names))
	}
}
