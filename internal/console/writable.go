package console

import (
	"fmt"
	"net/http"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	"umbel.dev/umbel/api/v1alpha1"
)

// writable is a kind of the hub's API that people write here.
type writable struct {
	kind     schema.GroupVersionKind
	resource string
	scope    meta.RESTScope
	// blank is what a new one begins with, where it is made so; NAMESPACE stands for that of the person.
	blank string
}

// name is how kubectl knows objects of the kind.
func (w writable) name() string {
	if w.kind.Group == "" {
		return w.resource
	}
	return w.resource + "." + w.kind.Group
}

// writables are by the name that kubectl knows them by. What is not here is made by Umbel, or is nobody's to see: Releases, Plans, Secrets.
var writables = func() map[string]writable {
	ours, rules, capi := v1alpha1.GroupVersion, schema.GroupVersion{Group: "monitoring.coreos.com", Version: "v1"}, schema.GroupVersion{Group: "cluster.x-k8s.io", Version: "v1beta2"}
	known := map[string]writable{}
	for _, w := range []writable{
		{kind: ours.WithKind("MemberCluster"), resource: "memberclusters", scope: meta.RESTScopeRoot},
		{kind: ours.WithKind("Package"), resource: "packages", scope: meta.RESTScopeNamespace, blank: blankPackage},
		{kind: ours.WithKind("Placement"), resource: "placements", scope: meta.RESTScopeNamespace, blank: blankPlacement},
		{kind: ours.WithKind("Scope"), resource: "scopes", scope: meta.RESTScopeRoot, blank: blankScope},
		{kind: ours.WithKind("Rollout"), resource: "rollouts", scope: meta.RESTScopeNamespace},
		{kind: rules.WithKind("PrometheusRule"), resource: "prometheusrules", scope: meta.RESTScopeNamespace, blank: blankRule},
		{kind: capi.WithKind("Cluster"), resource: "clusters", scope: meta.RESTScopeNamespace},
		{kind: schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}, resource: "configmaps", scope: meta.RESTScopeNamespace},
	} {
		known[w.name()] = w
	}
	return known
}()

// What a new object begins with: as much as its kind needs, and no name.
const (
	blankPackage = `apiVersion: umbel.dev/v1alpha1
kind: Package
metadata:
  name: ""
  namespace: NAMESPACE
spec:
  source:
    git:
      url: https://git.example.com/fleet.git
      ref: main
      path: apps/shop
  placementRef:
    name: everywhere
`
	blankPlacement = `apiVersion: umbel.dev/v1alpha1
kind: Placement
metadata:
  name: ""
  namespace: NAMESPACE
spec:
  clusterSelector:
    matchLabels:
      env: prod
`
	blankScope = `apiVersion: umbel.dev/v1alpha1
kind: Scope
metadata:
  name: ""
spec:
  groups:
  - team-shop
  role: view
  clusterSelector:
    matchLabels:
      env: prod
  namespaces:
  - shop
`
	blankRule = `apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: ""
  namespace: NAMESPACE
spec:
  groups:
  - name: ours
    rules:
    - alert: FewNodes
      expr: count by (cluster) (kube_node_status_allocatable{resource="cpu"}) < 2
      for: 5m
      labels:
        severity: warning
      annotations:
        summary: 'Cluster {{ $labels.cluster }} has {{ $value }} nodes.'
        command: umbel describe cluster {{ $labels.cluster }}
`
)

// blank is what a new object begins with.
func (p *papers) blank() (*Manifest, error) {
	if p.of.blank == "" {
		return nil, refused(http.StatusNotFound, "a %s is not made of YAML here: name the one that is to be changed", p.of.kind.Kind)
	}
	m := &Manifest{Kind: p.of.kind.Kind, Text: strings.ReplaceAll(p.of.blank, "NAMESPACE", p.key.Namespace), Kubectl: "kubectl create -f FILE"}
	return m, yaml.Unmarshal([]byte(m.Text), &m.Object)
}

// parse reads what was written as an object of the kind and name that this is about, and adds to the page what is wrong with it.
func (p *papers) parse(on *sheet) *unstructured.Unstructured {
	mine := &unstructured.Unstructured{}
	if len(on.problems) > 0 {
		return mine
	}
	raw, err := yaml.YAMLToJSONStrict([]byte(on.text))
	if err == nil {
		err = utiljson.Unmarshal(raw, &mine.Object)
	}
	if err != nil {
		on.unreadable(err)
		return mine
	}
	want := [][2]string{{"apiVersion", p.of.kind.GroupVersion().String()}, {"kind", p.of.kind.Kind}}
	if p.key.Name != "" {
		want = append(want, [2]string{"metadata.name", p.key.Name})
	}
	if p.key.Namespace != "" && p.key.Name != "" {
		want = append(want, [2]string{"metadata.namespace", p.key.Namespace})
	}
	for _, w := range want {
		if is, _, _ := unstructured.NestedString(mine.Object, strings.Split(w[0], ".")...); is != w[1] {
			on.problem(w[0], fmt.Sprintf("it is %q here, and stays so: an object of another kind or name is another object", w[1]))
		}
	}
	if p.key.Name == "" && mine.GetName() == "" && mine.GetGenerateName() == "" {
		on.problem("metadata.name", "give it a name")
	}
	if p.of.scope == meta.RESTScopeNamespace && p.key.Name == "" && mine.GetNamespace() == "" {
		on.problem("metadata.namespace", "say in which namespace it is")
	}
	if p.key.Name == "" {
		p.key.Namespace = mine.GetNamespace()
	}
	return mine
}
