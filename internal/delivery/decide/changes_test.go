package decide

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/intstr"

	"umbel.dev/umbel/api/v1alpha1"
)

// TestExpect: whoever moves clusters to a Release knows before the first of them whether agents will hold its deletes back.
func TestExpect(t *testing.T) {
	released := func(variants ...v1alpha1.Variant) *v1alpha1.Release {
		r := release("two", nil)
		r.Spec.Against, r.Spec.Variants = "one", variants
		return r
	}
	variant := func(objects, deleted, protected int32) v1alpha1.Variant {
		return v1alpha1.Variant{Objects: objects, Changes: &v1alpha1.Changes{Deleted: deleted, Protected: protected}}
	}
	approved := func(objects, protected int32, clusters ...v1alpha1.ClusterName) *v1alpha1.PackageDeletes {
		return &v1alpha1.PackageDeletes{Approved: []v1alpha1.DeleteApproval{{Release: "two", Objects: objects, Protected: protected, Clusters: clusters}}}
	}
	half := intstr.FromString("50%")
	expect := func(deleted, protected int32, over bool) *v1alpha1.PackageChanges {
		return &v1alpha1.PackageChanges{Against: "one", OverBudget: over, Changes: v1alpha1.Changes{Deleted: deleted, Protected: protected}}
	}
	first := released(variant(10, 0, 0))
	first.Spec.Against = ""
	for _, c := range []struct {
		reason  string
		release *v1alpha1.Release
		deletes *v1alpha1.PackageDeletes
		want    *v1alpha1.PackageChanges
	}{
		{"nothing is released", nil, nil, nil},
		{"the first has none before it", first, nil, nil},
		{"nothing was compared", released(v1alpha1.Variant{Objects: 10}), nil, nil},
		{"within the budget", released(variant(90, 10, 0)), nil, expect(10, 0, false)},
		{"over it", released(variant(89, 11, 0)), nil, expect(11, 0, true)},
		{"the variant that deletes most is shown", released(variant(99, 1, 0), variant(55, 45, 0)), nil, expect(45, 0, true)},
		{"another budget", released(variant(55, 45, 0)), &v1alpha1.PackageDeletes{Budget: &half}, expect(45, 0, false)},
		{"a namespace", released(variant(99, 1, 1)), &v1alpha1.PackageDeletes{Budget: &half}, expect(1, 1, true)},
		{"approved", released(variant(55, 45, 1)), approved(45, 1), expect(45, 1, false)},
		{"approved for fewer", released(variant(55, 45, 0)), approved(44, 0), expect(45, 0, true)},
		{"approved for one cluster", released(variant(55, 45, 0)), approved(45, 0, "a"), expect(45, 0, true)},
	} {
		if diff := cmp.Diff(c.want, Expect(c.release, c.deletes)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.reason, diff)
		}
	}
}

// TestMoves: what a Release does, to clusters that had something: each different content of a class once.
func TestMoves(t *testing.T) {
	before := release("one", []string{"cluster.name"}, []string{"a"}, []string{"b"}, []string{"c"}, []string{"d"})
	before.Spec.Variants[1].Digest = before.Spec.Variants[0].Digest // b had what a had
	after := release("two", []string{"cluster.labels.region"}, []string{"eu"}, []string{"us"})
	in := func(name, region string) Cluster {
		return Cluster{Name: v1alpha1.ClusterName(name), Labels: map[string]string{"region": region}}
	}
	moves := Moves(&after.Spec, &before.Spec, []Cluster{in("a", "eu"), in("b", "eu"), in("c", "eu"), in("d", "asia"), in("new", "us")})
	if len(moves) != 1 || moves[0].To != &after.Spec.Variants[0] {
		t.Fatalf("got %v, want one move, to the variant of eu", moves)
	}
	if diff := cmp.Diff([]*v1alpha1.Variant{&before.Spec.Variants[0], &before.Spec.Variants[2]}, moves[0].Had); diff != "" {
		t.Errorf("what they had (-want +got):\n%s", diff)
	}
}
