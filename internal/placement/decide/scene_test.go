package decide

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// noon is when tests decide.
var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// member is a connected cluster with these labels, as KEY=VALUE.
func member(name string, labels ...string) Cluster {
	c := Cluster{Name: v1alpha1.ClusterName(name), Labels: map[string]string{}, KubernetesVersion: "v1.36.3", AgentVersion: "v0.3.0"}
	for _, pair := range labels {
		key, value, _ := strings.Cut(pair, "=")
		c.Labels[key] = value
	}
	return c
}

func (c Cluster) with(change func(*Cluster)) Cluster {
	change(&c)
	return c
}

func (c Cluster) tainted(text string) Cluster {
	named, effect, _ := strings.Cut(text, ":")
	key, value, _ := strings.Cut(named, "=")
	c.Taints = append(slices.Clone(c.Taints), v1alpha1.Taint{Key: key, Value: value, Effect: v1alpha1.TaintEffect(effect)})
	return c
}

func (c Cluster) lost(ago time.Duration) Cluster {
	c.Lost = noon.Add(-ago)
	return c
}

func (c Cluster) property(name, value string) Cluster {
	properties := maps.Clone(c.Properties)
	if properties == nil {
		properties = map[string]string{}
	}
	properties[name], c.Properties = value, properties
	return c
}

// of is a fleet of these clusters.
func of(clusters ...Cluster) Fleet {
	all := Fleet{}
	for i := range clusters {
		all[clusters[i].Name] = &clusters[i]
	}
	return all
}

// placed is a Placement called shops with this spec.
func placed(spec v1alpha1.PlacementSpec) *v1alpha1.Placement {
	return &v1alpha1.Placement{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "shops", Generation: 1}, Spec: spec}
}

func compiled(t testing.TB, spec v1alpha1.PlacementSpec) *Plan {
	t.Helper()
	plan, err := Compile(placed(spec))
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// next is what the next decision finds of this one.
func (d Decision) next() Before {
	return Before{Generation: 1, Clusters: d.Clusters(), Undecided: d.Undecided, Leaving: d.Leaving}
}

// String reads a decision in a line: the selected, (undecided), [who leaves when], {shortfall}.
func (d Decision) String() string {
	text := strings.Join(texts(d.Clusters()), " ")
	if len(d.Undecided) > 0 {
		text += " (" + strings.Join(texts(d.Undecided), " ") + ")"
	}
	for _, group := range d.Leaving {
		text += fmt.Sprintf(" [%s %s: %s]", strings.Join(texts(group.Clusters), " "), group.Until.Sub(noon), group.Because)
	}
	if d.Shortfall.Reason != "" {
		text += fmt.Sprintf(" {%s: %s}", d.Shortfall.Reason, d.Shortfall.Message)
	}
	return strings.TrimSpace(text)
}

func texts(names []v1alpha1.ClusterName) []string {
	var list []string
	for _, name := range names {
		list = append(list, string(name))
	}
	return list
}

func number(n int32) *int32 { return &n }

func duration(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }

func selecting(pairs ...string) metav1.LabelSelector {
	return metav1.LabelSelector{MatchLabels: member("", pairs...).Labels}
}
