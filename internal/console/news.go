package console

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	kubecache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
)

const (
	// newsEvery is how often a browser is told what has changed, at most.
	newsEvery = time.Second
	// aliveEvery is how often it hears something, lest somebody between them take the connection for dead.
	aliveEvery = 20 * time.Second
	// maxNews is how many names of a kind are told one by one: beyond that, all of them may have changed.
	maxNews = 200
)

// followed are the kinds that a browser hears of, by the resource that somebody has to be allowed to list.
var followed = map[string]client.Object{
	"memberclusters": &v1alpha1.MemberCluster{}, "packages": &v1alpha1.Package{}, "placements": &v1alpha1.Placement{},
	"rollouts": &v1alpha1.Rollout{}, "releases": &v1alpha1.Release{},
}

// Delta says what has changed since the one before: names by resource, as NAMESPACE/NAME or NAME. An empty list says that all may have.
type Delta map[string][]string

// news tells every browser which objects have changed.
type news struct {
	mu        sync.Mutex
	listeners map[*listener]bool
}

// listener is one browser: what it has not been told yet.
type listener struct {
	changed map[string]map[string]bool
}

func newNews() *news { return &news{listeners: map[*listener]bool{}} }

// watch hears of all changes in the cache.
func (n *news) watch(ctx context.Context, informers cache.Cache) error {
	for resource, kind := range followed {
		informer, err := informers.GetInformer(ctx, kind, cache.BlockUntilSynced(false))
		if err != nil {
			return fmt.Errorf("following %s for the console: %w", resource, err)
		}
		told := func(o any) {
			if gone, ok := o.(kubecache.DeletedFinalStateUnknown); ok {
				o = gone.Obj
			}
			if object, ok := o.(client.Object); ok {
				n.tell(resource, keyOf(object))
			}
		}
		_, err = informer.AddEventHandler(kubecache.ResourceEventHandlerFuncs{
			AddFunc: told, DeleteFunc: told,
			UpdateFunc: func(was, now any) {
				before, ok := was.(client.Object)
				after, also := now.(client.Object)
				if !ok || !also || before.GetResourceVersion() != after.GetResourceVersion() { // not when a list is read again
					told(now)
				}
			},
		})
		if err != nil {
			return fmt.Errorf("following %s for the console: %w", resource, err)
		}
	}
	return nil
}

func keyOf(o client.Object) string {
	if o.GetNamespace() == "" {
		return o.GetName()
	}
	return o.GetNamespace() + "/" + o.GetName()
}

func (n *news) tell(resource, key string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for l := range n.listeners {
		if l.changed[resource] == nil {
			l.changed[resource] = map[string]bool{}
		}
		if len(l.changed[resource]) <= maxNews {
			l.changed[resource][key] = true
		}
	}
}

func (n *news) listen() (*listener, func()) {
	l := &listener{changed: map[string]map[string]bool{}}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listeners[l] = true
	return l, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.listeners, l)
	}
}

// take returns what a browser has not been told, of the resources that it may hear of.
func (n *news) take(l *listener, of map[string]bool) Delta {
	n.mu.Lock()
	defer n.mu.Unlock()
	delta := Delta{}
	for resource, names := range l.changed {
		if !of[resource] {
			continue
		}
		delta[resource] = []string{}
		if len(names) <= maxNews {
			delta[resource] = slices.Sorted(maps.Keys(names))
		}
	}
	clear(l.changed)
	return delta
}

// serveStream tells a browser what changes, as server-sent events, until its session ends: one stream for all that it shows.
func (c *Console) serveStream(w http.ResponseWriter, r *http.Request, s *session) {
	l, end := c.news.listen()
	defer end()
	w.Header().Set("Content-Type", "text/event-stream")
	to := http.NewResponseController(w)
	tick := time.NewTicker(newsEvery)
	defer tick.Stop()
	said, asked := c.Now(), time.Time{}
	of := map[string]bool{}
	fmt.Fprint(w, "retry: 2000\n\n: hello\n\n")
	if to.Flush() != nil {
		return
	}
	for {
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
		}
		if _, err := c.open(r); err != nil {
			fmt.Fprint(w, "event: over\ndata: {}\n\n")
			to.Flush() //nolint:errcheck // it ends here
			return
		}
		now := c.Now()
		if now.Sub(asked) > time.Minute { // what somebody may see changes seldom
			for resource := range followed {
				may, err := c.may(r.Context(), s, "list", resource, "", "")
				of[resource] = err == nil && may
			}
			asked = now
		}
		delta := c.news.take(l, of)
		switch {
		case len(delta) > 0:
			raw, err := json.Marshal(delta)
			if err != nil {
				return
			}
			fmt.Fprintf(w, "data: %s\n\n", raw)
		case now.Sub(said) >= aliveEvery:
			fmt.Fprint(w, ": still here\n\n")
		default:
			continue
		}
		said = now
		if to.Flush() != nil {
			return
		}
	}
}
