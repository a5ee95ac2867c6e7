package members

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
)

// TestFeatures: the status has what the agent that is in session knows of, as far as there is room for it, and nothing of the one before.
func TestFeatures(t *testing.T) {
	var many []string
	for i := range 100 {
		many = append(many, fmt.Sprintf("f%02d", i))
	}
	for _, c := range []struct {
		reason string
		says   []string
		want   []string
	}{
		{"an agent of this version", wire.Features(), wire.Features()},
		{"one of before", nil, nil},
		{"in another order, and twice", []string{"b", "a", "b"}, []string{"a", "b"}},
		{"what has no name, or too long a one", []string{"", strings.Repeat("x", 65), "a"}, []string{"a"}},
		{"more than there is room for", many, many[:64]},
	} {
		member := &v1alpha1.MemberCluster{Status: v1alpha1.MemberClusterStatus{AgentFeatures: []string{"of-the-one-before"}}}
		facts := Facts{Heard: true, InSession: true, AgentVersion: "v1", Features: featuresOf(&wire.Hello{Features: c.says})}
		status, _ := Plan(member, facts, Desired{}, Hub{Now: start})
		if !slices.Equal(status.AgentFeatures, c.want) {
			t.Errorf("%s: %v, want %v", c.reason, status.AgentFeatures, c.want)
		}
		if unheard, _ := Plan(member, Facts{}, Desired{}, Hub{Now: start}); !slices.Equal(unheard.AgentFeatures, member.Status.AgentFeatures) {
			t.Errorf("without a word of the agent it is %v", unheard.AgentFeatures)
		}
	}
}
