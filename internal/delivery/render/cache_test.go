package render

import (
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"umbel.dev/umbel/internal/delivery/bundle"
	"umbel.dev/umbel/internal/delivery/variable"
)

func newCache(t *testing.T, workers *Workers) *Cache {
	t.Helper()
	cache, err := NewCache(CacheConfig{Dir: filepath.Join(t.TempDir(), "rendered"), Workers: workers})
	if err != nil {
		t.Fatal(err)
	}
	return cache
}

func entriesOf(t *testing.T, r *Rendered) []bundle.Entry {
	t.Helper()
	entries, err := r.For(make([]string, len(r.Variables)))
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

func sourcesOf(c *Cache) [2]int { n := c.Counts(); return [2]int{n.Sources, n.SourcesSaved} }

// TestTheCacheKnowsWhatItWasMadeOf: what was made is used again when, and only when, all that was looked at is the same.
func TestTheCacheKnowsWhatItWasMadeOf(t *testing.T) {
	first := map[string]string{
		"app/kustomization.yaml": "resources: [../base, a.yaml]\nconfigMapGenerator: [{name: g, files: [x.txt]}]\n",
		"app/a.yaml":             config("a"), "app/x.txt": "x", "app/unused.txt": "x",
		"base/kustomization.yaml": "resources: [b.yaml]\n", "base/b.yaml": config("b"),
		"other/c.yaml": config("c"), "plain/d.yaml": config("d"), "plain/README.md": "x",
		"tls/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nresources: [t.yaml]\n", "tls/t.yaml": config("t"),
	}
	for _, tc := range []struct {
		reason, folder, changed, to string
		components                  []string
		saved                       bool
	}{
		{reason: "nothing", folder: "app", saved: true},
		{reason: "a file of another folder", folder: "app", changed: "other/c.yaml", to: config("x"), saved: true},
		{reason: "a file beside it that nobody refers to", folder: "app", changed: "app/unused.txt", to: "y", saved: true},
		{reason: "a manifest", folder: "app", changed: "app/a.yaml", to: config("y")},
		{reason: "a base", folder: "app", changed: "base/b.yaml", to: config("y")},
		{reason: "a file of a generator", folder: "app", changed: "app/x.txt", to: "y"},
		{reason: "a second kustomization file, where there was none", folder: "app", changed: "base/kustomization.yml", to: "resources: []\n"},
		{reason: "other components", folder: "app", components: []string{"../tls"}},
		{reason: "a text beside plain manifests", folder: "plain", changed: "plain/README.md", to: "y", saved: true},
		{reason: "one more file beside plain manifests", folder: "plain", changed: "plain/e.yaml", to: config("e")},
		{reason: "one more folder beside plain manifests", folder: "plain", changed: "plain/e/e.yaml", to: config("e")},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			cache := newCache(t, nil)
			before, err := cache.Folder(tree(first), tc.folder)(Choice{})
			if err != nil {
				t.Fatal(err)
			}
			files := maps.Clone(first)
			if tc.changed != "" {
				files[tc.changed] = tc.to
			}
			after, err := cache.Folder(tree(files), tc.folder)(Choice{Components: tc.components})
			want := [2]int{2, 0}
			if tc.saved {
				want = [2]int{1, 1}
			}
			if got := sourcesOf(cache); got != want {
				t.Errorf("rendered and saved %v, want %v", got, want)
			}
			if err == nil && cmp.Equal(entriesOf(t, before), entriesOf(t, after)) != tc.saved {
				t.Error("it is the result of before, or is not, and should not be, or should")
			}
			if fresh, freshErr := Folder(tree(files), tc.folder)(Choice{Components: tc.components}); (err == nil) != (freshErr == nil) || err == nil && fresh.Len() != after.Len() {
				t.Errorf("by the cache %v, without it %v", err, freshErr)
			}
		})
	}
}

// TestTheCacheKeepsNoFailure: neither an error of a source nor a disk that could not be read.
func TestTheCacheKeepsNoFailure(t *testing.T) {
	cache := newCache(t, nil)
	bad, good := tree(map[string]string{"a.yaml": "kind: {\n"}), tree(map[string]string{"a.yaml": config("a")})
	for i, files := range []fs.FS{bad, bad, unreadable{good, "a.yaml"}, good} {
		if _, err := cache.Folder(files, ".")(Choice{}); (err == nil) != (i == 3) {
			t.Errorf("source %d: %v", i, err)
		}
	}
	if got := sourcesOf(cache); got != [2]int{4, 0} {
		t.Errorf("rendered and saved %v", got)
	}
	if _, err := cache.Folder(unreadable{good, "a.yaml"}, ".")(Choice{}); err == nil || !strings.Contains(err.Error(), "input/output error") {
		t.Errorf("what was read before stands in for what cannot be read: %v", err)
	}
	if _, err := cache.Folder(good, ".")(Choice{}); err != nil || sourcesOf(cache) != [2]int{5, 1} {
		t.Errorf("%v, rendered and saved %v", err, sourcesOf(cache))
	}
}

// TestTheCacheIsBounded: what was used last stays.
func TestTheCacheIsBounded(t *testing.T) {
	cache := newCache(t, nil)
	cache.limit = 8 << 20
	render := func(i int) {
		t.Helper()
		big := config("a") + "data: {x: '" + fmt.Sprint(i%10) + strings.Repeat("x", 1<<20) + "'}\n"
		if _, err := cache.Folder(tree(map[string]string{fmt.Sprintf("f%d/a.yaml", i): big}), fmt.Sprintf("f%d", i))(Choice{}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 12 {
		render(i)
		render(0)
	}
	if files := kept(t, cache); cache.bytes > cache.limit || cache.order.Len() > 8 || len(cache.results) != cache.order.Len() || len(files) != cache.order.Len() {
		t.Errorf("it keeps %d bytes in %d results of %d folders, and %d files", cache.bytes, cache.order.Len(), len(cache.results), len(files))
	}
	if got := sourcesOf(cache); got[0] != 12 {
		t.Errorf("rendered and saved %v: the one that is used all the time went", got)
	}
	for i := range 10 {
		files := tree(map[string]string{"a.yaml": config(fmt.Sprintf("a%d", i))})
		if _, err := cache.Folder(files, ".")(Choice{}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(cache.results) - 1 + cacheKept; cache.order.Len() != n {
		t.Errorf("%d results are kept, want %d of one folder among %d", cache.order.Len(), cacheKept, n)
	}
}

// TestOutputsAreRemembered by their place, their values and all that they were made of, as long as they are there.
func TestOutputsAreRemembered(t *testing.T) {
	cache := newCache(t, nil)
	files := fstest.MapFS{"a.yaml": {Data: []byte(config("a") + "data: {x: '${cluster.name} ${package.variables.v:-0}'}\n")}}
	made, there := 0, true
	ask := func(place, cluster string, variables map[string]any) Output {
		t.Helper()
		f, err := Variants(cache.Folder(files, "."), []Variant{{Choice: Choice{Variables: variables}}}, []variable.Cluster{{Name: "c"}})
		if err != nil {
			t.Fatal(err)
		}
		output, err := cache.Output(f, []string{cluster}, place, func(Output) (bool, error) { return there, nil }, func() (Output, error) {
			made++
			return Output{Digest: fmt.Sprint(made)}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return output
	}
	first := ask("p", "a", nil)
	for i, other := range []Output{
		ask("p", "b", nil), ask("q", "a", nil), ask("p", "a", map[string]any{"v": "1"}), ask("p", "a", map[string]any{"v": true}),
	} {
		if other.Digest != fmt.Sprint(i+2) {
			t.Errorf("output %d is another one's: %v", i, other)
		}
	}
	if again := ask("p", "a", nil); again != first {
		t.Errorf("got %v, want %v", again, first)
	}
	there = false
	if again := ask("p", "a", nil); again == first {
		t.Error("what is not there any more was not made again")
	}
	if got := cache.Counts(); got.Outputs != 6 || got.OutputsSaved != 1 || got.Sources != 1 {
		t.Errorf("counts %+v", got)
	}
}
