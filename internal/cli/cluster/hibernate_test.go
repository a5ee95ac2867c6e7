package cluster

import (
	"strings"
	"testing"

	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
)

// TestWhatSleepsIsNotWaitedFor: what is asked of a cluster that hibernates is refused with what wakes it, and nothing is changed.
func TestWhatSleepsIsNotWaitedFor(t *testing.T) {
	d := newDesk(t)
	c := d.cluster("sleeps", map[string]string{v1alpha1.HibernatedAnnotation: "true"})
	for _, args := range []string{
		"scale sleeps --workers 2", "scale sleeps --control-plane 3", "pool add sleeps big", "pool scale sleeps workers --workers 2", "pool delete sleeps workers --yes",
		"backup sleeps --to folder:sleeps", "kubeconfig sleeps",
	} {
		if _, _, err := d.umbel(strings.Fields(args)...); err == nil || !strings.Contains(err.Error(), "it hibernates: `umbel cluster wake sleeps -n default` starts it") {
			t.Errorf("umbel cluster %s: got %v", args, err)
		}
	}
	now := c.DeepCopy()
	if err := d.hub.Get(t.Context(), kube.ObjectKeyFromObject(c), now); err != nil || now.GetResourceVersion() != c.GetResourceVersion() {
		t.Errorf("it was %s, and is %s (%v)", c.GetResourceVersion(), now.GetResourceVersion(), err)
	}
	if out, _, err := d.umbel("get", "sleeps", "-o", "wide"); err != nil || !strings.Contains(out, "Hibernated") || !strings.Contains(out, "umbel cluster wake sleeps") {
		t.Errorf("umbel cluster get: %v\n%s", err, out)
	}
	if out, _, err := d.umbel("describe", "sleeps"); err != nil || !strings.Contains(out, "Hibernated   it hibernates: `umbel cluster wake sleeps") {
		t.Errorf("umbel cluster describe: %v\n%s", err, out)
	}
}

// TestWhoIsAtWork: with others nothing comes about that is asked of them.
func TestWhoIsAtWork(t *testing.T) {
	for want, content := range map[string]map[string]any{
		"":                 {"spec": map[string]any{}},
		"is being deleted": {"metadata": map[string]any{"deletionTimestamp": "2026-11-30T09:00:00Z"}},
		"is paused":        {"spec": map[string]any{"paused": true}},
		"it hibernates": {
			"metadata": map[string]any{"annotations": map[string]any{v1alpha1.HibernatedAnnotation: "true"}}, "spec": map[string]any{"paused": true},
		},
	} {
		c := object("Cluster", "default", "dev", content)
		err := atWork(&c)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestAMemberThatSaysNothing has nothing beside it in the tree.
func TestAMemberThatSaysNothing(t *testing.T) {
	plane := object("HostedControlPlane", "default", "dev", map[string]any{"status": map[string]any{"members": []any{
		map[string]any{"name": "dev-0", "ready": false}, map[string]any{"name": "dev-33", "ready": false, "message": "no answer"}, map[string]any{"name": "dev-34", "ready": true, "address": "https://a:1"},
	}}})
	want := []node{{name: "member dev-0", state: "NotReady"}, {name: "member dev-33", state: "NotReady", message: "no answer"}, {name: "member dev-34", state: "Ready", message: "https://a:1"}}
	got := memberNodes(&plane)
	if len(got) != len(want) {
		t.Fatalf("it has %d members", len(got))
	}
	for i, n := range got {
		if n.name != want[i].name || n.state != want[i].state || n.message != want[i].message {
			t.Errorf("got %+v, want %+v", *n, want[i])
		}
	}
}
