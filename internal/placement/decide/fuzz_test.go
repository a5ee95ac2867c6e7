package decide

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// sane says whether a decision is a sorted list of clusters that may be selected.
func sane(t *testing.T, d Decision) {
	t.Helper()
	for i, name := range d.Clusters() {
		if name == "prod-old" || name == "waits" || i > 0 && d.Clusters()[i-1] >= name {
			t.Errorf("selected %q", d.Clusters())
		}
	}
}

// FuzzSelector: whatever the selector, an error that names its field, or a decision.
func FuzzSelector(f *testing.F) {
	f.Add("env", "In", "prod")
	f.Add("", "", "")
	f.Add("a/b/c", "Exists", "\x00")
	f.Fuzz(func(t *testing.T, key, operator, value string) {
		plan, err := Compile(placed(v1alpha1.PlacementSpec{ClusterSelector: metav1.LabelSelector{
			MatchLabels: map[string]string{key: value},
			MatchExpressions: []metav1.LabelSelectorRequirement{
				{Key: key, Operator: metav1.LabelSelectorOperator(operator), Values: []string{value}},
			},
		}}))
		if err != nil {
			if !strings.Contains(err.Error(), "spec.clusterSelector") {
				t.Errorf("the error names no field: %v", err)
			}
			return
		}
		sane(t, plan.Decide(of(fleet()...), Before{}, noon))
	})
}

// FuzzField: whatever the field, an error that names it, or a decision.
func FuzzField(f *testing.F) {
	f.Add("kubernetesVersion", "AtLeast", "v1.36", "v1.36.3-gke.100")
	f.Add("properties.cpu", "Below", "1500m", "2Gi")
	f.Add("name", "In", "", "\xff")
	f.Fuzz(func(t *testing.T, name, operator, value, said string) {
		plan, err := Compile(placed(fields(name, v1alpha1.FieldOperator(operator), value)))
		if err != nil {
			if !strings.Contains(err.Error(), "spec.fields[0]") {
				t.Errorf("the error names no field: %v", err)
			}
			return
		}
		c := member("a").property("cpu", said).with(func(c *Cluster) { c.KubernetesVersion, c.AgentVersion = said, said })
		sane(t, plan.Decide(of(append(fleet(), c)...), Before{}, noon))
		plan.Trace(&c, Before{})
	})
}

// FuzzExpression: whatever the expression, an error that names its field, or a decision in which nobody who is selected
// already is lost by an error.
func FuzzExpression(f *testing.F) {
	for _, text := range []string{
		"cluster.labels.env == 'prod'", "semver(cluster.version, true).major() == 1", "cluster.name.matches('^(a+)+$')",
		"cluster.labels.all(k, cluster.labels.all(l, k == l))", "1/0 == 1", "cluster.labels[?'a'].hasValue()", "true ? cluster.name : 1", "((((", "\x00",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		spec := expressed(text)
		spec.NumberOfClusters, spec.Scores = number(2), []v1alpha1.Score{{Weight: 3, Expression: "1"}}
		plan, err := Compile(placed(spec))
		if err != nil {
			if !strings.Contains(err.Error(), "spec.expressions[0]") {
				t.Errorf("the error names no field: %v", err)
			}
			return
		}
		held := Before{Generation: 1, Clusters: []v1alpha1.ClusterName{"dev", "prod-eu"}}
		decision := plan.Decide(of(fleet()...), held, noon)
		sane(t, decision)
		for _, c := range fleet() {
			if v := plan.judge(&c); named(held.Clusters, c.Name) && v.doubtful() && !named(decision.Clusters(), c.Name) {
				t.Errorf("%s was lost by an error of %q", c.Name, text)
			}
			plan.Trace(&c, held)
		}
	})
}
