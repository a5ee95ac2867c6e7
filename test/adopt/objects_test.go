package adopt

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"

	"umbel.dev/umbel/api/v1alpha1"
)

// many is how many objects move at a time.
const many = 1000

// objects makes so many manifests in a namespace, of six kinds, and the namespace itself: a file for each kind.
func objects(namespace string, n int) map[string]string {
	of := func(text string) func(int) string {
		return func(i int) string {
			return strings.NewReplacer("NS", namespace, "NAME", fmt.Sprintf("o-%d", i), "NUMBER", strconv.Itoa(i)).Replace(text)
		}
	}
	makes := []func(int) string{
		of("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: NAME, namespace: NS, labels: {app: NAME}}\ndata: {number: \"NUMBER\", text: |\n    some\n    lines\n  }\n"),
		of("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: NAME, namespace: NS}\n"),
		of("apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: NAME, namespace: NS}\nrules:\n- {apiGroups: [\"\"], resources: [configmaps], resourceNames: [NAME], verbs: [get, list]}\n"),
		of("apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: NAME, namespace: NS}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: NAME}\nsubjects: [{kind: ServiceAccount, name: NAME, namespace: NS}]\n"),
		of("apiVersion: v1\nkind: Service\nmetadata: {name: NAME, namespace: NS}\nspec: {selector: {app: NAME}, ports: [{name: http, port: 80, targetPort: 8080}]}\n"),
		of("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: NAME, namespace: NS, labels: {app: NAME}}\nspec:\n  replicas: 2\n  selector: {matchLabels: {app: NAME}}\n  template:\n    metadata: {labels: {app: NAME}}\n" +
			"    spec: {serviceAccountName: NAME, containers: [{name: web, image: \"registry.example.com/web:1.NUMBER\", ports: [{containerPort: 8080}], resources: {limits: {memory: 64Mi}}, env: [{name: A, value: \"NUMBER\"}]}]}\n"),
	}
	makes[0] = of("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: NAME, namespace: NS, labels: {app: NAME}}\ndata: {number: \"NUMBER\", text: \"some text\"}\n")
	files := map[string]string{"namespace.yaml": fmt.Sprintf("apiVersion: v1\nkind: Namespace\nmetadata: {name: %s}\n", namespace)}
	for i := range n - 1 {
		files[fmt.Sprintf("kind-%d.yaml", i%len(makes))] += "---\n" + makes[i%len(makes)](i)
	}
	return files
}

// under puts files below a folder.
func under(folder string, files map[string]string) map[string]string {
	moved := map[string]string{}
	for name, text := range files {
		moved[folder+"/"+name] = text
	}
	return moved
}

// state is what must not change of an object.
type state struct {
	UID        string
	Generation int64
	Spec       string
}

// resources are the kinds of objects.
var resources = []schema.GroupVersionResource{
	{Version: "v1", Resource: "configmaps"}, {Version: "v1", Resource: "serviceaccounts"}, {Version: "v1", Resource: "services"},
	{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"}, {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "rolebindings"},
	{Group: "apps", Version: "v1", Resource: "deployments"},
}

// all are the objects in a namespace, as they are, and the namespace itself.
func (w *world) all(t *testing.T, namespace string) []unstructured.Unstructured {
	t.Helper()
	ns, err := w.dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}).Get(t.Context(), namespace, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	found := []unstructured.Unstructured{*ns}
	for _, resource := range resources {
		list, err := w.dynamic.Resource(resource).Namespace(namespace).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, list.Items...)
	}
	return found
}

// states are those of the objects in a namespace.
func (w *world) states(t *testing.T, namespace string) map[string]state {
	t.Helper()
	states := map[string]state{}
	for _, o := range w.all(t, namespace) {
		body := maps.Clone(o.Object)
		delete(body, "metadata")
		delete(body, "status")
		raw, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		states[o.GetKind()+"/"+o.GetName()] = state{string(o.GetUID()), o.GetGeneration(), string(raw)}
	}
	return states
}

// theSame checks that no object was made anew, and that nothing in them was written.
func (w *world) theSame(t *testing.T, namespace string, before map[string]state) {
	t.Helper()
	if diff := cmp.Diff(before, w.states(t, namespace)); diff != "" {
		t.Fatalf("the objects are not what they were (-before +now):\n%.4000s", diff)
	}
}

// managers counts under which names the objects are written, by the operation.
func (w *world) managers(t *testing.T, namespace string) map[string]int {
	t.Helper()
	count := map[string]int{}
	for _, o := range w.all(t, namespace) {
		for _, entry := range o.GetManagedFields() {
			if entry.Subresource == "" && entry.Manager != "kubetest" {
				count[entry.Manager+" "+string(entry.Operation)]++
			}
		}
	}
	return count
}

// labelled counts the objects that carry Umbel's label, and those with notes of it.
func (w *world) labelled(t *testing.T, namespace string) (labels, notes int) {
	t.Helper()
	for _, o := range w.all(t, namespace) {
		if o.GetLabels()[v1alpha1.PackageLabel] != "" {
			labels++
		}
		if o.GetLabels()[v1alpha1.AdoptedFromLabel]+o.GetLabels()[v1alpha1.OnLeavingLabel] != "" {
			notes++
		}
	}
	return labels, notes
}

var metric = regexp.MustCompile(`^apiserver_request_total\{(.*)\} ([0-9.e+]+)$`)

// writes are the requests that the member's API server has had and that were to change objects of the kinds that move, by verb. Dry
// runs change nothing.
func (w *world) writes(t *testing.T) map[string]int {
	t.Helper()
	clients, err := kubernetes.NewForConfig(w.member)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := clients.RESTClient().Get().AbsPath("/metrics").DoRaw(context.WithoutCancel(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for lines := bufio.NewScanner(strings.NewReader(string(raw))); lines.Scan(); {
		found := metric.FindStringSubmatch(lines.Text())
		if found == nil {
			continue
		}
		labels := map[string]string{}
		for _, pair := range strings.Split(found[1], ",") {
			name, value, _ := strings.Cut(pair, "=")
			labels[name] = strings.Trim(value, `"`)
		}
		moves := labels["resource"] == "namespaces"
		for _, resource := range resources {
			moves = moves || resource.Resource == labels["resource"]
		}
		if !moves || labels["dry_run"] != "" || labels["subresource"] != "" {
			continue
		}
		switch verb := labels["verb"]; verb {
		case "APPLY", "PATCH", "PUT", "POST", "DELETE", "DELETECOLLECTION":
			n, err := strconv.ParseFloat(found[2], 64)
			if err != nil {
				t.Fatal(err)
			}
			count[verb] += int(n)
		}
	}
	return count
}

// wrote checks how many writes there were since.
func (w *world) wrote(t *testing.T, since, want map[string]int) {
	t.Helper()
	got := map[string]int{}
	for verb, n := range w.writes(t) {
		if more := n - since[verb]; more != 0 {
			got[verb] = more
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
}
