package member

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"umbel.dev/umbel/internal/delivery/bundle"
	"umbel.dev/umbel/internal/delivery/outgoing"
	"umbel.dev/umbel/internal/kube/kubetest"
)

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }

// TestALookIsWhatTheAgentDoes: fields that a third one owns are a problem, unless the object asks for them, as the agent does then; and
// what somebody wrote as stringData is compared with data.
func TestALookIsWhatTheAgentDoes(t *testing.T) {
	config := kubetest.Start(t)
	ns := kubetest.Namespace(t, config)
	api := kubernetes.NewForConfigOrDie(config)
	theirs := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a"}, Data: map[string]string{"x": "theirs"}}
	if _, err := api.CoreV1().ConfigMaps(ns).Create(t.Context(), theirs, metav1.CreateOptions{FieldManager: "helm"}); err != nil {
		t.Fatal(err)
	}
	keys := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "keys"}, StringData: map[string]string{"x": "marker-same"}}
	if _, err := api.CoreV1().Secrets(ns).Create(t.Context(), keys, metav1.CreateOptions{FieldManager: "helm"}); err != nil {
		t.Fatal(err)
	}
	cluster, err := Open(config)
	if err != nil {
		t.Fatal(err)
	}
	look := func(format string) Seen {
		t.Helper()
		sent, err := outgoing.All("default/shop", []bundle.Entry{{File: "a.yaml", Object: json.RawMessage(fmt.Sprintf(format, ns))}})
		if err != nil {
			t.Fatal(err)
		}
		seen, err := cluster.Look(t.Context(), sent, How{})
		if err != nil {
			t.Fatal(err)
		}
		return seen[0]
	}
	const plain = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"namespace":%q,"name":"a"},"data":{"x":"ours"}}`
	if seen := look(plain); !strings.Contains(seen.Problem, "field .data.x") || !strings.Contains(seen.Problem, "helm") {
		t.Errorf("the problem is %q", seen.Problem)
	}
	asking := strings.Replace(plain, `"name":"a"`, `"name":"a","annotations":{"umbel.dev/take-over":"true"}`, 1)
	if seen := look(asking); seen.Problem != "" || seen.Then.Object["data"].(map[string]any)["x"] != "ours" {
		t.Errorf("it asks for its fields, and the look says %q, %v", seen.Problem, seen.Then)
	}
	// What Config Sync made once and then left to others, the agent leaves to them as well.
	const left = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"namespace":%%q,"name":"left","annotations":{"client.lifecycle.config.k8s.io/mutation":"ignore"}},"data":{"x":%q}}`
	var there corev1.ConfigMap
	if err := json.Unmarshal(fmt.Appendf(nil, fmt.Sprintf(left, "theirs"), ns), &there); err != nil {
		t.Fatal(err)
	}
	if _, err := api.CoreV1().ConfigMaps(ns).Create(t.Context(), &there, metav1.CreateOptions{FieldManager: "helm"}); err != nil {
		t.Fatal(err)
	}
	if seen := look(fmt.Sprintf(left, "ours")); seen.Problem != "" || seen.Then.Object["data"].(map[string]any)["x"] != "theirs" {
		t.Errorf("it is left to others, and the look says %q, %v", seen.Problem, seen.Then)
	}
	const secret = `{"apiVersion":"v1","kind":"Secret","metadata":{"namespace":%%q,"name":"keys"},"stringData":{"x":%s}}`
	if seen := look(fmt.Sprintf(secret, `"marker-same"`)); seen.Problem != "" || fmt.Sprint(seen.Then.Object["data"]) != fmt.Sprint(seen.Now.Object["data"]) {
		t.Errorf("the same value: %q", seen.Problem)
	}
	if seen := look(fmt.Sprintf(secret, `"marker-other"`)); !strings.Contains(seen.Problem, "field .data.x") || strings.Contains(seen.Problem, "marker") {
		t.Errorf("another value: %q", seen.Problem)
	}
	if seen := look(fmt.Sprintf(secret, "4711")); seen.Problem != "stringData.x: is not a string: put it in quotes" {
		t.Errorf("no string: %q", seen.Problem)
	}
}
