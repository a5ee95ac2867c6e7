package enrol

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"umbel.dev/umbel/api/v1alpha1"
)

func newCluster(change func(*unstructured.Unstructured)) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{
		"spec": map[string]any{}, "status": map[string]any{"initialization": map[string]any{"controlPlaneInitialized": true}},
	}}
	o.SetNamespace("default")
	o.SetName("dev")
	o.SetAnnotations(map[string]string{v1alpha1.JoinAnnotation: "true"})
	change(o)
	return o
}

func TestDecide(t *testing.T) {
	gone := metav1.NewTime(time.Unix(1, 0))
	for _, c := range []struct {
		reason string
		change func(*unstructured.Unstructured)
		want   course
	}{
		{"it serves, and wants to", func(*unstructured.Unstructured) {}, join},
		{"nobody asked for it", func(o *unstructured.Unstructured) { o.SetAnnotations(nil) }, follow},
		{"it does not want to", func(o *unstructured.Unstructured) {
			o.SetAnnotations(map[string]string{v1alpha1.JoinAnnotation: "false"})
		}, follow},
		{"nobody asked for it, and it is ending", func(o *unstructured.Unstructured) {
			o.SetDeletionTimestamp(&gone)
			o.SetFinalizers([]string{capiFinalizer})
			o.SetAnnotations(nil)
		}, leave},
		{"its API has not served", func(o *unstructured.Unstructured) { delete(o.Object, "status") }, wait},
		{"it is paused", func(o *unstructured.Unstructured) { o.Object["spec"] = map[string]any{"paused": true} }, wait},
		{"it is ending", func(o *unstructured.Unstructured) {
			o.SetDeletionTimestamp(&gone)
			o.SetFinalizers([]string{capiFinalizer, finalizer})
		}, wait},
		{"it has ended", func(o *unstructured.Unstructured) {
			o.SetDeletionTimestamp(&gone)
			o.SetFinalizers([]string{finalizer})
		}, forget},
		{"it has ended, and nobody asks for it any more", func(o *unstructured.Unstructured) {
			o.SetDeletionTimestamp(&gone)
			o.SetFinalizers([]string{finalizer})
			o.SetAnnotations(nil)
		}, forget},
		{"it never was a member", func(o *unstructured.Unstructured) {
			o.SetDeletionTimestamp(&gone)
			o.SetFinalizers([]string{capiFinalizer})
		}, leave},
	} {
		if got := decide(newCluster(c.change)); got != c.want {
			t.Errorf("%s: got %s, want %s", c.reason, got, c.want)
		}
	}
}

func TestLabelsAreThePersonsOwn(t *testing.T) {
	cluster := newCluster(func(o *unstructured.Unstructured) {
		o.SetLabels(map[string]string{
			"env": "dev", "example.com/team": "a", "cluster.x-k8s.io/cluster-name": "dev", "topology.cluster.x-k8s.io/owned": "", "notcluster.x-k8s.io/x": "y",
		})
	})
	if diff := cmp.Diff(map[string]string{"env": "dev", "example.com/team": "a", "notcluster.x-k8s.io/x": "y"}, Labels(cluster)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestHasAll(t *testing.T) {
	for _, c := range []struct {
		reason      string
		has, wanted map[string]string
		want        bool
	}{
		{"nothing is wanted", nil, nil, true},
		{"others may be there", map[string]string{"a": "1", "b": "2"}, map[string]string{"a": "1"}, true},
		{"somebody changed it", map[string]string{"a": "2"}, map[string]string{"a": "1"}, false},
		{"somebody took it away", nil, map[string]string{"a": ""}, false},
	} {
		if got := hasAll(c.has, c.wanted); got != c.want {
			t.Errorf("%s: got %t", c.reason, got)
		}
	}
}

func TestAMemberOfThatNameIsLeftAlone(t *testing.T) {
	cluster := newCluster(func(*unstructured.Unstructured) {})
	member := func(managed string) *v1alpha1.MemberCluster {
		m := &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "dev"}}
		if managed != "" {
			m.Annotations = map[string]string{v1alpha1.ManagedAnnotation: managed}
		}
		return m
	}
	for _, c := range []struct {
		reason, want string
		member       *v1alpha1.MemberCluster
	}{
		{"none", "", nil},
		{"this very Cluster", "", member("default/dev")},
		{"one that joined by itself", "`umbel leave dev` takes it out", member("")},
		{"a Cluster of another namespace", "which is the Cluster team/dev", member("team/dev")},
	} {
		err := checkMember(cluster, c.member)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.reason, err, c.want)
		}
	}
}
