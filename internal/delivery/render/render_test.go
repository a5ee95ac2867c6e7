package render

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"umbel.dev/umbel/internal/delivery/bundle"
	"umbel.dev/umbel/internal/delivery/variable"
)

func tree(files map[string]string) fs.FS {
	t := fstest.MapFS{}
	for name, text := range files {
		if target, isLink := strings.CutPrefix(text, "-> "); isLink {
			t[name] = &fstest.MapFile{Mode: fs.ModeSymlink | 0o777, Data: []byte(target)}
			continue
		}
		t[name] = &fstest.MapFile{Data: []byte(text), Mode: 0o644}
	}
	return t
}

// lines are FILE OBJECT for every entry, sorted as a bundle is.
func lines(t *testing.T, entries []bundle.Entry) []string {
	t.Helper()
	blob, err := bundle.Encode(entries)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for item, err := range bundle.Decode(bytes.NewReader(blob), bundle.DefaultLimits) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, item.File+" "+item.ID.String())
	}
	return got
}

func config(name string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: " + name + "\n"
}

func TestObjects(t *testing.T) {
	for _, tc := range []struct {
		reason string
		files  map[string]string
		folder string
		want   []string
	}{
		{
			reason: "every manifest below the folder, and nothing else",
			files: map[string]string{
				"app/a.yaml": config("a"), "app/deep/er/b.yml": config("b"), "app/c.json": `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"}}`,
				"app/README.md": "# hello", "app/.hidden.yaml": "nonsense", "app/.github/ci.yaml": "on: push",
				"app/LICENSE": "-> ../LICENSE", "LICENSE": "free", "other/d.yaml": config("d"),
			},
			folder: "app",
			want:   []string{"app/a.yaml ConfigMap a", "app/deep/er/b.yml ConfigMap b", "app/c.json ConfigMap c"},
		},
		{
			reason: "several documents, comments, blank ones, a byte order mark and Windows line ends",
			files:  map[string]string{"a.yaml": "\ufeff# first\r\n---\r\n" + strings.ReplaceAll(config("a"), "\n", "\r\n") + "---\r\n# nothing\r\n--- # second\r\n" + config("b") + "---\n"},
			want:   []string{"a.yaml ConfigMap a", "a.yaml ConfigMap b"},
		},
		{
			reason: "three dashes within a text are no document",
			files:  map[string]string{"a.yaml": config("a") + "data:\n  x: |\n    ---\n    kind: Nothing\n"},
			want:   []string{"a.yaml ConfigMap a"},
		},
		{
			reason: "lists are flattened, also in lists",
			files:  map[string]string{"a.yaml": "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n- apiVersion: v1\n  kind: ConfigMapList\n  items: [{apiVersion: v1, kind: ConfigMap, metadata: {name: b}}]\n"},
			want:   []string{"a.yaml ConfigMap a", "a.yaml ConfigMap b"},
		},
		{
			reason: "a folder with a kustomization is built, and so is one below a plain folder",
			files: map[string]string{
				"plain.yaml":                config("plain"),
				"over/kustomization.yaml":   "namePrefix: x-\nresources: [../base]\nconfigMapGenerator:\n- {name: gen, literals: [a=b]}\ngeneratorOptions: {disableNameSuffixHash: true}\n",
				"base/kustomization.yml":    "resources: [c.yaml]\n",
				"base/c.yaml":               config("c"),
				"base/unreferenced.yaml":    config("unreferenced"),
				"another/Kustomization":     "resources: [e.yaml]\n",
				"another/e.yaml":            config("e"),
				"another/deeper/f.yaml":     config("not referenced"),
				"another/deeper/README.txt": "x",
			},
			want: []string{
				"base/c.yaml ConfigMap c", "another/e.yaml ConfigMap e", "plain.yaml ConfigMap plain",
				"base/c.yaml ConfigMap x-c", "over/kustomization.yaml ConfigMap x-gen",
			},
		},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			if tc.folder == "" {
				tc.folder = "."
			}
			rendered, err := Objects(tree(tc.files), tc.folder)
			if err != nil {
				t.Fatal(err)
			}
			entries, err := rendered.For(nil)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, lines(t, entries)); diff != "" {
				t.Errorf("objects (-want +got):\n%s", diff)
			}
		})
	}
}

func TestErrorsNameFileObjectAndField(t *testing.T) {
	kustomization := func(text string) map[string]string {
		return map[string]string{"kustomization.yaml": text, "a.yaml": config("a")}
	}
	for _, tc := range []struct {
		reason string
		files  map[string]string
		want   string
	}{
		{reason: "nothing at all", files: map[string]string{"README.md": "x"}, want: `path ".": no object was found`},
		{reason: "only comments", files: map[string]string{"a.yaml": "# nothing\n---\n"}, want: "no object was found"},
		{reason: "invalid YAML, with the line of the file", files: map[string]string{"apps/a.yaml": config("a") + "---\n\n" + config("b") + "data: {a: b\n"},
			want: "apps/a.yaml, document 2 (line 7): yaml: line 1"},
		{reason: "a key twice", files: map[string]string{"a.yaml": config("a") + "kind: Secret\n"}, want: `a.yaml: yaml: unmarshal errors: line 5: key "kind" already set in map`},
		{reason: "no manifest", files: map[string]string{"values.yaml": "replicas: 3\n"}, want: "values.yaml: apiVersion is missing: below the path of a Package every .yaml"},
		{reason: "no kind", files: map[string]string{"a.yaml": "apiVersion: v1\nmetadata: {name: a}\n"}, want: "a.yaml: kind is missing"},
		{reason: "a bare list", files: map[string]string{"a.yaml": "- a\n- b\n"}, want: "a.yaml: holds a list where an object has to be"},
		{reason: "no metadata", files: map[string]string{"a.yaml": "apiVersion: v1\nkind: Secret\n"}, want: "a.yaml: Secret : metadata: is nothing, has to be a map with a name"},
		{reason: "no name", files: map[string]string{"a.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {namespace: shop}\n"}, want: "a.yaml: Secret shop/: metadata.name: is missing"},
		{reason: "a generated name", files: map[string]string{"a.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {generateName: a-}\n"}, want: "metadata.generateName: an object that is delivered needs a name of its own"},
		{reason: "a name that is a number", files: map[string]string{"a.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: 12}\n"}, want: "metadata.name: is a number, has to be a string: put it in quotes"},
		{reason: "a name that is a path", files: map[string]string{"a.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: a/b}\n"}, want: `metadata.name: "a/b" is not valid`},
		{reason: "a label that YAML takes for a number", files: map[string]string{"a.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\n  namespace: shop\n  labels: {version: 1.10}\n"},
			want: "a.yaml: Deployment.apps shop/web: metadata.labels.version: is a number, has to be a string: put it in quotes"},
		{reason: "an owner", files: map[string]string{"a.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: a, ownerReferences: []}\n"}, want: "metadata.ownerReferences: an owner is known by"},
		{reason: "the same object twice", files: map[string]string{"a.yaml": config("a"), "b.yaml": "\n" + config("x") + "---\n" + config("a")},
			want: "b.yaml, document 2 (line 7): ConfigMap a stands in a.yaml already"},
		{reason: "the same object in two versions", files: map[string]string{
			"a.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n", "b.yaml": "apiVersion: apps/v1beta1\nkind: Deployment\nmetadata: {name: a}\n"},
			want: "b.yaml: Deployment.apps a stands in a.yaml already"},
		{reason: "several errors are named, and the rest counted", files: map[string]string{"a.yaml": strings.Repeat("---\napiVersion: v1\nkind: Pod\nmetadata: {name: 1}\n", 7)},
			want: "; and 2 more"},
		{reason: "a link where a manifest should be", files: map[string]string{"a.yaml": "-> b/a.yaml", "b/x.md": ""}, want: "a.yaml: "},
		{reason: "a link to a folder", files: map[string]string{"apps/shop": "-> ../base", "base/a.yaml": config("a"), "b.yaml": config("b")}, want: "apps/shop: symbolic links are not followed"},
		{reason: "an unknown variable", files: map[string]string{"a.yaml": config("a") + "data: {x: 'hello ${cluster.region}'}\n"},
			want: "a.yaml: ConfigMap a: data.x: there is no variable ${cluster.region}: use ${cluster.name}, ${cluster.labels.KEY} or ${cluster.properties.NAME}"},
		{reason: "a variable that does not end", files: map[string]string{"a.yaml": config("a") + "data: {x: '${cluster.name'}\n"}, want: `data.x: "${cluster.name" has no closing }`},
		{reason: "a variable whose label cannot be", files: map[string]string{"a.yaml": config("a") + "data: {x: '${cluster.labels.a b}'}\n"}, want: `"a b" cannot be the key of a label`},
		{reason: "a variable in a key", files: map[string]string{"a.yaml": config("a") + "data: {'${cluster.name}': x}\n"}, want: "variables are put into values only"},
		{reason: "a variable as kind", files: map[string]string{"a.yaml": "apiVersion: v1\nkind: ${cluster.name}\nmetadata: {name: a}\n"}, want: "variables are not put into apiVersion and kind"},

		{reason: "a kustomization that is no YAML", files: kustomization("resources: [a.yaml\n"), want: "kustomization.yaml: yaml: line 1"},
		{reason: "a kustomization with an unknown field", files: kustomization("resorces: [a.yaml]\n"), want: `building the kustomization in ".": invalid Kustomization: json: unknown field "resorces"`},
		{reason: "a kustomization that names a missing file", files: kustomization("resources: [b.yaml]\n"), want: "b.yaml"},
		{reason: "an empty kustomization", files: kustomization(""), want: "kustomization"},
		{reason: "a base on the web", files: kustomization("resources:\n- a.yaml\n- https://example.org/base.yaml\n"), want: `kustomization.yaml: resources[1]: "https://example.org/base.yaml" is not in this repository, and no folder of a Git repository: nothing else is fetched, commit a copy of it`},
		{reason: "a base on GitHub", files: kustomization("resources: ['github.com/org/repo//base?ref=v1']\n"), want: `resources[0]: "github.com/org/repo//base?ref=v1" is not in this repository`},
		{reason: "a base by ssh", files: kustomization("components: ['git@example.org:org/repo.git']\n"), want: "components[0]: "},
		{reason: "a base by force", files: kustomization("resources: ['GIT::https://example.org/x']\n"), want: "resources[0]: "},
		{reason: "a remote patch", files: kustomization("resources: [a.yaml]\npatches:\n- path: http://example.org/p.yaml\n"), want: "patches[0].path[0]: "},
		{reason: "a remote file for a ConfigMap", files: kustomization("configMapGenerator:\n- name: a\n  files: ['x=https://example.org/x']\n"), want: "configMapGenerator[0].files[0]: "},
		{reason: "a remote schema", files: kustomization("resources: [a.yaml]\nopenapi: {path: 'https://example.org/s.json'}\n"), want: "openapi.path[0]: "},
		{reason: "a remote file of a transformer written in place", files: kustomization("resources: [a.yaml]\ntransformers:\n- |-\n  apiVersion: builtin\n  kind: PatchTransformer\n  metadata: {name: p}\n  path: https://example.org/p.yaml\n"), want: "transformers[0].path[0]: "},
		{reason: "a remote file of a transformer in a file", files: map[string]string{
			"kustomization.yaml": "resources: [a.yaml]\ntransformers: [t.yaml]\n", "a.yaml": config("a"),
			"t.yaml": "apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: p}\npath: https://example.org/p.yaml\n"}, want: "t.yaml: path[0]: "},
		{reason: "a base that is remote is found in a base, too", files: map[string]string{
			"kustomization.yaml": "resources: [base]\n", "base/kustomization.yaml": "resources: ['https://example.org/x']\n"}, want: "base/kustomization.yaml: resources[0]: "},
		{reason: "a Helm chart", files: kustomization("helmCharts: [{name: x}]\n"), want: "kustomization.yaml: helmCharts: charts are not rendered from a kustomization: have a Package of the chart itself, see spec.helm"},
		{reason: "a plugin that runs a program", files: kustomization("resources: [a.yaml]\ngenerators:\n- |-\n  apiVersion: example.org/v1\n  kind: Exec\n  metadata:\n    name: e\n    annotations: {config.kubernetes.io/function: 'exec: {path: ./evil.sh}'}\n"), want: `building the kustomization in "."`},
		{reason: "a file outside of the kustomization", files: map[string]string{"k/kustomization.yaml": "resources: [../a.yaml]\n", "a.yaml": config("a")}, want: `building the kustomization in "k"`},
		{reason: "a link in a kustomization", files: map[string]string{"kustomization.yaml": "resources: [a.yaml]\n", "a.yaml": "-> /etc/passwd"}, want: "a.yaml"},
		{reason: "kustomization files beside each other", files: map[string]string{"kustomization.yaml": "resources: [a.yaml]\n", "kustomization.yml": "resources: [a.yaml]\n", "a.yaml": config("a")}, want: "multiple kustomization files"},
		{reason: "what kustomize makes is checked as well", files: map[string]string{"kustomization.yaml": "resources: [a.yaml]\n", "a.yaml": config("a") + "data: {x: '${cluster.nope}'}\n"}, want: "a.yaml: ConfigMap a: data.x: there is no variable"},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			_, err := Objects(tree(tc.files), ".")
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got  %v\nwant %q in it", err, tc.want)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("the message has several lines: %q", err)
			}
		})
	}
	if _, err := Objects(tree(nil), "."); !errors.Is(err, ErrEmpty) {
		t.Errorf("an empty source: %v, want ErrEmpty", err)
	}
}

func TestVariables(t *testing.T) {
	files := tree(map[string]string{
		"a.yaml": config("a-${cluster.name}") + "data:\n  region: in ${cluster.labels.topology.kubernetes.io/region}, ${cluster.name}\n" +
			"  script: echo ${HOME} $${HOME} $HOME $${cluster.name} ${cluster.labels.env}$\n",
		"b.yaml": config("b") + "data: {x: '$${cluster.name}'}\n",
	})
	rendered, err := Objects(files, ".")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"cluster.labels.env", "cluster.labels.topology.kubernetes.io/region", "cluster.name"}
	if diff := cmp.Diff(want, rendered.Variables); diff != "" {
		t.Errorf("variables (-want +got):\n%s", diff)
	}
	if got := rendered.File("cluster.name"); got != "a.yaml" {
		t.Errorf("cluster.name is used in %q", got)
	}
	entries, err := rendered.For([]string{"prod", "eu", "prod-eu"})
	if err != nil {
		t.Fatal(err)
	}
	got := string(entries[0].Object) + string(entries[1].Object)
	for _, want := range []string{
		`"name":"a-prod-eu"`, `"region":"in eu, prod-eu"`, `"script":"echo ${HOME} $${HOME} $HOME ${cluster.name} prod$"`, `"x":"${cluster.name}"`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("objects lack %s: %s", want, got)
		}
	}
	again, err := rendered.For([]string{"dev", "us", "dev-us"})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(again[0].Object), `"name":"a-dev-us"`) {
		t.Errorf("the second class got %s", again[0].Object)
	}
	if _, err := rendered.For(nil); err == nil {
		t.Error("For takes no values for three variables")
	}
	if _, err := rendered.For([]string{"x", "y", "no/name"}); err == nil || !strings.Contains(err.Error(), `a.yaml: ConfigMap a-no/name: metadata.name: "a-no/name" is not valid`) {
		t.Errorf("a value that makes no name: %v", err)
	}
}

func TestVariablesMayMakeTwoObjectsOne(t *testing.T) {
	rendered, err := Objects(tree(map[string]string{"a.yaml": config("${cluster.name}"), "b.yaml": config("x")}), ".")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rendered.For([]string{"y"}); err != nil {
		t.Error(err)
	}
	if _, err := rendered.For([]string{"x"}); err == nil || !strings.Contains(err.Error(), "b.yaml: ConfigMap x stands in a.yaml already") {
		t.Errorf("got %v", err)
	}
}

// TestServerFieldsAreDropped: the output of `kubectl get -o yaml` can be committed.
func TestServerFieldsAreDropped(t *testing.T) {
	rendered, err := Objects(tree(map[string]string{"a.yaml": `
apiVersion: v1
kind: Service
metadata:
  name: web
  uid: 1234
  resourceVersion: "5"
  creationTimestamp: null
  generation: 3
  managedFields: []
  labels: null
  annotations: {a: b}
spec: {ports: [{port: 80}]}
status: {loadBalancer: {}}
`}), ".")
	if err != nil {
		t.Fatal(err)
	}
	entries, err := rendered.For(nil)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"apiVersion":"v1","kind":"Service","metadata":{"annotations":{"a":"b"},"name":"web"},"spec":{"ports":[{"port":80}]}}`
	if diff := cmp.Diff(want, string(entries[0].Object)); diff != "" {
		t.Errorf("object (-want +got):\n%s", diff)
	}
}

func TestOriginsStayWhenTheyAreWanted(t *testing.T) {
	for wish, want := range map[string]bool{"": false, "buildMetadata: [originAnnotations]\n": true, "buildMetadata: [managedByLabel]\n": false} {
		rendered, err := Objects(tree(map[string]string{"kustomization.yaml": wish + "resources: [a.yaml]\n", "a.yaml": config("a")}), ".")
		if err != nil {
			t.Fatal(err)
		}
		entries, err := rendered.For(nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(entries[0].Object), originAnnotation); got != want {
			t.Errorf("with %q: %s", wish, entries[0].Object)
		}
		if entries[0].File != "a.yaml" {
			t.Errorf("with %q: file %q", wish, entries[0].File)
		}
		if managed := strings.Contains(string(entries[0].Object), "managed-by"); managed != strings.Contains(wish, "managedBy") {
			t.Errorf("with %q: %s", wish, entries[0].Object)
		}
	}
}

// unreadable fails on one file, as a disk or a damaged mirror does.
type unreadable struct {
	fs.FS
	name string
}

func (u unreadable) Open(name string) (fs.File, error) {
	if name == u.name {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("input/output error")}
	}
	return u.FS.Open(name)
}

// TestWhatCannotBeReadIsNotMissing breaks law 1: a file that cannot be read is not a file that is not there.
func TestWhatCannotBeReadIsNotMissing(t *testing.T) {
	files := map[string]string{
		"plain/a.yaml": config("a"), "plain/b.yaml": config("b"),
		"k/kustomization.yaml": "resources: [a.yaml, deep]\n", "k/a.yaml": config("a"),
		"k/deep/kustomization.yaml": "resources: [b.yaml]\n", "k/deep/b.yaml": config("b"),
	}
	for _, tc := range []struct{ folder, file string }{
		{"plain", "plain/b.yaml"}, {"plain", "plain"},
		{"k", "k/kustomization.yaml"}, {"k", "k/a.yaml"}, {"k", "k/deep/kustomization.yaml"}, {"k", "k/deep/b.yaml"}, {"k", "k/deep"},
	} {
		rendered, err := Objects(unreadable{tree(files), tc.file}, tc.folder)
		if err == nil {
			t.Errorf("%s cannot be read, and %d objects came of folder %s", tc.file, rendered.Len(), tc.folder)
			continue
		}
		if !strings.Contains(err.Error(), "input/output error") || !strings.Contains(err.Error(), tc.file) {
			t.Errorf("%s cannot be read: %v", tc.file, err)
		}
	}
}

func TestGuestbook(t *testing.T) {
	rendered, err := Objects(os.DirFS("testdata"), "kustomize-guestbook")
	if err != nil {
		t.Fatal(err)
	}
	entries, err := rendered.For(nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"kustomize-guestbook/guestbook-ui-svc.yaml Service kustomize-guestbook-ui",
		"kustomize-guestbook/guestbook-ui-deployment.yaml Deployment.apps kustomize-guestbook-ui",
	}
	if diff := cmp.Diff(want, lines(t, entries)); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
}

// TestManifestsThatNobodyHereWrote renders public examples: see test/data/README.md.
func TestManifestsThatNobodyHereWrote(t *testing.T) {
	data := filepath.Join("..", "..", "..", "test", "data")
	for _, tc := range []struct {
		folder  string
		objects int
		err     string
	}{
		{folder: "online-boutique/kubernetes-manifests", objects: 33},
		{folder: "online-boutique/kustomize", objects: 35},
		{folder: "online-boutique/kustomize/tests/memorystore-with-all-components", objects: 49},
		{folder: "argocd-examples/guestbook", objects: 2},
		{folder: "argocd-examples/sock-shop", objects: 29},
		{folder: "config-sync-samples/multi-environments-kustomize/config-source/overlays/prod", objects: 4},
		{folder: "config-sync-samples/namespace-inheritance/compiled", objects: 28},
		{folder: "argocd-examples/helm-guestbook", err: "helm-guestbook"},
	} {
		t.Run(tc.folder, func(t *testing.T) {
			rendered, err := Objects(os.DirFS(data), tc.folder)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("got %v, want %q", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if rendered.Len() != tc.objects {
				t.Errorf("%d objects, want %d", rendered.Len(), tc.objects)
			}
			entries, err := rendered.For(make([]string, len(rendered.Variables)))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := bundle.Encode(entries); err != nil {
				t.Error(err)
			}
		})
	}
}

// FuzzObjects: whatever a file holds, objects that make a bundle, or an error.
func FuzzObjects(f *testing.F) {
	f.Add([]byte(config("a") + "---\n" + config("${cluster.name}")))
	f.Add([]byte("kind: List\nitems: [null, {kind: List, items: []}]\n"))
	f.Add([]byte("a: &a [x, x]\nb: [*a, *a]\napiVersion: v1\nkind: X\nmetadata: {name: .}\n"))
	f.Add([]byte("--- |\n  text\n...\n%YAML 1.2\n"))
	f.Add([]byte(prodSelector + annotated("ConfigMap", "a", "configmanagement.gke.io/cluster-selector: prod", "data: {x: '${cluster.labels.a:-b}'}\n") + config("b")))
	f.Add([]byte(nsSelector("s", "a: b") + "kind: Namespace\napiVersion: v1\nmetadata: {name: n, labels: {a: b}}\n---\n" + annotated("ConfigMap", "a", "configmanagement.gke.io/namespace-selector: s", "")))
	f.Add([]byte(annotated("ConfigMap", "a", "umbel.dev/cluster-selector: 'a in (b),!c'", "data: {x: '${package.variables.x:-1}'}\n")))
	f.Fuzz(func(t *testing.T, content []byte) {
		rendered, err := Objects(fstest.MapFS{"a.yaml": &fstest.MapFile{Data: content}}, ".")
		if err != nil {
			return
		}
		values := make([]string, len(rendered.Variables))
		selective := false
		for i, name := range rendered.Variables {
			values[i] = "value"
			if variable.IsSelector(name) {
				values[i], selective = "true", true
			}
		}
		entries, err := rendered.For(values)
		if err != nil {
			return
		}
		if len(entries) == 0 || len(entries) > rendered.Len() || !selective && len(entries) != rendered.Len() {
			t.Fatalf("%d entries of %d objects", len(entries), rendered.Len())
		}
		if _, err := bundle.Encode(entries); err != nil && !errors.Is(err, bundle.ErrTooLarge) {
			t.Fatalf("what was rendered makes no bundle: %v", err)
		}
	})
}

// FuzzExpand: texts without variables stay, and no text makes it loop or panic.
func FuzzExpand(f *testing.F) {
	f.Add("a ${cluster.name} b")
	f.Add("$${cluster.$${cluster.")
	f.Add("${cluster.${cluster.name}}")
	f.Add("${package.variables.a:-${cluster.name}} $${package.variables.")
	f.Fuzz(func(t *testing.T, text string) {
		v := values{cluster: map[string]string{"cluster.name": "x"}, given: map[string]any{"a": true}}
		if got, err := v.text(text); err == nil && !refersTo(text) && got != text {
			t.Errorf("%q became %q", text, got)
		}
		got, err := expand(text, func(name string) (string, error) { return "<" + name + ">", nil })
		if err == nil && !refersTo(text) && got != text {
			t.Errorf("%q became %q", text, got)
		}
	})
}
