package delivery_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/source/sourcetest"
)

// TestAHubHoldsNoObjects: what a hub has in memory does not grow with the objects that Packages hold, be they in one Package or in
// many: neither what was rendered, nor what was read to render it, nor the repository that it was read from. It was 2,400 bytes
// for each object.
func TestAHubHoldsNoObjects(t *testing.T) {
	h := newHub(t)
	eu := h.cluster("eu", nil)
	h.place("prod", eu)
	heap := func(name string, packages, objects int) (grown int64) {
		t.Helper()
		repo, files := sourcetest.New(t), map[string]string{}
		for p := range packages {
			for i := range objects {
				files[fmt.Sprintf("%s-%d/object-%06d.yaml", name, p, i)] = configMap(fmt.Sprintf("o%d", i), strings.Repeat("x", 600))
			}
		}
		repo.Commit(files)
		before := heapInUse()
		for p := range packages {
			key := fmt.Sprintf("%s-%d", name, p)
			h.create(key, repo.URL(), key, "prod")
		}
		for p := range packages {
			key := fmt.Sprintf("%s-%d", name, p)
			h.waitFor(key, v1alpha1.ConditionRendered, "True Rendered", fmt.Sprintf("%d objects", objects))
		}
		grown = heapInUse() - before
		runtime.KeepAlive(files) // they count on both sides
		return grown
	}
	heap("first", 5, 2) // what is made once
	const perObject = 500
	few, many := heap("few", 1, 200), heap("many", 1, 4000)
	if grown := many - few; grown > perObject*3800 {
		t.Errorf("3,800 objects more of a Package take %d bytes more in memory, want %d each at most", grown, perObject)
	}
	few, many = heap("small", 10, 10), heap("large", 10, 300)
	if grown := many - few; grown > perObject*2900 {
		t.Errorf("2,900 objects more of ten Packages take %d bytes more in memory, want %d each at most", grown, perObject)
	}
}

func heapInUse() int64 {
	runtime.GC()
	runtime.GC() // what has a finalizer goes in the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
