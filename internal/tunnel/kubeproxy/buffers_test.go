package kubeproxy

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestWatchesHoldSmallBuffers(t *testing.T) {
	for query, want := range map[string]int{
		"": 64<<10 - 64, "watch=true": 4 << 10, "watch=1&resourceVersion=5": 4 << 10, "watch=false": 64<<10 - 64, "follow=true": 64<<10 - 64,
	} {
		pool := buffersFor(httptest.NewRequest(http.MethodGet, "/api/v1/pods?"+query, nil))
		for range 2 { // a new one, and one that was used
			buffer := pool.Get()
			if len(buffer) != want {
				t.Errorf("%q: a buffer of %d bytes, want %d", query, len(buffer), want)
			}
			pool.Put(buffer)
		}
	}
}
