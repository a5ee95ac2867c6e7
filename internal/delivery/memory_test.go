package delivery_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/source/sourcetest"
)

// TestAHubHoldsNoObjects: what a hub has in memory does not grow with the objects that Packages hold, be they in one Package or in
// many: neither what was rendered, nor what was read to render it, nor the repository that it was read from. It was 2,400 bytes
// for each object; now it is a record of some ten bytes for each file that was read.
func TestAHubHoldsNoObjects(t *testing.T) {
	h := newHub(t)
	eu := h.cluster("eu", nil)
	h.place("prod", eu)
	// deliver has so many packages of so many objects each rendered, and returns how much more is in memory than before.
	deliver := func(name string, packages, objects int) (grown func() int64) {
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
		return func() int64 {
			defer runtime.KeepAlive(files) // they count on both sides
			return heapInUse() - before
		}
	}
	deliver("first", 5, 2) // what is made once
	// 20 bytes were measured for each object of one package, and 5 of ten.
	const perObject = 50
	for _, c := range []struct{ packages, few, many int }{{1, 200, 4000}, {10, 10, 300}} {
		few := lowest(deliver(fmt.Sprintf("few-%d", c.packages), c.packages, c.few), 0)
		more := int64(c.packages * (c.many - c.few))
		most := few + perObject*more
		if many := lowest(deliver(fmt.Sprintf("many-%d", c.packages), c.packages, c.many), most); many > most {
			t.Errorf("%d objects more of %d packages take %d bytes more in memory, want %d each at most", more, c.packages, many-few, perObject)
		}
	}
}

// lowest is the lowest of sixty readings, or the first that is at most enough: what is held for a moment, by whatever is at work meanwhile, does
// not count.
func lowest(read func() int64, enough int64) int64 {
	least := read()
	for range 59 {
		if least <= enough {
			break
		}
		time.Sleep(50 * time.Millisecond)
		least = min(least, read())
	}
	return least
}

func heapInUse() int64 {
	runtime.GC()
	runtime.GC() // what has a finalizer goes in the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
