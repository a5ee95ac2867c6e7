package view_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/clitest"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/view"
	"umbel.dev/umbel/internal/health"
)

func TestPulse(t *testing.T) {
	lease := func(ago time.Duration) view.Pulse {
		renewed, lasts := metav1.NewMicroTime(clitest.Now.Add(-ago)), int32(15)
		return view.PulseOf(&coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{RenewTime: &renewed, LeaseDurationSeconds: &lasts}})
	}
	cases := []struct {
		reason  string
		pulse   view.Pulse
		alive   bool
		warning string
	}{
		{reason: "renewed just now", pulse: lease(0), alive: true},
		{reason: "renewed within its duration", pulse: lease(15 * time.Second), alive: true},
		{reason: "the hub's clock is ahead", pulse: lease(-time.Minute), alive: true},
		{
			reason: "older than its duration", pulse: lease(16 * time.Second),
			warning: "the hub has not been heard of for 16s; statuses are as old as that: is it running? `umbel up` starts it",
		},
		{
			reason: "long ago", pulse: lease(3 * time.Minute),
			warning: "the hub has not been heard of for 3m; statuses are as old as that: is it running? `umbel up` starts it",
		},
		{
			reason:  "there is no Lease",
			warning: "the hub has never been heard of; statuses may be of any age: is it running? `umbel up` starts it",
		},
		{
			reason: "a Lease that says nothing is no sign of life", pulse: view.PulseOf(&coordinationv1.Lease{}),
			warning: "the hub has never been heard of; statuses may be of any age: is it running? `umbel up` starts it",
		},
		{
			reason: "the Lease may not be read", pulse: view.Pulse{Problem: "leases is forbidden"},
			warning: "whether the hub is alive is not known: leases is forbidden; statuses may be of any age",
		},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			if got := c.pulse.Alive(clitest.Now); got != c.alive {
				t.Errorf("got alive %v, want %v", got, c.alive)
			}
			if diff := cmp.Diff(c.warning, c.pulse.Warning(clitest.Now)); diff != "" {
				t.Errorf("warning (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStates(t *testing.T) {
	const name = "prod-eu"
	now := metav1.NewTime(clitest.Now)
	placed := func(clusters ...v1alpha1.ClusterName) *v1alpha1.Placement {
		return &v1alpha1.Placement{Status: v1alpha1.PlacementStatus{
			Clusters:   clusters,
			Conditions: []metav1.Condition{clitest.Condition(v1alpha1.ConditionDecided, metav1.ConditionTrue, v1alpha1.ReasonDecided, "")},
		}}
	}
	undecided := placed()
	undecided.Status.Conditions[0].Status = metav1.ConditionFalse
	shop := func(change func(*v1alpha1.Package)) *v1alpha1.Package {
		pkg := clitest.Shop()
		if change != nil {
			change(pkg)
		}
		return pkg
	}
	cluster := func(connected metav1.ConditionStatus, change func(*v1alpha1.MemberPackage)) v1alpha1.MemberCluster {
		c := *clitest.Clusters()[2].DeepCopy()
		c.Status.Conditions = []metav1.Condition{clitest.Condition(v1alpha1.ConditionConnected, connected, "Any", "")}
		c.Status.Packages[0].LastRepair = nil
		if change != nil {
			change(&c.Status.Packages[0])
		}
		return c
	}
	empty := cluster(metav1.ConditionTrue, nil)
	empty.Status.Packages = nil
	type said struct {
		State   view.State
		Message string
	}
	cases := []struct {
		reason    string
		pkg       *v1alpha1.Package
		release   *v1alpha1.Release
		placement *v1alpha1.Placement
		cluster   v1alpha1.MemberCluster
		moment    view.Moment
		want      map[v1alpha1.ClusterName]said
	}{
		{
			reason: "applied and healthy", placement: placed(name), cluster: cluster(metav1.ConditionTrue, nil),
			want: map[v1alpha1.ClusterName]said{name: {State: view.Ready}},
		},
		{
			reason: "selected, and nothing heard of the package yet", placement: placed(name), cluster: empty,
			want: map[v1alpha1.ClusterName]said{name: {view.Progressing, "it has not reported yet"}},
		},
		{
			reason: "neither selected nor holding it", placement: placed(), cluster: empty,
			want: map[v1alpha1.ClusterName]said{},
		},
		{
			reason: "not selected any more", placement: placed(), cluster: cluster(metav1.ConditionTrue, nil),
			want: map[v1alpha1.ClusterName]said{name: {view.Removing, "its objects are being pruned"}},
		},
		{
			reason: "nobody knows who is selected: nothing is on its way out", cluster: cluster(metav1.ConditionTrue, nil),
			want: map[v1alpha1.ClusterName]said{name: {State: view.Ready}},
		},
		{
			reason: "a selector that cannot be read removes nothing", placement: undecided, cluster: cluster(metav1.ConditionTrue, nil),
			want: map[v1alpha1.ClusterName]said{name: {State: view.Ready}},
		},
		{
			reason: "the package is being deleted", pkg: shop(func(p *v1alpha1.Package) { p.DeletionTimestamp = &now }),
			placement: placed(name), cluster: cluster(metav1.ConditionTrue, nil),
			want: map[v1alpha1.ClusterName]said{name: {view.Removing, "its objects are being pruned"}},
		},
		{
			reason: "an older release", pkg: shop(func(p *v1alpha1.Package) { p.Status.Release = "shop-newer" }),
			placement: placed(name), cluster: cluster(metav1.ConditionTrue, nil),
			want: map[v1alpha1.ClusterName]said{name: {view.Progressing, "it still holds shop-1a2b3c4d"}},
		},
		{
			reason: "an older release with the same content", pkg: shop(func(p *v1alpha1.Package) { p.Status.Release = "shop-newer" }),
			release: clitest.ShopRelease(), placement: placed(name), cluster: cluster(metav1.ConditionTrue, nil),
			want: map[v1alpha1.ClusterName]said{name: {State: view.Ready}},
		},
		{
			reason: "applied, and not healthy yet", placement: placed(name),
			cluster: cluster(metav1.ConditionTrue, func(p *v1alpha1.MemberPackage) { p.Healthy = 3 }),
			want:    map[v1alpha1.ClusterName]said{name: {view.Progressing, "1 of 4 objects is not healthy yet"}},
		},
		{
			reason: "applied, and an object is broken", placement: placed(name),
			cluster: cluster(metav1.ConditionTrue, func(p *v1alpha1.MemberPackage) {
				p.Failures, p.Message = []v1alpha1.ObjectFailure{{Object: "Pod shop/web"}}, "1 of 4 objects are not as they should be"
			}),
			want: map[v1alpha1.ClusterName]said{name: {view.Failing, "1 of 4 objects are not as they should be"}},
		},
		{
			reason: "not connected: what was is said as what was", placement: placed(name), cluster: cluster(metav1.ConditionUnknown, nil),
			want: map[v1alpha1.ClusterName]said{name: {view.Unknown, "the cluster is not connected; it was Applied then"}},
		},
		{
			reason: "the hub is silent", placement: placed(name), cluster: cluster(metav1.ConditionTrue, nil), moment: clitest.Silent(),
			want: map[v1alpha1.ClusterName]said{name: {view.Unknown, "the hub is not heard of; it was Applied then"}},
		},
		{
			reason: "a cluster that was deleted since the placement was decided", placement: placed(name, "gone"), cluster: cluster(metav1.ConditionTrue, nil),
			want: map[v1alpha1.ClusterName]said{name: {State: view.Ready}, "gone": {view.Unknown, "there is no such cluster any more"}},
		},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			if c.pkg == nil {
				c.pkg = shop(nil)
			}
			if c.moment == (view.Moment{}) {
				c.moment = clitest.Alive()
			}
			got := map[v1alpha1.ClusterName]said{}
			for _, s := range c.moment.States(view.Fleet{Package: c.pkg, Release: c.release, Placement: c.placement, Clusters: []v1alpha1.MemberCluster{c.cluster}}) {
				got[s.Cluster] = said{s.State, s.Message}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("states (-want +got):\n%s", diff)
			}
		})
	}
}

func TestConnected(t *testing.T) {
	clusters := clitest.Clusters()
	bare := v1alpha1.MemberCluster{}
	cases := []struct {
		reason  string
		cluster *v1alpha1.MemberCluster
		moment  view.Moment
		want    output.Cell
	}{
		{"it answers", &clusters[2], clitest.Alive(), output.Cell{Text: "True", Tone: output.Good}},
		{"it stopped answering", &clusters[3], clitest.Alive(), output.Cell{Text: "Unknown (4m ago)", Tone: output.Doubtful}},
		{"it never came", &clusters[1], clitest.Alive(), output.Cell{Text: "False", Tone: output.Bad}},
		{"nobody has looked at it yet", &bare, clitest.Alive(), output.Cell{Text: "Unknown", Tone: output.Doubtful}},
		{"the hub is silent", &clusters[2], clitest.Silent(), output.Cell{Text: "Unknown", Tone: output.Doubtful}},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			if diff := cmp.Diff(c.want, c.moment.Connected(c.cluster)); diff != "" {
				t.Errorf("connected (-want +got):\n%s", diff)
			}
		})
	}
}

// TestHealthOfWhoIsKeptOut: a list of clusters and what is told of the fleet are one about who is missed.
func TestHealthOfWhoIsKeptOut(t *testing.T) {
	renewed, lasts := metav1.NewMicroTime(clitest.Now), int32(15)
	m := view.Moment{Now: clitest.Now, Pulse: view.PulseOf(&coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{RenewTime: &renewed, LeaseDurationSeconds: &lasts}})}
	for reason, want := range map[string]view.Health{
		v1alpha1.ReasonAwaitingAgent: view.Awaited, v1alpha1.ReasonPendingApproval: view.Awaited, v1alpha1.ReasonDenied: view.Awaited,
		v1alpha1.ReasonSuspended: view.Awaited, v1alpha1.ReasonKeyRevoked: view.Awaited, v1alpha1.ReasonHibernated: view.Hibernated,
		v1alpha1.ReasonCertificateRefused: view.NotReady, "OfALaterVersion": view.NotReady,
	} {
		cluster := &v1alpha1.MemberCluster{Status: v1alpha1.MemberClusterStatus{Conditions: []metav1.Condition{
			{Type: v1alpha1.ConditionConnected, Status: metav1.ConditionFalse, Reason: reason}, {Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse},
		}}}
		if got := m.Health(cluster); got != want {
			t.Errorf("%s: a cluster is %s, want %s", reason, got, want)
		}
		if missed, _ := health.Expected(cluster); missed != (want == view.NotReady) {
			t.Errorf("%s: a cluster is %s, and missed: %v", reason, want, missed)
		}
	}
}
