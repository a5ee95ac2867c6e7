package kubeproxy

import (
	"net/http"
	"net/http/httputil"
	"sync"
)

// buffers lends what answers are copied with. A request that lasts holds its buffer all the time, so a watch, whose events
// are small and come one by one, has a small one.
type buffers struct {
	size int
	free sync.Pool
}

// A chunk of what a large one holds is a frame of the tunnel, with what HTTP puts around it.
var small, large = &buffers{size: 4 << 10}, &buffers{size: 64<<10 - 64}

// buffersFor returns what the answer of a request is copied with.
func buffersFor(r *http.Request) httputil.BufferPool {
	// As the API server reads it.
	if watch := r.URL.Query().Get("watch"); watch == "true" || watch == "1" {
		return small
	}
	return large
}

// Get implements httputil.BufferPool.
func (b *buffers) Get() []byte {
	if free, ok := b.free.Get().(*[]byte); ok {
		return *free
	}
	return make([]byte, b.size)
}

// Put implements httputil.BufferPool.
func (b *buffers) Put(buffer []byte) { b.free.Put(&buffer) }
