package members

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
)

// TestPropertiesAreBounded: whatever a member claims, the API takes what is kept of it.
func TestPropertiesAreBounded(t *testing.T) {
	hostile := []*wire.ClusterProperty{
		{Name: "b", Value: "2"}, {Name: "a", Value: "1"}, {Name: "b", Value: "again"}, {Name: "", Value: "x"}, nil,
		{Name: strings.Repeat("n", v1alpha1.MaxPropertyName+1), Value: "x"},
		{Name: "long", Value: strings.Repeat("v", v1alpha1.MaxPropertyValue+1)}, {Name: "broken", Value: "\xff"},
	}
	var kept []string
	for _, p := range boundedProperties(hostile) {
		kept = append(kept, p.GetName()+"="+p.GetValue())
	}
	if diff := cmp.Diff([]string{"a=1", "b=2"}, kept); diff != "" {
		t.Error(diff)
	}
	for i := range 10_000 {
		hostile = append(hostile, &wire.ClusterProperty{Name: fmt.Sprint("n", i), Value: "v"})
	}
	if n := len(boundedProperties(hostile)); n != v1alpha1.MaxProperties {
		t.Errorf("%d are kept", n)
	}
	if boundedProperties(nil) == nil {
		t.Error("a member that says that it has none has said something")
	}
}

// TestAPropertyKeepsItsAge while its value stays, over sessions and starts of the hub.
func TestAPropertyKeepsItsAge(t *testing.T) {
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	member := &v1alpha1.MemberCluster{}
	member.Status.Properties = []v1alpha1.MemberProperty{
		{Name: "gone", Value: "x", Since: metav1.NewTime(noon)}, {Name: "new", Value: "1", Since: metav1.NewTime(noon)}, {Name: "same", Value: "1", Since: metav1.NewTime(noon)},
	}
	later := noon.Add(time.Hour)
	status, _ := Plan(member, Facts{}, Desired{}, Hub{Now: later})
	if diff := cmp.Diff(member.Status.Properties, status.Properties); diff != "" {
		t.Errorf("before the agent has said anything (-want +got):\n%s", diff)
	}
	heard := boundedProperties([]*wire.ClusterProperty{{Name: "same", Value: "1"}, {Name: "new", Value: "2"}})
	status, _ = Plan(member, Facts{Properties: heard}, Desired{}, Hub{Now: later})
	want := []v1alpha1.MemberProperty{
		{Name: "new", Value: "2", Since: metav1.NewTime(later)}, {Name: "same", Value: "1", Since: metav1.NewTime(noon)},
	}
	if diff := cmp.Diff(want, status.Properties); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
