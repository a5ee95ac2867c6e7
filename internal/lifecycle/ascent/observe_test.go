package ascent

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"umbel.dev/umbel/api/v1alpha1"
)

// atWork is a cluster of v1.35.4 with two machines, all of it at work.
func atWork() *unstructured.Unstructured {
	part := func(replicas int64) map[string]any {
		return map[string]any{
			"desiredReplicas": replicas, "replicas": replicas, "availableReplicas": replicas,
			"versions": []any{map[string]any{"version": "v1.35.4", "replicas": replicas}},
		}
	}
	c := object("Cluster", "default", "dev", map[string]any{
		"metadata": map[string]any{"generation": int64(3)},
		"spec":     map[string]any{"topology": map[string]any{"version": "v1.35.4", "classRef": map[string]any{"name": "local"}}},
		"status": map[string]any{
			"controlPlane": part(1), "workers": part(2),
			"conditions": []any{map[string]any{"type": "TopologyReconciled", "status": "True", "observedGeneration": int64(3)}},
		},
	})
	return &c
}

// TestHowFarAClusterIs: it is Ready when nothing of it is of another version, away, or not yet heard of.
func TestHowFarAClusterIs(t *testing.T) {
	set := func(value any, path ...string) func(*unstructured.Unstructured) {
		return func(c *unstructured.Unstructured) { _ = unstructured.SetNestedField(c.Object, value, path...) }
	}
	versions := func(all ...string) []any {
		var list []any
		for _, v := range all {
			list = append(list, map[string]any{"version": v})
		}
		return list
	}
	condition := func(status, message string, generation int64) []any {
		return []any{map[string]any{"type": "TopologyReconciled", "status": status, "message": message, "observedGeneration": generation}}
	}
	for _, c := range []struct {
		reason string
		change func(*unstructured.Unstructured)
		pools  []Pool
		want   string // part of what is lacking; empty when it is Ready
	}{
		{"all is at work", func(*unstructured.Unstructured) {}, []Pool{{"workers", "v1.35.4", 2}}, ""},
		{"it has no machines", func(c *unstructured.Unstructured) { unstructured.RemoveNestedField(c.Object, "status", "workers") }, nil, ""},
		{"it is paused", set(true, "spec", "paused"), nil, "paused"},
		{"another version was written a moment ago", set("v1.36.3", "spec", "topology", "version"), nil, "is to serve v1.36.3, and serves v1.35.4"},
		{"one member of three is new", set(versions("v1.35.4", "v1.36.3"), "status", "controlPlane", "versions"), nil, "serves v1.35.4 and v1.36.3"},
		{"nothing serves yet", set([]any{}, "status", "controlPlane", "versions"), nil, "serves nothing yet"},
		{"a pool waits for its turn", func(*unstructured.Unstructured) {}, []Pool{{"workers", "v1.34.1", 2}}, "pool workers is at v1.34.1 still"},
		{"an old machine is left", set(versions("v1.34.1", "v1.35.4"), "status", "workers", "versions"), nil, "are of v1.34.1 and v1.35.4"},
		{"a machine is not at work", set(int64(1), "status", "workers", "availableReplicas"), nil, "1 of 2 machines are at work"},
		{"a machine too many is there still", set(int64(3), "status", "workers", "replicas"), nil, "3 are there"},
		{"a member of the control plane is away", set(int64(0), "status", "controlPlane", "availableReplicas"), nil, "0 of 1 members of its control plane"},
		{"Cluster API has not looked since it was changed", set(int64(4), "metadata", "generation"), nil, "Cluster API is at work on it"},
		{"Cluster API cannot", set(condition("False", "* MachineDeployment front is deferred", 3), "status", "conditions"), nil, "MachineDeployment front is deferred"},
	} {
		cluster := atWork()
		c.change(cluster)
		got := Observe(Ground{Cluster: cluster, Class: classWith("v1.35.4", "v1.36.3"), Pools: c.pools})
		if (got.Phase == v1alpha1.LifecycleReady) != (c.want == "") || !strings.Contains(got.Message, c.want) {
			t.Errorf("%s: got %s, %q; want %q", c.reason, got.Phase, got.Message, c.want)
		}
	}
	bare := object("Cluster", "default", "dev", map[string]any{"spec": map[string]any{}})
	if got := Observe(Ground{Cluster: &bare}); got.Version != "" || got.Phase != v1alpha1.LifecycleWorking || !strings.Contains(got.Message, "of no class") {
		t.Errorf("one of no class: %+v", got)
	}
}

func TestWhichVersionsAClusterCanHaveNext(t *testing.T) {
	for _, c := range []struct {
		from    string
		offered []string
		want    []string
	}{
		{"v1.35.4", []string{"v1.34.1", "v1.35.4", "v1.35.9", "v1.36.3", "v1.37.0"}, []string{"v1.35.9", "v1.36.3"}},
		{"v1.36.3", []string{"v1.35.4", "v1.36.3"}, nil},
		{"v1.35.4", nil, []string{"v1.35", "v1.36"}}, // whoever has the class knows
		{"latest", []string{"v1.36.3"}, nil},
	} {
		if diff := cmp.Diff(c.want, nextOf(c.from, c.offered)); diff != "" {
			t.Errorf("from %s, of %q (-want +got):\n%s", c.from, c.offered, diff)
		}
	}
}

// TestWhichRolloutAClusterFollows: step after step upwards, whoever asked first; and none that has not moved it.
func TestWhichRolloutAClusterFollows(t *testing.T) {
	begun := time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC)
	to := func(name, release string, minute int, change func(*v1alpha1.Rollout)) v1alpha1.Rollout {
		r := v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(begun.Add(time.Duration(minute) * time.Minute))}}
		r.Spec.Kubernetes, r.Spec.Release = &v1alpha1.KubernetesRollout{}, release
		r.Status.Stages = []v1alpha1.StageStatus{{Name: "all", Moved: []v1alpha1.ClusterName{"dev"}}}
		if change != nil {
			change(&r)
		}
		return r
	}
	complete := func(r *v1alpha1.Rollout) {
		r.Status.Completed, r.Status.Stages[0].Moved = new(metav1.NewTime(begun)), nil
	}
	for _, c := range []struct {
		reason   string
		has      string
		rollouts []v1alpha1.Rollout
		want     string
	}{
		{"none", "v1.34.1", nil, ""},
		{"one", "v1.35.4", []v1alpha1.Rollout{to("a", "v1.36.3", 0, nil)}, "a"},
		{"it is there", "v1.36.3", []v1alpha1.Rollout{to("a", "v1.36.3", 0, nil)}, ""},
		{"it is past it", "v1.37.0", []v1alpha1.Rollout{to("a", "v1.36.3", 0, nil)}, ""},
		{"of two the one with the next step, though it came later", "v1.34.1", []v1alpha1.Rollout{to("a", "v1.36.3", 0, nil), to("b", "v1.35.4", 1, nil)}, "b"},
		{"of two of one version the older", "v1.35.4", []v1alpha1.Rollout{to("b", "v1.36.3", 1, nil), to("a", "v1.36.3", 0, nil)}, "a"},
		{"its turn has not come", "v1.35.4", []v1alpha1.Rollout{to("a", "v1.36.3", 0, func(r *v1alpha1.Rollout) {
			r.Status.Stages[0].Moved, r.Status.Stages[0].Waiting = nil, []v1alpha1.ClusterName{"dev"}
		})}, ""},
		{"one that has not begun", "v1.35.4", []v1alpha1.Rollout{to("a", "v1.36.3", 0, func(r *v1alpha1.Rollout) { r.Status = v1alpha1.RolloutStatus{} })}, ""},
		{"it was paused after it was moved: it carries on", "v1.35.4", []v1alpha1.Rollout{to("a", "v1.36.3", 0, func(r *v1alpha1.Rollout) { r.Spec.Intent = v1alpha1.IntentPause })}, "a"},
		{"one that is complete says nothing of who came later", "v1.35.4", []v1alpha1.Rollout{to("a", "v1.36.3", 0, complete)}, ""},
		{"one that is complete, and that it follows", "v1.35.4", []v1alpha1.Rollout{to("a", "v1.36.3", 0, func(r *v1alpha1.Rollout) {
			complete(r)
			r.Status.Moving = []v1alpha1.MovingClusters{{Clusters: []v1alpha1.ClusterName{"dev"}}}
		})}, "a"},
		{"out of a backup", "v1.35.4", []v1alpha1.Rollout{to("a", "v1.36.3", 0, func(r *v1alpha1.Rollout) {
			r.Annotations = map[string]string{v1alpha1.RestoredAnnotation: "x"}
		})}, ""},
		{"of a Package", "v1.35.4", []v1alpha1.Rollout{to("a", "v1.36.3", 0, func(r *v1alpha1.Rollout) { r.Spec.Kubernetes = nil })}, ""},
	} {
		got := ""
		if r := Ordered("dev", c.has, c.rollouts); r != nil {
			got = r.Name
		}
		if got != c.want {
			t.Errorf("%s: it follows %q, want %q", c.reason, got, c.want)
		}
	}
}
