package ending

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

var begun = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// part is an object whose owner is another one; held is its finalizer while it is being deleted, after so many seconds.
func part(name, owner, held string, after int) unstructured.Unstructured {
	o := unstructured.Unstructured{Object: map[string]any{"apiVersion": "x.cluster.x-k8s.io/v1", "kind": "Part"}}
	o.SetName(name)
	o.SetUID(types.UID(name))
	if owner != "" {
		o.SetOwnerReferences([]metav1.OwnerReference{{UID: types.UID(owner), Name: owner}})
	}
	if held != "" {
		o.SetFinalizers([]string{held})
		at := metav1.NewTime(begun.Add(time.Duration(after) * time.Second))
		o.SetDeletionTimestamp(&at)
	}
	return o
}

func TestBlockers(t *testing.T) {
	said := part("a", "", "x", 0)
	said.Object["status"] = map[string]any{"conditions": []any{
		map[string]any{"type": "Ready", "message": "not asked"},
		map[string]any{"type": "Deleting", "message": "* Drain not completed:\n  * pod web cannot be evicted"},
	}}
	for _, c := range []struct {
		reason string
		parts  []unstructured.Unstructured
		want   []string
	}{
		{"nothing is there", nil, nil},
		{"nothing is being deleted", []unstructured.Unstructured{part("a", "", "", 0)}, nil},
		{"the lowest, not who waits for it", []unstructured.Unstructured{part("a", "", "x", 0), part("b", "a", "y", 1), part("c", "b", "z", 2)},
			[]string{"blocked by finalizer z of Part c since 12:00:02 UTC"}},
		{"through one that is not being deleted", []unstructured.Unstructured{part("a", "", "x", 0), part("b", "a", "", 0), part("c", "b", "z", 2)},
			[]string{"blocked by finalizer z of Part c since 12:00:02 UTC"}},
		{"two beside each other, the oldest first", []unstructured.Unstructured{part("a", "", "x", 0), part("b", "a", "y", 9), part("c", "a", "z", 2)},
			[]string{"blocked by finalizer z of Part c since 12:00:02 UTC", "blocked by finalizer y of Part b since 12:00:09 UTC"}},
		{"the owner is somebody else's", []unstructured.Unstructured{part("b", "elsewhere", "y", 1)}, []string{"blocked by finalizer y of Part b since 12:00:01 UTC"}},
		{"its own owner", []unstructured.Unstructured{part("a", "a", "x", 0)}, []string{"blocked by finalizer x of Part a since 12:00:00 UTC"}},
		{"what is below owns itself", []unstructured.Unstructured{part("a", "", "x", 0), part("b", "b", "", 0)}, []string{"blocked by finalizer x of Part a since 12:00:00 UTC"}},
		{"with why", []unstructured.Unstructured{said}, []string{"blocked by finalizer x of Part a since 12:00:00 UTC: Drain not completed: pod web cannot be evicted"}},
	} {
		var got []string
		for _, b := range Blockers(c.parts) {
			got = append(got, b.String())
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.reason, diff)
		}
	}
}

// TestACircleOfOwnersEnds: two that own each other, both held, are asked about for ever by nobody, and one of them is named at least.
func TestACircleOfOwnersEnds(t *testing.T) {
	if got := Blockers([]unstructured.Unstructured{part("a", "b", "x", 0), part("b", "a", "y", 1)}); len(got) == 0 {
		t.Error("nothing blocks")
	}
}

func TestOrphanOf(t *testing.T) {
	p := part("net", "", "aws", 0)
	p.SetUID("9f86")
	p.Object["spec"] = map[string]any{
		"region":  "eu-1",
		"network": map[string]any{"vpc": map[string]any{"id": "vpc-1", "cidrBlock": "10.0.0.0/16"}, "subnets": []any{map[string]any{"resourceID": "subnet-1"}, map[string]any{"resourceID": "subnet-2"}}},
		"ref":     map[string]any{"uid": "no identifier of a provider", "name": "net"},
	}
	p.Object["status"] = map[string]any{"bastion": map[string]any{"instanceId": "i-1", "publicIp": ""}, "idle": true, "paid": "yes"}
	want := Orphan{Kind: "Part.x.cluster.x-k8s.io", Name: "net", UID: "9f86", Finalizers: []string{"aws"}, IDs: map[string]string{
		"spec.region": "eu-1", "spec.network.vpc.id": "vpc-1", "spec.network.subnets[0].resourceID": "subnet-1", "spec.network.subnets[1].resourceID": "subnet-2",
		"status.bastion.instanceId": "i-1",
	}}
	if diff := cmp.Diff(want, OrphanOf(&p)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
