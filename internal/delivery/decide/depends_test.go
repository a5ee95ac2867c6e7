package decide

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"umbel.dev/umbel/api/v1alpha1"
)

func in(m Member, region string) Member {
	m.Labels = map[string]string{"region": region}
	return m
}

func TestWaits(t *testing.T) {
	applied := holds(v1alpha1.PackageApplied, nil)
	ill := holds(v1alpha1.PackageApplied, func(p *v1alpha1.MemberPackage) { p.Healthy = 1 })
	older := holds(v1alpha1.PackageApplied, func(p *v1alpha1.MemberPackage) { p.Release, p.Digest = "old", "sha256:old" })
	onABC := Seen{Placement: placement(1, 1, "True", "a", "b", "c"), Release: plain()}
	onA := Seen{Placement: placement(1, 1, "True", "a"), Release: plain()}
	ours := []Member{member("a", nil), member("b", older), member("c", applied)}
	europe := labels.SelectorFromSet(labels.Set{"region": "eu"})
	db := func(seen Seen, members ...Member) Dependency {
		return Dependency{Key: "shop/db", Seen: seen, Members: members}
	}
	across := func(d Dependency) Dependency {
		d.Selector = europe
		return d
	}
	type waits = map[v1alpha1.ClusterName]string
	for _, tc := range []struct {
		reason string
		on     []Dependency
		want   waits
	}{
		{reason: "nothing to wait for", want: nil},
		{reason: "healthy where it is needed", on: []Dependency{db(onABC, member("a", applied), member("b", applied), member("c", applied))}, want: waits{}},
		{
			reason: "a first delivery waits, a new release waits, and what is there stays", on: []Dependency{db(onABC, member("a", ill), member("b", older), member("c", nil))},
			want: waits{"a": "package shop/db is not healthy on this cluster", "b": "package shop/db is not healthy on this cluster"},
		},
		{
			reason: "its last word may be old", on: []Dependency{db(onABC, member("a", applied), offline(member("b", applied)))},
			want: waits{"b": "package shop/db is not healthy on this cluster"},
		},
		{
			reason: "it does not go there", on: []Dependency{db(onA, member("a", applied))},
			want: waits{"b": "package shop/db does not go to this cluster"},
		},
		{
			reason: "it is not there", on: []Dependency{{Key: "shop/db", Wrong: "there is no package shop/db"}},
			want: waits{"a": "there is no package shop/db", "b": "there is no package shop/db"},
		},
		{
			reason: "it was never rendered", on: []Dependency{db(Seen{Placement: onA.Placement})},
			want: waits{"a": "package shop/db has not been delivered anywhere yet", "b": "package shop/db has not been delivered anywhere yet"},
		},
		{reason: "healthy in all of a region", on: []Dependency{across(db(onABC, in(member("a", applied), "eu"), in(member("b", ill), "us")))}, want: waits{}},
		{
			reason: "not in all of it", on: []Dependency{across(db(onABC, in(member("a", applied), "eu"), in(member("b", ill), "eu")))},
			want: waits{"a": "package shop/db is not healthy on cluster b", "b": "package shop/db is not healthy on cluster b"},
		},
		{reason: "one that is away blocks nobody", on: []Dependency{across(db(onABC, in(member("a", applied), "eu"), in(offline(member("b", ill)), "eu")))}, want: waits{}},
		{
			reason: "when all are away nobody knows", on: []Dependency{across(db(onABC, in(offline(member("b", applied)), "eu")))},
			want: waits{"a": "package shop/db: of the clusters with region=eu none is connected (b)", "b": "package shop/db: of the clusters with region=eu none is connected (b)"},
		},
		{
			reason: "no cluster is not all clusters", on: []Dependency{across(db(onABC, in(member("a", applied), "us")))},
			want: waits{"a": "package shop/db is on no cluster with region=eu", "b": "package shop/db is on no cluster with region=eu"},
		},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			got := Waits(tc.on, onABC, ours)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
			seen := onABC
			seen.Waits = got
			for _, member := range ours {
				want := Deliver
				if got[member.Name] != "" {
					want = Keep
				}
				if action, _ := Assign(seen, member.Cluster); action != want {
					t.Errorf("%s: got %v, want %v", member.Name, action, want)
				}
			}
		})
	}
}

// counting is a selector that counts whom it was asked about.
type counting struct {
	labels.Selector
	asked *int
}

func (c counting) Matches(set labels.Labels) bool {
	*c.asked++
	return c.Selector.Matches(set)
}

// TestWaitingCostsOneLook: a thousand clusters that wait for a thousand others look at each of those once; and of several that
// are ill the same one is named, in whatever order they come.
func TestWaitingCostsOneLook(t *testing.T) {
	var clusters []v1alpha1.ClusterName
	var waiting, others []Member
	for i := range 1000 {
		name := fmt.Sprintf("c-%04d", i)
		clusters = append(clusters, v1alpha1.ClusterName(name))
		waiting = append(waiting, member(name, nil))
		others = append(others, in(member(name, holds(v1alpha1.PackageApplied, nil)), "eu"))
	}
	ill := holds(v1alpha1.PackageApplied, func(p *v1alpha1.MemberPackage) { p.Healthy = 1 })
	others[700].Holds, others[30].Holds = ill, ill
	slices.Reverse(others)
	on, asked := Seen{Placement: placement(1, 1, "True", clusters...), Release: plain()}, 0
	across := Dependency{Key: "shop/db", Seen: on, Members: others, Selector: counting{labels.SelectorFromSet(labels.Set{"region": "eu"}), &asked}}
	waits := Waits([]Dependency{across}, on, waiting)
	if len(waits) != 1000 || waits["c-0999"] != "package shop/db is not healthy on cluster c-0030" {
		t.Errorf("%d wait, the last one since %s", len(waits), waits["c-0999"])
	}
	if asked > 1000 {
		t.Errorf("the selector was asked %d times about 1000 clusters", asked)
	}
}

// TestWaitingTakesNothingAway: a cluster that waits keeps what it holds, and one that is not selected any more, or whose
// Package is deleted, removes it all the same.
func TestWaitingTakesNothingAway(t *testing.T) {
	seen := Seen{Placement: placement(1, 1, "True", "a"), Release: plain(), Waits: map[v1alpha1.ClusterName]string{"a": "for db", "b": "for db"}}
	for cluster, want := range map[v1alpha1.ClusterName]Action{"a": Keep, "b": Remove} {
		if got, _ := Assign(seen, Cluster{Name: cluster}); got != want {
			t.Errorf("%s: got %v, want %v", cluster, got, want)
		}
	}
	seen.Deleting = true
	if got, _ := Assign(seen, Cluster{Name: "a"}); got != Remove {
		t.Errorf("a Package that is deleted: got %v, want Remove", got)
	}
}

func TestCycle(t *testing.T) {
	on := map[v1alpha1.PackageKey][]v1alpha1.PackageKey{"n/a": {"n/b", "n/c"}, "n/b": {"n/d"}, "n/c": {"n/d"}, "n/d": {"n/e"}, "n/e": {"n/c", "n/gone"}, "n/self": {"n/self"}}
	for from, want := range map[v1alpha1.PackageKey]string{
		"n/a": "", "n/b": "", "n/c": "n/c → n/d → n/e → n/c", "n/self": "n/self → n/self", "n/nobody": "",
	} {
		got := strings.Join(Cycle(from, func(key v1alpha1.PackageKey) []v1alpha1.PackageKey { return on[key] }), " → ")
		if got != want {
			t.Errorf("from %s: got %q, want %q", from, got, want)
		}
	}
}

func TestDependenciesCondition(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
	on := []Dependency{{Key: "shop/db", Timeout: time.Hour}, {Key: "shop/mq", Timeout: 10 * time.Minute}}
	waits := map[v1alpha1.ClusterName]string{"b": "package shop/db is not healthy on cluster b", "a": "package shop/mq is not healthy on cluster a"}
	since := func(ago time.Duration) *metav1.Condition {
		return &metav1.Condition{Status: metav1.ConditionFalse, LastTransitionTime: metav1.NewTime(now.Add(-ago))}
	}
	for _, tc := range []struct {
		reason string
		waits  map[v1alpha1.ClusterName]string
		before *metav1.Condition
		want   string
		again  time.Duration
	}{
		{reason: "nobody waits", before: since(time.Hour), want: "True DependenciesHealthy no cluster waits for shop/db, shop/mq"},
		{reason: "two wait", waits: waits, want: "False Waiting 2 clusters wait: a, b (a: package shop/mq is not healthy on cluster a)", again: 10 * time.Minute},
		{reason: "for a while", waits: waits, before: since(9 * time.Minute), want: "False Waiting 2 clusters wait: a, b (a: package shop/mq is not healthy on cluster a)", again: time.Minute},
		{reason: "for too long", waits: waits, before: since(10 * time.Minute), want: "False DependencyTimeout for more than 10m0s 2 clusters wait: a, b (a: package shop/mq is not healthy on cluster a)"},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			got, again := Dependencies(on, tc.waits, tc.before, now)
			if text := string(got.Status) + " " + got.Reason + " " + got.Message; text != tc.want || again != tc.again {
				t.Errorf("got  %q and again in %s\nwant %q and again in %s", text, again, tc.want, tc.again)
			}
		})
	}
}
