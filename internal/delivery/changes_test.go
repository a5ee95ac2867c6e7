package delivery

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/intstr"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/bundle"
)

func TestCompare(t *testing.T) {
	space, a, b, c := bundle.Key{Kind: "Namespace", Name: "x"}, bundle.Key{Kind: "ConfigMap", Name: "a"}, bundle.Key{Kind: "ConfigMap", Name: "b"}, bundle.Key{Kind: "ConfigMap", Name: "c"}
	changes, deleted := Compare(listing{space: 1, a: 1, b: 1}, listing{b: 2, c: 1})
	if diff := cmp.Diff(v1alpha1.Changes{Added: 1, Changed: 1, Deleted: 2, Protected: 1}, changes); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	gone := map[bundle.Key]bool{}
	for _, key := range deleted {
		gone[key] = true
	}
	if diff := cmp.Diff([]string{"Namespace x", "ConfigMap a"}, firstNames(gone)); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

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
