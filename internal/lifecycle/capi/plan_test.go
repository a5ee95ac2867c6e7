package capi

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"umbel.dev/umbel/api/v1alpha1"
)

const released = `
apiVersion: v1
kind: Namespace
metadata: {name: dev-system}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: dev, annotations: {cert-manager.io/inject-ca-from: dev-system/cert, kept: "yes"}}
webhooks:
- name: a.dev
  clientConfig: {service: {name: webhook-service, namespace: dev-system, path: /validate-a}}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: as.dev, labels: {cluster.x-k8s.io/v1beta2: v1beta2}}
spec:
  conversion: {strategy: Webhook, webhook: {conversionReviewVersions: [v1], clientConfig: {service: {name: webhook-service, path: /convert}}}}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: bs.dev}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: dev-controller-manager}
`

func TestShape(t *testing.T) {
	manifests, err := Parse([]byte(released))
	if err != nil {
		t.Fatal(err)
	}
	kinds, hooks, err := shape("dev", manifests, served{url: "https://127.0.0.1:9", ca: []byte("CA")})
	if err != nil {
		t.Fatal(err)
	}
	var got []any
	for _, object := range append(kinds, hooks...) {
		got = append(got, object.Object)
	}
	at := func(path string) any { return map[string]any{"url": "https://127.0.0.1:9" + path, "caBundle": "Q0E="} }
	want := []any{
		map[string]any{
			"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
			"metadata": map[string]any{"name": "as.dev", "labels": map[string]any{"cluster.x-k8s.io/v1beta2": "v1beta2", "umbel.dev/provider": "dev"}},
			"spec": map[string]any{"conversion": map[string]any{"strategy": "Webhook", "webhook": map[string]any{
				"conversionReviewVersions": []any{"v1"}, "clientConfig": at("/convert"),
			}}},
		},
		map[string]any{
			"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
			"metadata": map[string]any{"name": "bs.dev", "labels": map[string]any{"umbel.dev/provider": "dev"}},
		},
		map[string]any{
			"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
			"metadata": map[string]any{"name": "dev", "labels": map[string]any{"umbel.dev/provider": "dev"}, "annotations": map[string]any{"kept": "yes"}},
			"webhooks": []any{map[string]any{"name": "a.dev", "clientConfig": at("/validate-a")}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestRetire: what a project calls deprecated is not served, unless it is served already, or is what objects are stored in.
func TestRetire(t *testing.T) {
	kind := func(text string) *unstructured.Unstructured {
		t.Helper()
		objects, err := Parse([]byte("kind: CustomResourceDefinition\nmetadata: {name: as.dev}\nspec: {versions: [" + text + "]}\n"))
		if err != nil {
			t.Fatal(err)
		}
		return objects[0]
	}
	const released = "{name: v1, deprecated: true, served: true}, {name: v2, served: true, storage: true}"
	for _, c := range []struct{ reason, crd, there, want string }{
		{"a new kind", released, "", "{name: v1, deprecated: true, served: false}, {name: v2, served: true, storage: true}"},
		{"it was served before", released, "{name: v1, served: true}, {name: v2, served: true}", released},
		{"it was not", released, "{name: v1, served: false}, {name: v2, served: true}", "{name: v1, deprecated: true, served: false}, {name: v2, served: true, storage: true}"},
		{"it is stored", "{name: v1, deprecated: true, served: true, storage: true}", "", "{name: v1, deprecated: true, served: true, storage: true}"},
		{"nothing is deprecated", "{name: v1, served: true}, {name: v2, served: true, storage: true}", "", "{name: v1, served: true}, {name: v2, served: true, storage: true}"},
	} {
		crd, want := kind(c.crd), kind(c.want)
		var there *unstructured.Unstructured
		if c.there != "" {
			there = kind(c.there)
		}
		if err := retire(crd, there); err != nil {
			t.Errorf("%s: %v", c.reason, err)
		}
		if diff := cmp.Diff(want.Object, crd.Object); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.reason, diff)
		}
	}
	broken := kind("1")
	if err := retire(broken, nil); err == nil || !strings.Contains(err.Error(), "spec.versions[0] is no object") {
		t.Errorf("a version that is none: got %v", err)
	}
}

func TestManifestsThatAreNone(t *testing.T) {
	for _, c := range []struct{ reason, text, want string }{
		{"nothing", "", "no CustomResourceDefinition is in the manifests"},
		{"a page of HTML", "<html>\n<body>: not found", "document 1 of the manifests"},
		{"a Deployment alone", "kind: Deployment\napiVersion: apps/v1\n", "no CustomResourceDefinition is in the manifests"},
		{
			"a webhook that is nowhere", "kind: CustomResourceDefinition\nmetadata: {name: as.dev}\n---\nkind: MutatingWebhookConfiguration\nmetadata: {name: m}\nwebhooks: [{name: a, clientConfig: {url: 'https://example.com'}}]\n",
			"MutatingWebhookConfiguration m: webhooks[0]: clientConfig.service.path",
		},
		{
			"a webhook that would be at another host", "kind: CustomResourceDefinition\nmetadata: {name: as.dev}\nspec: {conversion: {webhook: {clientConfig: {service: {path: '@example.com/'}}}}}\n",
			"CustomResourceDefinition as.dev: clientConfig.service.path is \"@example.com/\"",
		},
		{"webhooks that are no objects", "kind: CustomResourceDefinition\nmetadata: {name: as.dev}\n---\nkind: MutatingWebhookConfiguration\nmetadata: {name: m}\nwebhooks: [a]\n", "webhooks[0] is no object"},
	} {
		if err := Check([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.reason, err, c.want)
		}
	}
}

func TestForeign(t *testing.T) {
	crd := func(name, owner string) metav1.PartialObjectMetadata {
		c := metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if owner != "" {
			c.Labels = map[string]string{v1alpha1.ProviderLabel: owner}
		}
		return c
	}
	for _, c := range []struct {
		reason string
		there  []metav1.PartialObjectMetadata
		want   string
	}{
		{"nothing is there", nil, ""},
		{"what we brought", []metav1.PartialObjectMetadata{crd("as.dev", "dev")}, ""},
		{"somebody else brought one of them", []metav1.PartialObjectMetadata{crd("as.dev", "dev"), crd("bs.dev", "")}, "bs.dev"},
		{"another provider has the same kind", []metav1.PartialObjectMetadata{crd("as.dev", "other")}, "as.dev"},
	} {
		if got := foreign("dev", c.there); got != c.want {
			t.Errorf("%s: got %q, want %q", c.reason, got, c.want)
		}
	}
}

func TestFlags(t *testing.T) {
	at := start{kubeconfig: "/k", certs: "/c", webhookPort: 1, healthPort: 2}
	hubs := []string{"--kubeconfig=/k", "--webhook-cert-dir=/c", "--webhook-port=1", "--health-addr=127.0.0.1:2"}
	spec := v1alpha1.ProviderSpec{Args: []string{"--webhook-port=7"}}
	want := append(append([]string{"--webhook-port=7"}, hubs...), "--leader-elect=false", "--diagnostics-address=0")
	if diff := cmp.Diff(want, flags("dev", spec, at)); diff != "" {
		t.Errorf("what a provider is started with: the hub's come last, and win (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(hubs, flags(v1alpha1.CoreProvider, v1alpha1.ProviderSpec{}, at)); diff != "" {
		t.Errorf("Cluster API itself (-want +got):\n%s", diff)
	}
}

func TestCondition(t *testing.T) {
	for _, c := range []struct {
		seen   judged
		reason string
		anew   bool
	}{
		{judged{}, v1alpha1.ReasonStarting, false},
		{judged{ready: true, restarts: 9}, v1alpha1.ReasonServing, false},
		{judged{restarts: 1, lastExit: "exit status 1"}, v1alpha1.ReasonProcessEnds, false},
		{judged{restarts: patience, lastExit: "exit status 1"}, v1alpha1.ReasonProcessEnds, true},
	} {
		got, anew := condition(c.seen)
		if got.Reason != c.reason || anew != c.anew {
			t.Errorf("%+v: got %s, begun anew %t; want %s, %t", c.seen, got.Reason, anew, c.reason, c.anew)
		}
	}
}

func TestWhereWebhooksAreReached(t *testing.T) {
	for host, want := range map[string]bool{
		"https://127.0.0.1:6443": true, "https://[::1]:6443": true, "https://localhost:6443": true,
		"https://10.0.0.1:443": false, "https://kubernetes.default.svc": false, "https://127.0.0.1.example.com": false, "://": false,
	} {
		if got := onThisMachine(host); got != want {
			t.Errorf("%s: got %t, want %t", host, got, want)
		}
	}
}
