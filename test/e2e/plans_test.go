//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// plans: a package that requires a plan changes what somebody has seen, and waits where the world has moved since
// (docs/operate/plan.md).
func plans(s *story) {
	version := func(value, more string) string {
		return fmt.Sprintf("apiVersion: umbel.dev/v1alpha1\nkind: Package\nmetadata: {name: planned, namespace: default}\nspec:\n  plan: Required\n"+
			"  placementRef: {name: everywhere}\n  source:\n    inline:\n      objects:\n"+
			"      - {apiVersion: v1, kind: ConfigMap, metadata: {name: planned, namespace: default}, data: {v: %q}}\n%s", value, more)
	}
	says := func(yaml string) {
		s.Helper()
		if err := s.manifest(yaml); err != nil {
			s.Fatal(err)
		}
	}
	says(version("1", ""))
	s.packageSays("planned", v1alpha1.ConditionReady, metav1.ConditionFalse, "`umbel plan planned -n default --release planned-")
	s.umbel("plan", "planned", "--release", waitingRelease(s.pkg("planned")), "--save")
	for _, cluster := range everyCluster {
		s.holds(cluster, "default", "planned", "v", "1")
	}
	s.packageSays("planned", v1alpha1.ConditionReady, metav1.ConditionTrue)

	// A plan that is made ahead, and a world that moves before it is carried out.
	next := version("2", "      - {apiVersion: v1, kind: ConfigMap, metadata: {name: planned-more, namespace: default}, data: {v: more}}\n")
	file := filepath.Join(s.TempDir(), "planned.yaml")
	if err := os.WriteFile(file, []byte(next), 0o600); err != nil {
		s.Fatal(err)
	}
	s.umbel("plan", "-f", file, "--save")
	client := s.clients("dev")
	theirs := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "planned-more"}, Data: map[string]string{"theirs": "yes"}}
	if _, err := client.CoreV1().ConfigMaps("default").Create(s.ctx, theirs, metav1.CreateOptions{}); err != nil {
		s.Fatal(err)
	}
	says(next)
	s.holds("prod-eu", "default", "planned", "v", "2")
	s.holds("prod-us", "default", "planned-more", "v", "more")
	s.packageSays("planned", v1alpha1.ConditionDelivered, metav1.ConditionFalse, "failing: dev", "the cluster is not as it was when its plan was made")
	s.holds("dev", "default", "planned", "v", "1")
	s.umbel("plan", "planned", "--save")
	s.holds("dev", "default", "planned", "v", "2")
	s.holds("dev", "default", "planned-more", "theirs", "yes")
	s.packageSays("planned", v1alpha1.ConditionReady, metav1.ConditionTrue)
	s.deletePackage("planned")
	s.onHub("get plans.umbel.dev -n default") // they go with their package
}

// waitingRelease is the one that the condition Planned of a package names.
func waitingRelease(pkg v1alpha1.Package) string {
	_, after, _ := strings.Cut(condition(pkg.Status.Conditions, v1alpha1.ConditionPlanned).Message, " waits as release ")
	name, _, _ := strings.Cut(after, ",")
	return name
}
