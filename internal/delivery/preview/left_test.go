package preview

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/outgoing"
	"umbel.dev/umbel/internal/delivery/sealed"
	"umbel.dev/umbel/internal/kube/kubetest"
)

// TestPreviewOfWhatIsLeftToOthers: what the agent leaves to others is no change, whether it owns that still or somebody else does;
// everything else of the object is.
func TestPreviewOfWhatIsLeftToOthers(t *testing.T) {
	config := kubetest.Start(t)
	ns := kubetest.Namespace(t, config)
	api := kubernetes.NewForConfigOrDie(config)
	maps, deployments := "/api/v1/namespaces/"+ns+"/configmaps/", "/apis/apps/v1/namespaces/"+ns+"/deployments/"
	t.Cleanup(func() { // other tests look at what the package has anywhere
		ctx := context.WithoutCancel(t.Context())
		if err := api.CoreV1().ConfigMaps(ns).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: v1alpha1.PackageLabel}); err != nil {
			t.Error(err)
		}
		if err := api.AppsV1().Deployments(ns).Delete(ctx, "web", metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	left := func(name, value string) string {
		return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: %s, name: %s, annotations: {umbel.dev/drift: ignore}}\ndata: {key: %q}\n", ns, name, value)
	}
	web := func(image string, replicas int) string {
		return fmt.Sprintf("apiVersion: apps/v1\nkind: Deployment\nmetadata: {namespace: %s, name: web}\nspec:\n  replicas: %d\n  selector: {matchLabels: {a: b}}\n"+
			"  template: {metadata: {labels: {a: b}}, spec: {containers: [{name: side, image: s}, {name: web, image: %s}]}}\n", ns, replicas, image)
	}
	for _, name := range []string{"ours", "theirs", "managed", "more"} {
		apply(t, api, v1alpha1.FieldManager, maps+name, configMap(ns, name, "old"))
	}
	apply(t, api, v1alpha1.FieldManager, maps+"whole", left("whole", "old"))
	apply(t, api, v1alpha1.FieldManager, deployments+"web", web("old", 2))
	for _, manager := range []string{"theirs", "managed"} {
		patch := []byte(`{"data":{"key":"theirs"}}`)
		if _, err := api.CoreV1().ConfigMaps(ns).Patch(t.Context(), manager, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "robot"}); err != nil {
			t.Fatal(err)
		}
	}
	rules, err := outgoing.RulesOf([]*wire.DriftIgnore{
		{Kind: "ConfigMap", Name: "ours", JsonPointers: []string{"/data/key"}}, {Kind: "ConfigMap", Name: "theirs", JsonPointers: []string{"/data/key"}},
		{Kind: "ConfigMap", Name: "more", JsonPointers: []string{"/data/key"}},
		{Kind: "ConfigMap", Name: "managed", Managers: []string{"robot"}},
		{Group: "apps", Kind: "Deployment", Namespace: ns, JsonPointers: []string{"/spec/template/spec/containers/1/image", "/spec/replicas"}},
		{Kind: "Secret", JsonPointers: []string{"/data"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	member, err := Open(config)
	if err != nil {
		t.Fatal(err)
	}
	seen, err := member.Of(t.Context(), content(t,
		configMap(ns, "ours", "new"), configMap(ns, "theirs", "new"), configMap(ns, "managed", "new"), left("whole", "new"), web("new", 5),
		fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: %s, name: more}\ndata: {key: new, other: new}\n", ns),
	).Under(rules))
	if err != nil {
		t.Fatal(err)
	}
	want := []Change{{
		Action: Update, Object: "ConfigMap " + ns + "/more", File: "5.yaml", Diff: "@@ -1,7 +1,7 @@\n apiVersion: v1\n data:\n   key: old\n-  other: same\n+  other: new\n kind: ConfigMap\n metadata:\n   labels:\n",
	}}
	if diff := cmp.Diff(want, seen.Changes); diff != "" || seen.Same != 5 {
		t.Errorf("%d are the same; changes (-want +got):\n%s", seen.Same, diff)
	}
	broken, err := outgoing.RulesOf([]*wire.DriftIgnore{{Kind: "Deployment", JsonPointers: []string{"/spec/selector/matchLabels/a"}}})
	if err != nil {
		t.Fatal(err)
	}
	seen, err = member.Of(t.Context(), content(t, web("new", 5)).Under(broken))
	if err != nil {
		t.Fatal(err)
	}
	problem := "spec.drift.ignore: the API takes /spec/selector as one, so /spec/selector/matchLabels/a cannot be left to others alone: ignore /spec/selector"
	for _, c := range seen.Changes {
		if c.Action == Update && c.Problem != problem {
			t.Errorf("the agent would refuse it: %+v", c)
		}
	}
}

// TestNobodysCopyOfASecretIsShown: others keep the whole object in an annotation, and the difference is beside that.
func TestNobodysCopyOfASecretIsShown(t *testing.T) {
	secret := func(value string) *unstructured.Unstructured {
		annotations := map[string]any{"another": value}
		for _, kept := range keepers {
			annotations[kept] = "marker-" + value
		}
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "a", "annotations": annotations}, "data": map[string]any{"x": "bWFya2Vy"},
		}}
	}
	diff, err := Difference(secret("old"), secret("new"))
	if err != nil || !strings.Contains(diff, "+    another: new") || strings.Contains(diff, "marker") || strings.Contains(diff, "bWFya2Vy") {
		t.Errorf("%v, %s", err, diff)
	}
}

// TestTidy: a line that is taken and added again stays, and the numbers of lines hold.
func TestTidy(t *testing.T) {
	for diff, want := range map[string]string{
		"@@ -1,2 +1,3 @@\n a\n-b\n+b\n+c\n": "@@ -1,2 +1,3 @@\n a\n b\n+c\n",
		"-a\n-b\n-c\n+a\n+x\n+c\n d\n":      " a\n-b\n+x\n c\n d\n",
		"-a\n+b\n-b\n+c\n":                  "-a\n+b\n-b\n+c\n",
		"-a\n-a\n+a\n":                      " a\n-a\n",
		"+a\n":                              "+a\n", "": "",
	} {
		if got := tidy(diff); got != want {
			t.Errorf("%q is made %q, want %q", diff, got, want)
		}
	}
}

// TestShown: who reads an object reads no value of a Secret, nor of what came encrypted; and changes nothing by it.
func TestShown(t *testing.T) {
	object := func(kind string, annotations map[string]any) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": kind, "metadata": map[string]any{"name": "a", "annotations": annotations, "managedFields": []any{map[string]any{"manager": "who"}}},
			"data": map[string]any{"pin": "bWFya2Vy"}, "stringData": map[string]any{"pin": "marker"},
		}}
	}
	for reason, c := range map[string]struct {
		of     *unstructured.Unstructured
		hidden bool
	}{
		"a Secret":            {object("Secret", map[string]any{keepers[0]: "bWFya2Vy marker"}), true},
		"what came encrypted": {object("ConfigMap", map[string]any{sealed.EncryptedAnnotation: "x"}), true},
		"another":             {object("ConfigMap", map[string]any{"other": "x"}), false},
	} {
		before := c.of.DeepCopy()
		text, err := Shown(c.of)
		if err != nil || strings.Contains(text, "bWFya2Vy") == c.hidden || strings.Contains(text, "marker") == c.hidden || strings.Contains(text, hidden) != c.hidden || strings.Contains(text, "manager") || !strings.Contains(text, "name: a") {
			t.Errorf("%s is shown as %v\n%s", reason, err, text)
		}
		if diff := cmp.Diff(before, c.of); diff != "" {
			t.Errorf("%s is changed by it: %s", reason, diff)
		}
	}
}
