//go:build e2e

package e2e

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"

	"umbel.dev/umbel/test/rig"
)

// renderedChart renders the hub's chart as Helm would install it, and returns its objects by kind and what Helm says at the end.
func renderedChart(t *testing.T, namespace string, values ...string) (map[string][]unstructured.Unstructured, string, error) {
	t.Helper()
	args := []string{
		"install", "umbel-hub", filepath.Join(rig.Root(), "deploy", "chart"), "--namespace", namespace, "--dry-run=client",
		"--set", "address=hub.example.com:443,image=registry.example.com/umbel/hub:v1,registry.url=https://registry.example.com/fleet",
	}
	for _, value := range values {
		args = append(args, "--set", value)
	}
	helm := exec.Command(rig.Binary("helm"), args...)
	helm.Env = append(os.Environ(), "HOME="+t.TempDir(), "KUBECONFIG=/dev/null")
	out, err := helm.CombinedOutput()
	if err != nil {
		return nil, string(out), err
	}
	_, manifests, _ := strings.Cut(string(out), "MANIFEST:\n")
	manifests, notes, _ := strings.Cut(manifests, "NOTES:\n")
	made := map[string][]unstructured.Unstructured{}
	reader := yaml.NewYAMLOrJSONDecoder(strings.NewReader(manifests), 4096)
	for {
		var o unstructured.Unstructured
		if err := reader.Decode(&o.Object); errors.Is(err, io.EOF) {
			return made, notes, nil
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, manifests)
		}
		if o.Object != nil {
			made[o.GetKind()] = append(made[o.GetKind()], o)
		}
	}
}

// TestChart: the audit log outlives a new version unless somebody decides otherwise, and is told so; and the hub has rights on
// Secrets in its own namespace alone.
func TestChart(t *testing.T) {
	made, notes, err := renderedChart(t, "umbel-system")
	if err != nil {
		t.Fatalf("%v: %s", err, notes)
	}
	claims, _, _ := unstructured.NestedSlice(made["StatefulSet"][0].Object, "spec", "volumeClaimTemplates")
	if len(claims) != 1 || strings.Contains(notes, "WARNING") || !strings.Contains(notes, "audit log on a volume") {
		t.Errorf("by default it has the claims %v, and Helm says %s", claims, notes)
	}
	boundBy := func(kind string) (roles []string) { // of the whole cluster's roles
		for _, o := range made[kind] {
			if role, _, _ := unstructured.NestedStringMap(o.Object, "roleRef"); role["kind"] == "ClusterRole" {
				roles = append(roles, role["name"])
			}
		}
		return roles
	}
	everybody := boundBy("ClusterRoleBinding")
	secrets := func(kind string) (verbs []string) {
		for _, o := range made[kind] {
			if kind == "ClusterRole" && !slices.Contains(everybody, o.GetName()) {
				continue // it is for owners of namespaces to bind
			}
			rules, _, _ := unstructured.NestedSlice(o.Object, "rules")
			for _, r := range rules {
				rule := r.(map[string]any)
				on, _, _ := unstructured.NestedStringSlice(rule, "resources")
				may, _, _ := unstructured.NestedStringSlice(rule, "verbs")
				if slices.Contains(on, "secrets") {
					verbs = append(verbs, may...)
				}
			}
		}
		return verbs
	}
	if len(everybody) == 0 || len(boundBy("RoleBinding")) > 0 {
		t.Errorf("roles of the whole cluster are bound everywhere: %q, and in namespaces: %q", everybody, boundBy("RoleBinding"))
	}
	if everywhere, inside := secrets("ClusterRole"), secrets("Role"); len(everywhere) > 0 || !slices.Contains(inside, "get") {
		t.Errorf("it may do %v with every Secret, and %v with those of its namespace", everywhere, inside)
	}
	for _, role := range made["Role"] {
		if role.GetNamespace() != "umbel-system" {
			t.Errorf("role %s is in namespace %q", role.GetName(), role.GetNamespace())
		}
	}

	made, notes, err = renderedChart(t, "umbel-system", "storage.size=")
	if err != nil {
		t.Fatalf("%v: %s", err, notes)
	}
	claims, _, _ = unstructured.NestedSlice(made["StatefulSet"][0].Object, "spec", "volumeClaimTemplates")
	if len(claims) != 0 || !strings.Contains(notes, "WARNING: storage.size is empty") {
		t.Errorf("without a volume it has the claims %v, and Helm says %s", claims, notes)
	}
	if _, out, err := renderedChart(t, "elsewhere"); err == nil || !strings.Contains(out, "install it there (--namespace umbel-system") {
		t.Errorf("in another namespace: %v: %s", err, out)
	}
}
