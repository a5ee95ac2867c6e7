package delivery

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	toolscache "k8s.io/client-go/tools/cache"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/decide"
)

func placement(generation, observed int64, status metav1.ConditionStatus, clusters ...v1alpha1.ClusterName) *v1alpha1.Placement {
	return &v1alpha1.Placement{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Generation: generation},
		Status: v1alpha1.PlacementStatus{
			ObservedGeneration: observed, Clusters: clusters, Selected: int32(len(clusters)),
			Conditions: []metav1.Condition{{Type: v1alpha1.ConditionDecided, Status: status, ObservedGeneration: generation}},
		},
	}
}

// release has one variant for each list of values.
func release(name string, variables []string, values ...[]string) *v1alpha1.Release {
	r := &v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Name: name}}
	r.Spec.Variables, r.Spec.Revision = variables, "0123456789abcdef"
	for i, v := range values {
		r.Spec.Variants = append(r.Spec.Variants, v1alpha1.Variant{Values: v, Digest: fmt.Sprintf("sha256:%064d", i), Objects: 3})
	}
	return r
}

func plain() *v1alpha1.Release { return release("r", nil, nil) }

func memberCluster(name string, labels map[string]string) *v1alpha1.MemberCluster {
	return &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
}

// answer is what For says, in short; got says whether there was a token before.
func answer(t *testing.T, d *Desired, cluster v1alpha1.ClusterName) string {
	t.Helper()
	set, isReady := d.For(cluster)
	text := fmt.Sprintf("ready=%v", isReady)
	var assigned []string
	for key, a := range set.Assign {
		assigned = append(assigned, fmt.Sprintf("%s=%s@%s", key, a.GetRelease(), a.GetDigest()[len(a.GetDigest())-1:]))
	}
	slices.Sort(assigned)
	return fmt.Sprint(text, " assign=", assigned, " remove=", set.Remove)
}

func token(changed <-chan struct{}) bool {
	select {
	case <-changed:
		return true
	default:
		return false
	}
}

func TestDesired(t *testing.T) {
	d := newDesired(nil)
	d.observe(memberCluster("eu", map[string]string{"region": "eu"}))
	d.observe(memberCluster("us", map[string]string{"region": "us"}))
	eu, cancel := d.Subscribe("eu")
	us, cancelUS := d.Subscribe("us")
	defer cancelUS()
	byRegion := release("web-1", []string{"cluster.labels.region"}, []string{"eu"}, []string{"us"})

	step := func(reason string, act func(), wantEU, wantUS string, toldEU, toldUS bool) {
		t.Helper()
		act()
		if diff := cmp.Diff([]any{wantEU, wantUS, toldEU, toldUS}, []any{answer(t, d, "eu"), answer(t, d, "us"), token(eu), token(us)}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", reason, diff)
		}
	}
	const nothing, early = "ready=true assign=[] remove=[]", "ready=false assign=[] remove=[]"
	step("before anything is known", func() {}, early, early, false, false)
	step("two Packages are there and one was looked at", func() {
		d.publish("a/first", decide.Seen{})
		d.expect([]v1alpha1.Package{
			{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "first"}}, {ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "web"}},
		})
	}, early, early, false, false) // a Package that nobody has to do with
	step("the other too: ready", func() {
		d.publish("a/web", decide.Seen{Placement: placement(1, 1, "True", "eu", "us"), Release: byRegion})
	}, "ready=true assign=[a/web=web-1@0] remove=[]", "ready=true assign=[a/web=web-1@1] remove=[]", true, true)
	step("how agents treat a Package concerns those that have it", func() {
		on := decide.Seen{Placement: placement(1, 1, "True", "eu"), Release: byRegion}
		d.publish("a/here", on)
		token(eu)
		token(us) // it removes what is not for it
		spec := v1alpha1.PackageSpec{Deletes: &v1alpha1.PackageDeletes{Budget: new(intstr.FromInt32(3))}}
		on.Policy = decide.PolicyOf(&spec, decide.Team{})
		d.publish("a/here", on)
	}, "ready=true assign=[a/here=web-1@0 a/web=web-1@0] remove=[]", "ready=true assign=[a/web=web-1@1] remove=[a/here]", true, false)
	step("a Package is gone", func() { d.forget("a/here") }, "ready=true assign=[a/web=web-1@0] remove=[]", "ready=true assign=[a/web=web-1@1] remove=[]", false, false)
	step("the same again tells nobody", func() {
		d.publish("a/web", decide.Seen{Placement: placement(1, 1, "True", "eu", "us"), Release: byRegion.DeepCopy()})
	}, "ready=true assign=[a/web=web-1@0] remove=[]", "ready=true assign=[a/web=web-1@1] remove=[]", false, false)
	step("a cluster leaves the placement: it alone is told", func() {
		d.publish("a/web", decide.Seen{Placement: placement(1, 1, "True", "eu"), Release: byRegion})
	}, "ready=true assign=[a/web=web-1@0] remove=[]", "ready=true assign=[] remove=[a/web]", false, true)
	step("the placement is gone: nobody removes", func() {
		d.publish("a/web", decide.Seen{Release: byRegion})
	}, nothing, nothing, true, true)
	step("it is back", func() {
		d.publish("a/web", decide.Seen{Placement: placement(1, 1, "True", "eu", "us"), Release: byRegion})
	}, "ready=true assign=[a/web=web-1@0] remove=[]", "ready=true assign=[a/web=web-1@1] remove=[]", true, true)
	step("a relabelled cluster moves to another variant", func() {
		d.observe(memberCluster("eu", map[string]string{"region": "us"}))
	}, "ready=true assign=[a/web=web-1@1] remove=[]", "ready=true assign=[a/web=web-1@1] remove=[]", true, false)
	step("a status changes nothing", func() {
		m := memberCluster("eu", map[string]string{"region": "us"})
		m.Status.AgentVersion = "v2"
		d.observe(m)
	}, "ready=true assign=[a/web=web-1@1] remove=[]", "ready=true assign=[a/web=web-1@1] remove=[]", false, false)
	step("a label is lost: the cluster keeps what it has", func() {
		d.observe(memberCluster("eu", nil))
	}, nothing, "ready=true assign=[a/web=web-1@1] remove=[]", true, false)
	step("a cluster that leaves is told nothing", func() {
		m := memberCluster("us", map[string]string{"region": "us"})
		now := metav1.NewTime(time.Unix(1, 0))
		m.DeletionTimestamp = &now
		d.observe(m)
	}, nothing, nothing, false, true)
	step("the Package is deleted", func() {
		d.publish("a/web", decide.Seen{Deleting: true, Placement: placement(1, 1, "True", "eu", "us"), Release: byRegion})
	}, "ready=true assign=[] remove=[a/web]", nothing, true, false)
	step("the Package is gone: what nobody knows is kept", func() { d.forget("a/web") }, nothing, nothing, false, false)
	step("clusters that are gone are told nothing", func() {
		d.lose(toolscache.DeletedFinalStateUnknown{Key: "eu", Obj: memberCluster("eu", nil)})
	}, nothing, nothing, true, false)
	cancel()
	cancel()
	step("after the subscription ended", func() { d.observe(memberCluster("eu", nil)) }, nothing, nothing, false, false)
}

// TestOnePackageHoldsNobodyUp: one that cannot be looked at, and one that goes at the very moment of the start.
func TestOnePackageHoldsNobodyUp(t *testing.T) {
	d := newDesired(nil)
	named := func(name string) v1alpha1.Package {
		return v1alpha1.Package{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: name}}
	}
	d.observe(memberCluster("eu", nil))
	d.forget("a/gone")
	d.giveUp("a/ill")
	d.expect([]v1alpha1.Package{named("gone"), named("ill"), named("late"), named("web")})
	d.publish("a/web", decide.Seen{Placement: placement(1, 1, "True", "eu"), Release: plain()})
	if _, isReady := d.For("eu"); isReady {
		t.Error("it is ready before all were looked at")
	}
	d.giveUp("a/late")
	if got, want := answer(t, d, "eu"), fmt.Sprintf("ready=true assign=[a/web=%s@0] remove=[]", plain().Name); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	changed, cancel := d.Subscribe("eu")
	defer cancel()
	d.publish("a/ill", decide.Seen{Placement: placement(1, 1, "True", "eu"), Release: plain()})
	if set, _ := d.For("eu"); len(set.Assign) != 2 || !token(changed) {
		t.Error("a Package that can be looked at later is told to nobody")
	}
}

func TestDesiredIsReadyWithoutPackages(t *testing.T) {
	d := newDesired(nil)
	changed, cancel := d.Subscribe("new")
	defer cancel()
	d.expect(nil)
	if _, isReady := d.For("new"); !isReady || !token(changed) {
		t.Error("a hub without Packages is not ready")
	}
}

func BenchmarkFor1000Packages(b *testing.B) {
	d := newDesired(nil)
	clusters := make([]v1alpha1.ClusterName, 10_000)
	for i := range clusters {
		clusters[i] = v1alpha1.ClusterName(fmt.Sprintf("c-%05d", i))
	}
	d.observe(memberCluster("c-05000", nil))
	everywhere := placement(1, 1, "True", clusters...)
	nowhere := placement(1, 1, "True")
	for i := range 1000 {
		p := nowhere
		if i%100 == 0 {
			p = everywhere
		}
		d.publish(v1alpha1.KeyOf("ns", fmt.Sprint(i)), decide.Seen{Placement: p, Release: plain()})
	}
	d.expect(nil)
	b.ReportAllocs()
	for b.Loop() {
		if set, _ := d.For("c-05000"); len(set.Assign) != 10 {
			b.Fatal(len(set.Assign))
		}
	}
}
