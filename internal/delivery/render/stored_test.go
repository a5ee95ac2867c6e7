package render

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// kept are the files of a cache.
func kept(t *testing.T, cache *Cache) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(cache.config.Dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func mustRender(t *testing.T, cache *Cache, files map[string]string, folder string) *Rendered {
	t.Helper()
	rendered, err := cache.Folder(tree(files), folder)(Choice{})
	if err != nil {
		t.Fatal(err)
	}
	return rendered
}

// TestWhatIsKeptComesBackTheSame: objects with variables and without, selectors, numbers beyond what a float64 holds, what an error
// names a place by, and who refers to a variable.
func TestWhatIsKeptComesBackTheSame(t *testing.T) {
	files := map[string]string{
		"a.yaml": config("a") + "---\n" + config("b") + "data: {n: '1'}\nx: {i: 9007199254740993, f: 1.50, html: '<&>', none: null, list: []}\n",
		"b.yaml": config("c") + "data: {x: '${cluster.labels.region}', i: 9007199254740993}\n",
		"c.yaml": annotated("ConfigMap", "d", "umbel.dev/cluster-selector: env=prod", "data: {x: '${cluster.name} ${package.variables.v:-0}'}\n"),
	}
	cache := newCache(t, nil)
	want, got := mustRender(t, cache, files, "."), mustRender(t, cache, files, ".")
	if sourcesOf(cache) != [2]int{1, 1} {
		t.Fatalf("rendered and saved %v", sourcesOf(cache))
	}
	if want.origin == "" || got.origin != want.origin {
		t.Errorf("made of %q, want %q", got.origin, want.origin)
	}
	for i, name := range want.Variables {
		if got.Variables[i] != name || got.File(name) != want.File(name) || got.File(name) == "" {
			t.Errorf("variable %q of %q, want %q of %q", got.Variables[i], got.File(name), name, want.File(name))
		}
	}
	for i, o := range want.objects {
		if got.objects[i].place != o.place || got.objects[i].id != o.id || (got.objects[i].raw == nil) != (o.raw == nil) {
			t.Errorf("object %d is %+v, want %+v", i, got.objects[i], o)
		}
	}
	for _, prod := range []string{"true", "false"} {
		values := make([]string, len(want.Variables))
		for i, name := range want.Variables {
			if values[i] = "eu"; strings.HasPrefix(name, "cluster.matches") {
				values[i] = prod
			}
		}
		one, err := want.For(values)
		if err != nil {
			t.Fatal(err)
		}
		other, err := got.For(values)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(one, other); diff != "" {
			t.Errorf("env=prod %s (-rendered +kept):\n%s", prod, diff)
		}
	}
}

// TestAFileThatSuffered is rendered anew: nothing else is ever served for it, and no error comes of it.
func TestAFileThatSuffered(t *testing.T) {
	mine, others := map[string]string{"a.yaml": config("a") + "data: {x: '${cluster.name}'}\n", "b.yaml": config("b")}, map[string]string{"a.yaml": config("z")}
	rewrite := func(change func([]byte) []byte) func(*testing.T, string, []string) {
		return func(t *testing.T, path string, _ []string) {
			raw, err := os.ReadFile(path)
			if err == nil {
				err = os.WriteFile(path, change(raw), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	damages := map[string]func(*testing.T, string, []string){
		"removed":   func(t *testing.T, path string, _ []string) { must(t, os.Remove(path)) },
		"emptied":   rewrite(func([]byte) []byte { return nil }),
		"cut short": rewrite(func(raw []byte) []byte { return raw[:len(raw)-1] }),
		"longer":    rewrite(func(raw []byte) []byte { return append(raw, 0) }),
		"zeroes":    rewrite(func(raw []byte) []byte { return make([]byte, len(raw)) }),
		"garbage":   rewrite(func(raw []byte) []byte { return bytes.Repeat([]byte{0xff}, len(raw)) }),
		"another object": rewrite(func(raw []byte) []byte {
			return bytes.Replace(raw, []byte(`"name":"b"`), []byte(`"name":"c"`), 1)
		}),
		"a folder": func(t *testing.T, path string, _ []string) { must(t, os.Remove(path)); must(t, os.Mkdir(path, 0o700)) },
		"the file of another result": func(t *testing.T, path string, all []string) {
			for _, other := range all {
				if other != path {
					must(t, os.Rename(other, path))
				}
			}
		},
		"a link to the file of another result": func(t *testing.T, path string, all []string) {
			for _, other := range all {
				if other != path {
					must(t, os.Remove(path))
					must(t, os.Symlink(other, path))
				}
			}
		},
		"without its folder": func(t *testing.T, path string, _ []string) { must(t, os.RemoveAll(filepath.Dir(path))) },
	}
	for reason, damage := range damages {
		t.Run(reason, func(t *testing.T) {
			var said bytes.Buffer
			cache := newCache(t, nil)
			cache.config.Log = slog.New(slog.NewTextHandler(&said, nil))
			want := entriesOf(t, mustRender(t, cache, mine, "."))
			path := kept(t, cache)[0]
			mustRender(t, cache, others, ".")
			damage(t, path, kept(t, cache))
			if diff := cmp.Diff(want, entriesOf(t, mustRender(t, cache, mine, "."))); diff != "" {
				t.Errorf("something else is served:\n%s", diff)
			}
			if sourcesOf(cache) != [2]int{3, 0} || !strings.Contains(said.String(), "is rendered anew") {
				t.Errorf("rendered and saved %v, and said %q", sourcesOf(cache), said.String())
			}
			if reason == "without its folder" {
				return // then nothing can be kept any more
			}
			if mustRender(t, cache, mine, "."); sourcesOf(cache) != [2]int{3, 1} {
				t.Errorf("after that: rendered and saved %v", sourcesOf(cache))
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestTheFolderOfACache is its own: what stood there goes, and two that were given the same one by mistake render more often, and
// nothing else.
func TestTheFolderOfACache(t *testing.T) {
	files := map[string]string{"a.yaml": config("a")}
	first := newCache(t, nil)
	want := entriesOf(t, mustRender(t, first, files, "."))
	must(t, os.WriteFile(filepath.Join(first.config.Dir, "garbage"), []byte("x"), 0o600))
	second, err := NewCache(CacheConfig{Dir: first.config.Dir})
	must(t, err)
	if left := kept(t, second); len(left) > 0 {
		t.Errorf("%v stayed", left)
	}
	for _, cache := range []*Cache{second, first, second, first} {
		if diff := cmp.Diff(want, entriesOf(t, mustRender(t, cache, files, "."))); diff != "" {
			t.Error(diff)
		}
	}
	if sourcesOf(first) != [2]int{2, 1} || sourcesOf(second) != [2]int{1, 1} {
		t.Errorf("rendered and saved %v and %v", sourcesOf(first), sourcesOf(second))
	}
}

// TestTheCacheHoldsNoObjects: what it has in memory does not grow with the objects that it keeps, nor with what they say. Each was
// 900 bytes and more when it was held.
func TestTheCacheHoldsNoObjects(t *testing.T) {
	const few, many, perObject = 200, 4000, 60
	heap := func(cache *Cache, n int) int64 {
		files := map[string]string{}
		for i := range n {
			files[fmt.Sprintf("app-%d/object-%06d.yaml", n, i)] = config(fmt.Sprintf("o%d", i)) + "data: {x: '" + strings.Repeat("x", 600) + "'}\n"
		}
		before := heapInUse()
		mustRender(t, cache, maps.Clone(files), fmt.Sprintf("app-%d", n))
		grown := heapInUse() - before
		runtime.KeepAlive(files)
		return grown
	}
	cache := newCache(t, workers(t, testLimits))
	heap(cache, 10) // what is made once
	small := heap(cache, few)
	large := heap(cache, many)
	if grown := large - small; grown > perObject*(many-few) {
		t.Errorf("%d objects more take %d bytes more in memory, want %d each at most", many-few, grown, perObject)
	}
	if mustRender(t, cache, map[string]string{"app-1/a.yaml": config("a")}, "app-1"); sourcesOf(cache)[0] != 4 {
		t.Error("it did not render what it was to")
	}
}

func heapInUse() int64 {
	runtime.GC()
	runtime.GC() // what has a finalizer goes in the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
