package fakekube

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
)

// slow is how many bytes a watcher may be behind; then its watch ends, as the real one does.
const slow = 1 << 20

// watcher is the body of a watch's answer: events as JSON, one after the other. Reading blocks until there is one.
type watcher struct {
	which    selection
	metadata bool // alone
	leave    func()

	mu    sync.Mutex
	ready *sync.Cond
	bytes []byte
	over  bool
	err   error // of reading what comes after bytes
}

// from says where a watch begins: at a version, or with what is there when the version is empty or initial is set.
type from struct {
	version string
	initial bool // ends what is there with a bookmark
	timeout time.Duration
}

// watch begins a watch, which ends with ctx or its timeout.
func (s *store) watch(ctx context.Context, which selection, metadata bool, begin from) (*watcher, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := &watcher{which: which, metadata: metadata}
	w.ready = sync.NewCond(&w.mu)
	version, err := strconv.ParseUint(begin.version, 10, 64)
	whole := begin.initial || begin.version == "" || begin.version == "0"
	switch {
	case whole:
		for _, o := range s.selected(which) {
			w.send(watch.Added, o)
		}
	case err != nil:
		return nil, apierrors.NewBadRequest(fmt.Sprintf("resourceVersion %q is not a number", begin.version))
	case version < s.oldest():
		return nil, apierrors.NewResourceExpired(fmt.Sprintf("too old resource version: %d (%d)", version, s.oldest()))
	default:
		for _, e := range s.history {
			if e.version > version {
				s.tell(w, e)
			}
		}
	}
	if begin.initial {
		mark := &unstructured.Unstructured{Object: map[string]any{}}
		mark.SetGroupVersionKind(which.resource.GroupVersionKind)
		mark.SetResourceVersion(strconv.FormatUint(s.version, 10))
		mark.SetAnnotations(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
		w.send(watch.Bookmark, mark)
	}
	s.watchers[w] = struct{}{}
	w.leave = func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watchers, w)
	}
	ended := context.AfterFunc(ctx, func() { w.end(ctx.Err()) })
	expiry := time.AfterFunc(begin.timeout, func() { w.end(io.EOF) })
	leave := w.leave
	w.leave = func() { ended(); expiry.Stop(); leave() }
	return w, nil
}

// tell sends an event to a watcher that it concerns. The caller holds the store's mu.
func (s *store) tell(w *watcher, e event) {
	if kind, o := w.which.seen(e); o != nil {
		w.send(kind, o)
	}
}

func (w *watcher) send(kind watch.EventType, o *unstructured.Unstructured) {
	frame := mustJSON(map[string]any{"type": kind, "object": shape(o, w.metadata)})
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return
	}
	w.bytes = append(append(w.bytes, frame...), '\n')
	if len(w.bytes) > slow {
		w.over, w.err = true, io.ErrUnexpectedEOF
	}
	w.ready.Broadcast()
}

func (w *watcher) end(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over {
		w.over, w.err = true, err
	}
	w.ready.Broadcast()
}

// Read implements io.Reader.
func (w *watcher) Read(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.bytes) == 0 && !w.over {
		w.ready.Wait()
	}
	if len(w.bytes) == 0 {
		return 0, w.err
	}
	n := copy(p, w.bytes)
	if w.bytes = w.bytes[n:]; len(w.bytes) == 0 {
		w.bytes = nil
	}
	return n, nil
}

// Close implements io.Closer.
func (w *watcher) Close() error {
	w.end(io.EOF)
	w.leave()
	return nil
}
