package kubeproxy

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"testing"
	"time"
)

// Thousands of watches over one connection: each hears of an event, and when they have ended nothing of them is left on
// either end.
func TestManyWatchesLeaveNothing(t *testing.T) {
	const n = 2000
	event := make(chan struct{})
	through := through(t, func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).Flush()
		select {
		case <-event:
			fmt.Fprintln(w, "event")
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
		case <-r.Context().Done():
		}
	})
	before := runtime.NumGoroutine()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var open, heard, running sync.WaitGroup
	for range n {
		open.Add(1)
		heard.Add(1)
		running.Go(func() {
			request := httptest.NewRequest(http.MethodGet, "/api/v1/pods?watch=true", nil).WithContext(ctx)
			watcher := &watcher{header: http.Header{}, open: open.Done, heard: heard.Done}
			if err := Forward(watcher, request, through, alice, "/api/v1/pods"); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		})
	}
	open.Wait()
	close(event)
	heard.Wait()
	stop()
	running.Wait()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		left := runtime.NumGoroutine() - before
		if left < 100 { // a few connections that are kept
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines are left of %d watches", left, n)
		}
	}
}

// watcher is the one who watches: it notes the answer's head, and the first event.
type watcher struct {
	header      http.Header
	open, heard func()
	once        sync.Once
}

func (w *watcher) Header() http.Header { return w.header }
func (w *watcher) WriteHeader(int)     { w.open() }
func (w *watcher) Flush()              {}
func (w *watcher) Write(p []byte) (int, error) {
	w.once.Do(w.heard)
	return len(p), nil
}
