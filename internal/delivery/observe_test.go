package delivery

import (
	"context"
	"fmt"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/decide"
)

// fleet lists the same clusters each time, as the cache does.
type fleet struct {
	client.Reader
	all []v1alpha1.MemberCluster
}

func (f fleet) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	list.(*v1alpha1.MemberClusterList).Items = f.all
	return nil
}

// BenchmarkMembers finds the hundred clusters of a Package among ten thousand that hold fifty others.
func BenchmarkMembers(b *testing.B) {
	var f fleet
	var here []v1alpha1.ClusterName
	for i := range 10_000 {
		m := memberCluster(fmt.Sprintf("c-%05d", i), nil)
		for n := range 10 {
			m.Status.Properties = append(m.Status.Properties, v1alpha1.MemberProperty{Name: fmt.Sprint("p", n), Value: "x"})
		}
		for n := range 50 {
			m.Status.Packages = append(m.Status.Packages, v1alpha1.MemberPackage{Package: v1alpha1.KeyOf("team", fmt.Sprintf("p-%03d", n))})
		}
		if f.all = append(f.all, *m); i%100 == 0 {
			here = append(here, v1alpha1.ClusterName(m.Name))
		}
	}
	v := &visit{key: "team/web", seen: decide.Seen{Placement: placement(1, 1, "True", here...)}}
	b.ReportAllocs()
	for b.Loop() {
		if members, err := membersOf(b.Context(), f, v); err != nil || len(members) != 100 {
			b.Fatal(len(members), err)
		}
	}
}
