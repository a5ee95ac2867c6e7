package delivery

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"umbel.dev/umbel/api/v1alpha1"
)

func TestReleaseName(t *testing.T) {
	spec := func(change func(*v1alpha1.ReleaseSpec)) v1alpha1.ReleaseSpec {
		s := release("", []string{"cluster.name"}, []string{"a"}).Spec
		s.PackageRef.Name = "shop"
		change(&s)
		return s
	}
	name := func(s v1alpha1.ReleaseSpec) string {
		n, err := releaseName(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	first := name(spec(func(*v1alpha1.ReleaseSpec) {}))
	if again := name(spec(func(*v1alpha1.ReleaseSpec) {})); again != first || !strings.HasPrefix(first, "shop-") || len(first) != len("shop-")+8 {
		t.Errorf("names %q and %q", first, again)
	}
	for reason, change := range map[string]func(*v1alpha1.ReleaseSpec){
		"another revision":        func(s *v1alpha1.ReleaseSpec) { s.Revision = "other" },
		"another digest":          func(s *v1alpha1.ReleaseSpec) { s.Variants[0].Digest = "sha256:other" },
		"other values":            func(s *v1alpha1.ReleaseSpec) { s.Variants[0].Values = []string{"b"} },
		"one more variant":        func(s *v1alpha1.ReleaseSpec) { s.Variants = append(s.Variants, v1alpha1.Variant{}) },
		"other variables":         func(s *v1alpha1.ReleaseSpec) { s.Variables = nil },
		"another source":          func(s *v1alpha1.ReleaseSpec) { s.Source.Git = &v1alpha1.GitSource{URL: "https://x"} },
		"another Package of ours": func(s *v1alpha1.ReleaseSpec) { s.PackageRef.Name = "shop2" },
	} {
		if other := name(spec(change)); other == first {
			t.Errorf("%s gives the same name %q", reason, other)
		}
	}
}

func TestRepositoriesDoNotMeet(t *testing.T) {
	seen := map[string]v1alpha1.PackageKey{}
	for _, key := range []v1alpha1.PackageKey{"a/b", "a-b/c", "a/b-c", "blobs/blobs", "x/blobs"} {
		name := key.Repository()
		if other, twice := seen[name]; twice {
			t.Errorf("%s and %s share %s", key, other, name)
		}
		seen[name] = key
	}
}

func TestPollEvery(t *testing.T) {
	spread := map[time.Duration]bool{}
	for i := range 100 {
		every := pollEvery(v1alpha1.KeyOf("default", fmt.Sprint(i)), 10*time.Minute, nil)
		if every < 9*time.Minute || every > 11*time.Minute {
			t.Errorf("%s is not within a tenth of 10m", every)
		}
		spread[every] = true
	}
	if len(spread) < 90 {
		t.Errorf("100 Packages poll at %d different intervals", len(spread))
	}
	if every := pollEvery("a/b", 10*time.Minute, fmt.Errorf("no")); every > 33*time.Second {
		t.Errorf("after a failure it waits %s", every)
	}
	if every := pollEvery("a/b", pollOf(nil), nil); every < 54*time.Second || every > 66*time.Second {
		t.Errorf("the default is %s", every)
	}
}
