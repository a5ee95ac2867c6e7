package preview

import (
	"context"
	"maps"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/dynamic"
)

// place is where objects of a kind are: a namespace, or none.
type place struct {
	namespace string
	resource  schema.GroupVersionResource
}

// Of so many objects of a content in one place it is asked in one list which are there, unless the list would be longer than so many
// pages: others may have far more there. The names alone come.
const (
	listFrom   = 10
	listPage   = 500
	listPages  = 4  // and more, the more objects are looked for:
	listForOne = 10 // a page costs about as much as it does to ask for so many objects
)

// recent is how long what one look found serves the next trusting ones: many packages are often looked at at once. What happens meanwhile
// could as well happen just after a look.
const recent = time.Second

// listings are what there is in places, as far as it was asked lately.
type listings struct {
	keep time.Duration // how long what was found is believed

	mu sync.Mutex
	of map[place]listing
}

type listing struct {
	since time.Time
	names func() sets.Set[string]
}

// names returns the names of the objects in a place, as they were at most a moment ago; ask is how to find out.
func (l *listings) names(in place, now time.Time, ask func() sets.Set[string]) sets.Set[string] {
	l.mu.Lock()
	found, known := l.of[in]
	if !known || now.Sub(found.since) > l.keep || now.Before(found.since) {
		found = listing{since: now, names: sync.OnceValue(ask)}
		l.of[in] = found
		time.AfterFunc(l.keep, l.sweep)
	}
	l.mu.Unlock()
	return found.names()
}

// sweep drops what is not believed any more: there may be thousands of names in a place, and an agent looks ahead seldom.
func (l *listings) sweep() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(l.of, func(_ place, old listing) bool { return now.Sub(old.since) >= l.keep })
}

func (l *listings) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.of)
}

// ground is what is known of a place.
type ground struct {
	wanted int // objects of the content in it
	// names are those of the objects in it; nil when that is not known. It asks the first time that it is called.
	names func() sets.Set[string]

	mu    sync.Mutex
	tried int // objects that are not there, and of which the API server was asked whether it would take them
	// unborn: its namespace comes with the content and is not on the member, so that nothing can be in it. An API server lets each request into
	// such a namespace wait for 50 ms, and no more is asked of a place once one answer has said so.
	unborn bool
}

// survey notes that an object of the content is in a place.
func (l *look) survey(ctx context.Context, in place) {
	g := l.grounds[in]
	if g == nil {
		g = &ground{}
		g.names = sync.OnceValue(func() sets.Set[string] {
			if g.wanted < listFrom {
				return nil
			}
			ask := func() sets.Set[string] { return l.list(ctx, in, g.wanted) }
			if !l.trusts {
				return ask()
			}
			return l.listings.names(in, time.Now(), ask)
		})
		l.grounds[in] = g
	}
	g.wanted++
}

// list returns the names of the objects in a place; nil when that is too much to ask for so many objects, or is not answered: whoever may get objects
// may not be one who may list them.
func (l *look) list(ctx context.Context, in place, wanted int) sets.Set[string] {
	names, at := sets.Set[string]{}, l.metadata.Resource(in.resource).Namespace(in.namespace)
	next := metav1.ListOptions{Limit: listPage}
	for range listPages + wanted/listForOne {
		page, err := at.List(ctx, next)
		if err != nil {
			return nil
		}
		for i := range page.Items {
			names.Insert(page.Items[i].Name)
		}
		if next.Continue = page.Continue; next.Continue == "" {
			return names
		}
	}
	return nil
}

func (g *ground) isUnborn() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.unborn
}

func (g *ground) noteUnborn() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.unborn = true
}

// few is how many objects that are not there are tried in each place where that is enough.
const few = 4

// enough says whether a few objects that are not there were tried. It counts those that are.
func (g *ground) enough() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tried++
	return g.tried > few
}

// find returns an object as it is; nil when there is none. One that the package is known to hold may be younger than the list.
func (g *ground) find(ctx context.Context, at dynamic.ResourceInterface, name string, held bool) (*unstructured.Unstructured, error) {
	if g.isUnborn() {
		return nil, nil
	}
	if !held {
		if names := g.names(); names != nil && !names.Has(name) {
			return nil, nil
		}
	}
	now, err := at.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return now, err
}
