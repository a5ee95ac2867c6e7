package health

import (
	"cmp"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// FiringAlert is an alert of the hub's rules that fires.
type FiringAlert struct {
	// Object is the PrometheusRule that it comes from, as NAMESPACE/NAME.
	Object, Name        string
	Labels, Annotations map[string]string
	Since               metav1.Time
}

// told are the alerts of a hub that findings tell of already, and sooner: those that it makes of what it knows itself.
const told = v1alpha1.SystemNamespace + "/umbel-fleet"

// broken is the one of them that nothing else tells of.
const broken = "RulesBroken"

// about are the labels that name what an alert is about, the nearest first.
var about = []string{"prometheusrule", "pod", "node", "deployment", "resourcequota", "package", "rollout", "instance", "namespace"}

// alerts makes findings of what fires.
func (f *Fleet) alerts() (found []Finding) {
	for i := range f.Alerts {
		a := &f.Alerts[i]
		if a.Object == told && a.Name != broken {
			continue
		}
		finding := Finding{
			Level: Warning, Kind: Alert, Namespace: a.Labels["cluster"], Reason: a.Name,
			Message: cmp.Or(a.Annotations["summary"], a.Annotations["description"], a.Annotations["message"], a.Name+" fires"), Command: a.Annotations["command"],
		}
		switch strings.ToLower(a.Labels["severity"]) {
		case "critical", "page":
			finding.Level = Critical
		case "warning", "error":
			finding.Level = Failing
		}
		for _, label := range about {
			if finding.Name = a.Labels[label]; finding.Name != "" {
				break
			}
		}
		if !a.Since.IsZero() {
			finding.Since = a.Since.DeepCopy()
		}
		found = append(found, finding)
	}
	return found
}
