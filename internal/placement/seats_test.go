package placement_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/kube/kubetest"
)

// scene is an API with the controller, and one Placement.
type scene struct {
	*testing.T
	api       client.Client
	placement *v1alpha1.Placement
}

func (s *scene) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// becomes waits until the Placement's status reads so (see read).
func (s *scene) becomes(reason, want string) {
	s.Helper()
	deadline, tick := time.After(2*time.Minute), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for {
		got := s.read()
		if got == want {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			s.Fatalf("%s: got %q, want %q", reason, got, want)
		}
	}
}

// read is the selected, (undecided), [who leaves] and {why there are too few}.
func (s *scene) read() string {
	s.must(s.api.Get(s.Context(), client.ObjectKeyFromObject(s.placement), s.placement))
	status := s.placement.Status
	text := fmt.Sprint(status.Clusters)
	if len(status.Undecided) > 0 {
		text += fmt.Sprintf(" (%v)", status.Undecided)
	}
	for _, group := range status.Leaving {
		text += fmt.Sprintf(" leaving %v in %s", group.Clusters, group.Until.Sub(group.Since.Time))
	}
	for _, kind := range []string{v1alpha1.ConditionDecided, v1alpha1.ConditionSatisfied, v1alpha1.ConditionReady} {
		if c := meta.FindStatusCondition(status.Conditions, kind); c != nil && c.Status != metav1.ConditionTrue {
			text += " " + kind + " " + c.Reason
		}
	}
	return text
}

func (s *scene) cluster(name, labels string) *v1alpha1.MemberCluster {
	s.Helper()
	m := &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{}}}
	for _, pair := range strings.Fields(labels) {
		key, value, _ := strings.Cut(pair, "=")
		m.Labels[key] = value
	}
	s.must(s.api.Create(s.Context(), m))
	s.Cleanup(func() { s.must(s.api.Delete(context.WithoutCancel(s.Context()), m)) })
	s.says(m, "v1.36.0")
	return m
}

// says writes what the cluster's agent says of it, as the gateway does.
func (s *scene) says(m *v1alpha1.MemberCluster, version string) {
	s.Helper()
	m.Status.KubernetesVersion = version
	meta.SetStatusCondition(&m.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionConnected, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonProbeAnswered})
	s.must(s.api.Status().Update(s.Context(), m))
}

func (s *scene) taints(m *v1alpha1.MemberCluster, taints ...v1alpha1.Taint) {
	s.Helper()
	m.Spec.Taints = taints
	s.must(s.api.Update(s.Context(), m))
}

// TestSeatsTaintsAndTime is the life of a Placement of two clusters, in a real API.
func TestSeatsTaintsAndTime(t *testing.T) {
	api, namespace := start(t)
	s := &scene{T: t, api: api, placement: &v1alpha1.Placement{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "two"}}}
	two, one, second := int32(2), int32(1), int64(1)
	s.placement.Spec = v1alpha1.PlacementSpec{
		ClusterSelector:  metav1.LabelSelector{MatchLabels: map[string]string{"env": "prod"}},
		Fields:           []v1alpha1.FieldRequirement{{Field: "kubernetesVersion", Operator: v1alpha1.FieldAtLeast, Values: []string{"v1.35"}}},
		NumberOfClusters: &two,
		Spread:           &v1alpha1.Spread{Label: "region", MaxSkew: &one},
		Tolerations:      []v1alpha1.Toleration{{Key: "soon", Operator: v1alpha1.TolerationExists, Effect: v1alpha1.TaintEvict, TolerationSeconds: &second}},
		Stay:             v1alpha1.Stay{WhenUnfit: &metav1.Duration{Duration: time.Second}},
	}
	s.must(api.Create(t.Context(), s.placement))
	s.becomes("nobody is there", "[] Satisfied TooFewClusters Ready TooFewClusters")
	a := s.cluster("eu-1", "env=prod region=eu")
	s.becomes("one comes", "[eu-1] Satisfied TooFewClusters Ready TooFewClusters")
	b := s.cluster("us-1", "env=prod region=us")
	s.becomes("another comes", "[eu-1 us-1]")
	s.cluster("us-2", "env=prod region=us")
	s.taints(b, v1alpha1.Taint{Key: "x", Effect: v1alpha1.TaintNoSelect})
	s.becomes("who is there stays", "[eu-1 us-1]")
	s.taints(b, v1alpha1.Taint{Key: "x", Effect: v1alpha1.TaintEvict})
	s.becomes("who is driven out is replaced", "[eu-1 us-2]")
	s.taints(b, v1alpha1.Taint{Key: "x", Effect: v1alpha1.TaintNoSelect})
	s.taints(a, v1alpha1.Taint{Key: "soon", Effect: v1alpha1.TaintEvict})
	s.becomes("a second later it is gone, with nobody's doing; its region has no other", "[us-2] Satisfied TooFewClusters Ready TooFewClusters")
	s.taints(a)
	s.becomes("it is back", "[eu-1 us-2]")
	s.says(a, "v1.34.0")
	s.becomes("what its agent says counts after a second", "[us-2] Satisfied TooFewClusters Ready TooFewClusters")
	s.says(a, "")
	s.becomes("what it does not say cannot be told", "[us-2] ([eu-1]) Satisfied TooFewClusters Ready TooFewClusters")
}

// TestWhatOthersWriteIsPutRight: a status that somebody else wrote, such as a hub that does not lead any more, is decided again.
func TestWhatOthersWriteIsPutRight(t *testing.T) {
	api, namespace := start(t)
	s := &scene{T: t, api: api, placement: &v1alpha1.Placement{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "right"}}}
	s.placement.Spec.ClusterSelector.MatchLabels = map[string]string{"env": "right"}
	s.must(api.Create(t.Context(), s.placement))
	s.cluster("right-a", "env=right")
	s.cluster("right-b", "env=right")
	s.becomes("two are there", "[right-a right-b]")
	s.placement.Status.Clusters, s.placement.Status.Selected = []v1alpha1.ClusterName{"gone", "right-b"}, 2
	s.must(api.Status().Update(t.Context(), s.placement))
	s.becomes("somebody wrote another decision", "[right-a right-b]")
}

// TestNothingIsWrittenForNothing: what does not change the decision leaves the status as it is, to the version.
func TestNothingIsWrittenForNothing(t *testing.T) {
	api, namespace := start(t)
	s := &scene{T: t, api: api, placement: &v1alpha1.Placement{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "quiet"}}}
	s.placement.Spec.ClusterSelector.MatchLabels = map[string]string{"env": "prod"}
	s.must(api.Create(t.Context(), s.placement))
	a := s.cluster("quiet-a", "env=prod")
	s.becomes("one is there", "[quiet-a]")
	version := s.placement.ResourceVersion
	for i := range 20 {
		s.says(a, fmt.Sprintf("v1.36.%d", i))
		a.Labels["n"] = fmt.Sprint(i)
		s.taints(a, v1alpha1.Taint{Key: fmt.Sprint("k", i), Effect: v1alpha1.TaintNoSelect})
		s.cluster(fmt.Sprintf("quiet-%d", i), "env=dev")
	}
	s.cluster("quiet-b", "env=prod") // whoever is decided after them was not decided before
	s.becomes("another comes", "[quiet-a quiet-b]")
	var seen []string
	list := &v1alpha1.PlacementList{}
	watched, err := client.NewWithWatch(kubetest.Start(t), client.Options{Scheme: api.Scheme()})
	s.must(err)
	events, err := watched.Watch(t.Context(), list, client.InNamespace(namespace), &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: version}})
	s.must(err)
	defer events.Stop()
	for event := range events.ResultChan() {
		p, ok := event.Object.(*v1alpha1.Placement)
		if !ok {
			t.Fatalf("got %+v", event.Object)
		}
		seen = append(seen, fmt.Sprint(p.Status.Clusters))
		if p.ResourceVersion == s.placement.ResourceVersion {
			break
		}
	}
	if len(seen) != 1 {
		t.Errorf("after the first decision it was written as %v", seen)
	}
}

// TestWhatTheAPIRefuses is said by the API already, with the field.
func TestWhatTheAPIRefuses(t *testing.T) {
	api, namespace := start(t)
	one, minute := int32(1), int64(60)
	for _, c := range []struct {
		want   string
		change func(*v1alpha1.PlacementSpec)
	}{
		{"spec: Invalid value: spread says how numberOfClusters clusters lie", func(s *v1alpha1.PlacementSpec) { s.Spread = &v1alpha1.Spread{Label: "region", MaxSkew: &one} }},
		{"scores say which clusters come first", func(s *v1alpha1.PlacementSpec) { s.Scores = []v1alpha1.Score{{Expression: "1"}} }},
		{"stay.whenUnreachable says when a seat is given", func(s *v1alpha1.PlacementSpec) { s.Stay.WhenUnreachable = &metav1.Duration{Duration: time.Hour} }},
		{"spec.stay.whenUnfit", func(s *v1alpha1.PlacementSpec) { s.Stay.WhenUnfit = &metav1.Duration{Duration: -time.Hour} }},
		{"spec.spread: Invalid value: spread says maxSkew, minValues or both", func(s *v1alpha1.PlacementSpec) {
			s.NumberOfClusters, s.Spread = &one, &v1alpha1.Spread{Label: "region"}
		}},
		{"spec.scores[0]: Invalid value: a score is by clusterSelector or by expression", func(s *v1alpha1.PlacementSpec) {
			s.NumberOfClusters, s.Scores = &one, []v1alpha1.Score{{Weight: 1}}
		}},
		{"spec.numberOfClusters: Invalid value: 0", func(s *v1alpha1.PlacementSpec) { s.NumberOfClusters = new(int32) }},
		{"spec.fields[0].field: Invalid value: \"status\": field is name", func(s *v1alpha1.PlacementSpec) {
			s.Fields = []v1alpha1.FieldRequirement{{Field: "status", Operator: v1alpha1.FieldExists}}
		}},
		{"spec.fields[0].operator: Unsupported value: \"Like\"", func(s *v1alpha1.PlacementSpec) {
			s.Fields = []v1alpha1.FieldRequirement{{Field: "name", Operator: "Like"}}
		}},
		{"spec.tolerations[0]: Invalid value: tolerationSeconds says how long an Evict taint is borne", func(s *v1alpha1.PlacementSpec) {
			s.Tolerations = []v1alpha1.Toleration{{Key: "a", TolerationSeconds: &minute}}
		}},
		{"spec.tolerations[0]: Invalid value: without a key the operator is Exists", func(s *v1alpha1.PlacementSpec) {
			s.Tolerations = []v1alpha1.Toleration{{Value: "a"}}
		}},
		{"spec.tolerations[0]: Invalid value: operator Exists takes no value", func(s *v1alpha1.PlacementSpec) {
			s.Tolerations = []v1alpha1.Toleration{{Key: "a", Operator: v1alpha1.TolerationExists, Value: "x"}}
		}},
		{"spec.decisions: Unsupported value: \"Perhaps\"", func(s *v1alpha1.PlacementSpec) { s.Decisions = "Perhaps" }},
	} {
		p := &v1alpha1.Placement{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "refused"}}
		c.change(&p.Spec)
		if err := api.Create(t.Context(), p); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want an error that says %q", err, c.want)
		}
	}
	m := &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "refused"}}
	m.Spec.Taints = []v1alpha1.Taint{{Key: "a", Effect: "NoSchedule"}}
	if err := api.Create(t.Context(), m); err == nil || !strings.Contains(err.Error(), `spec.taints[0].effect: Unsupported value: "NoSchedule"`) {
		t.Errorf("got %v", err)
	}
	m.Spec.Taints = []v1alpha1.Taint{{Key: "a", Effect: v1alpha1.TaintEvict}, {Key: "a", Effect: v1alpha1.TaintEvict, Value: "x"}}
	if err := api.Create(t.Context(), m); err == nil || !strings.Contains(err.Error(), "Duplicate value") {
		t.Errorf("got %v", err)
	}
}
