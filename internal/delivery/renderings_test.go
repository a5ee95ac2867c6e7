package delivery

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/decide"
)

// TestRenderings: a bounded number is under way, the others are called in their order, and a place that is not taken goes on to the
// next.
func TestRenderings(t *testing.T) {
	asked := make(chan v1alpha1.PackageKey, 100)
	r := newRenderings(2, func(key v1alpha1.PackageKey) { asked <- key })
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := r.Start(ctx); err != nil {
			t.Error(err)
		}
	})
	defer running.Wait()
	defer cancel()
	ends := map[v1alpha1.PackageKey]chan struct{}{}
	begin := func(key v1alpha1.PackageKey) bool {
		end := make(chan struct{})
		if !r.begin(key, func(context.Context) { <-end }) {
			return false
		}
		ends[key] = end
		return true
	}
	var log []string
	note := func(format string, args ...any) { log = append(log, fmt.Sprintf(format, args...)) }
	for _, key := range []v1alpha1.PackageKey{"a", "b", "c", "d", "c", "e", "a"} {
		note("%s begins: %v", key, begin(key))
	}
	close(ends["a"])
	note("asked for %s and %s", <-asked, <-asked) // the next one, and the one that ended
	note("e begins, in a pass before it is called: %v", begin("e"))
	note("c begins: %v, and is under way: %v", begin("c"), r.under("c"))
	close(ends["b"])
	note("asked for %s and %s", <-asked, <-asked)
	r.pass("a") // which has no place
	r.pass("d") // whose pass found nothing to render
	note("asked for %s", <-asked)
	note("e begins: %v", begin("e"))
	close(ends["c"])
	close(ends["e"])
	last := map[v1alpha1.PackageKey]bool{<-asked: true, <-asked: true}
	note("asked for c: %v, for e: %v", last["c"], last["e"])
	note("d begins: %v", begin("d"))
	close(ends["d"])
	note("asked for %s", <-asked)
	want := []string{
		"a begins: true", "b begins: true", "c begins: false", "d begins: false", "c begins: false", "e begins: false", "a begins: false",
		"asked for c and a",
		"e begins, in a pass before it is called: false",
		"c begins: true, and is under way: true",
		"asked for d and b",
		"asked for e",
		"e begins: true",
		"asked for c: true, for e: true",
		"d begins: true",
		"asked for d",
	}
	if diff := cmp.Diff(want, log); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestAReleaseAtOneBaseIsNotWidenedByAnother: what only the current Release has is put with what was rendered where both are of the very same,
// the commits of remote bases included.
func TestAReleaseAtOneBaseIsNotWidenedByAnother(t *testing.T) {
	at := func(commit string, variants ...v1alpha1.Variant) v1alpha1.ReleaseSpec {
		return v1alpha1.ReleaseSpec{Source: v1alpha1.Source{Git: &v1alpha1.GitSource{URL: "https://git.example.com/fleet"}}, Revision: "r", Variables: []string{"region"}, Variants: variants,
			RemoteBases: []v1alpha1.ReleasedBase{{URL: "https://git.example.com/web", Ref: "v1", Commit: commit}}}
	}
	eu, us := v1alpha1.Variant{Values: []string{"eu"}, Digest: "sha256:1"}, v1alpha1.Variant{Values: []string{"us"}, Digest: "sha256:2"}
	for commit, want := range map[string]int{"a": 2, "b": 1} {
		v := &visit{memo: &memo{}, seen: decide.Seen{Release: &v1alpha1.Release{Spec: at("a", eu, us)}}}
		spec := at(commit, eu)
		if v.has(&spec, true); len(spec.Variants) != want {
			t.Errorf("at commit %s of the base it has %v, want %d", commit, spec.Variants, want)
		}
	}
}
