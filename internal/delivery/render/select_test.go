package render

import (
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"umbel.dev/umbel/internal/delivery/variable"
)

// objectsOn renders what a cluster gets, as FILE OBJECT lines; an error is its text.
func objectsOn(t *testing.T, rendered *Rendered, cluster variable.Cluster) []string {
	t.Helper()
	values := make([]string, len(rendered.Variables))
	for i, name := range rendered.Variables {
		value, has := variable.Value(name, cluster)
		if !has {
			return []string{"lacks " + name}
		}
		values[i] = value
	}
	entries, err := rendered.For(values)
	if err != nil {
		return []string{err.Error()}
	}
	return lines(t, entries)
}

var fleet = map[string]variable.Cluster{
	"prod": {Name: "prod", Labels: map[string]string{"env": "prod", "region": "eu"}},
	"dev":  {Name: "dev", Labels: map[string]string{"env": "dev"}},
	"bare": {Name: "bare"},
}

func annotated(kind, name, annotations, rest string) string {
	return "apiVersion: v1\nkind: " + kind + "\nmetadata: {name: " + name + ", annotations: {" + annotations + "}}\n" + rest + "---\n"
}

func namespaced(name, namespace, annotations string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + ", namespace: " + namespace + ", annotations: {" + annotations + "}}\n---\n"
}

const prodSelector = "apiVersion: configmanagement.gke.io/v1\nkind: ClusterSelector\nmetadata: {name: prod}\nspec: {selector: {matchLabels: {env: prod}}}\n---\n"

func nsSelector(name, label string) string {
	return "apiVersion: configmanagement.gke.io/v1\nkind: NamespaceSelector\nmetadata: {name: " + name + "}\nspec: {selector: {matchLabels: {" + label + "}}}\n---\n"
}

func TestSelectors(t *testing.T) {
	for _, tc := range []struct {
		reason    string
		text      string
		variables []string
		want      map[string]string // by cluster, what it gets
	}{
		{
			reason:    "a ClusterSelector by its name; it is for nobody's cluster itself",
			text:      prodSelector + annotated("ConfigMap", "a", "configmanagement.gke.io/cluster-selector: prod", "") + config("b"),
			variables: []string{"cluster.matches(env=prod)"},
			want:      map[string]string{"prod": "a.yaml ConfigMap a, a.yaml ConfigMap b", "dev": "a.yaml ConfigMap b", "bare": "a.yaml ConfigMap b"},
		},
		{
			reason:    "names of clusters, whatever their case",
			text:      annotated("ConfigMap", "a", "configsync.gke.io/cluster-name-selector: 'Dev, other'", "") + config("b"),
			variables: []string{"cluster.named(dev,other)"},
			want:      map[string]string{"prod": "a.yaml ConfigMap b", "dev": "a.yaml ConfigMap a, a.yaml ConfigMap b"},
		},
		{
			reason:    "our own annotation",
			text:      annotated("ConfigMap", "a", "umbel.dev/cluster-selector: 'env in (prod,dev)'", "") + config("b"),
			variables: []string{"cluster.matches(env in (dev,prod))"},
			want:      map[string]string{"dev": "a.yaml ConfigMap a, a.yaml ConfigMap b", "bare": "a.yaml ConfigMap b"},
		},
		{
			reason: "one object in two forms, for clusters that do not meet",
			text: annotated("ConfigMap", "a", "umbel.dev/cluster-selector: env=prod", "data: {x: prod}\n") +
				annotated("ConfigMap", "a", "umbel.dev/cluster-selector: env!=prod", "data: {x: other}\n"),
			variables: []string{"cluster.matches(env!=prod)", "cluster.matches(env=prod)"},
			want:      map[string]string{"prod": "a.yaml ConfigMap a", "bare": "a.yaml ConfigMap a"},
		},
		{
			reason: "one object in two forms, for clusters that meet",
			text: annotated("ConfigMap", "a", "umbel.dev/cluster-selector: env=prod", "") +
				annotated("ConfigMap", "a", "umbel.dev/cluster-selector: region=eu", ""),
			variables: []string{"cluster.matches(env=prod)", "cluster.matches(region=eu)"},
			want: map[string]string{"prod": "a.yaml, document 2 (line 5): ConfigMap a stands in a.yaml, document 1 (line 1) already",
				"dev": "the selectors of its objects leave none"},
		},
		{
			reason:    "what is in a namespace goes where the namespace goes",
			text:      annotated("Namespace", "shop", "umbel.dev/cluster-selector: env=prod", "") + namespaced("a", "shop", "") + namespaced("b", "other", ""),
			variables: []string{"cluster.matches(env=prod)"},
			want: map[string]string{"prod": "a.yaml Namespace shop, a.yaml ConfigMap other/b, a.yaml ConfigMap shop/a",
				"dev": "a.yaml ConfigMap other/b"},
		},
		{
			reason: "a namespace that stands there twice is where either is",
			text: annotated("Namespace", "shop", "umbel.dev/cluster-selector: env=prod", "") +
				annotated("Namespace", "shop", "configsync.gke.io/cluster-name-selector: bare", "") + namespaced("a", "shop", "") + config("b"),
			variables: []string{"cluster.matches(env=prod)", "cluster.named(bare)"},
			want: map[string]string{"prod": "a.yaml Namespace shop, a.yaml ConfigMap b, a.yaml ConfigMap shop/a",
				"bare": "a.yaml Namespace shop, a.yaml ConfigMap b, a.yaml ConfigMap shop/a", "dev": "a.yaml ConfigMap b"},
		},
		{
			reason:    "a variable of an object that other clusters do not get is not asked of them",
			text:      annotated("ConfigMap", "a", "umbel.dev/cluster-selector: env=prod", "data: {x: '${cluster.labels.region}'}\n") + config("b"),
			variables: []string{"cluster.matches(env=prod)", "if cluster.matches(env=prod) cluster.labels.region"},
			want:      map[string]string{"prod": "a.yaml ConfigMap a, a.yaml ConfigMap b", "bare": "a.yaml ConfigMap b"},
		},
		{
			reason:    "a NamespaceSelector copies into the namespaces of the source that match",
			text:      nsSelector("sel", "team: a") + "apiVersion: v1\nkind: Namespace\nmetadata: {name: x, labels: {team: a}}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: v, labels: {team: b}}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: z, labels: {team: a}, annotations: {umbel.dev/cluster-selector: env=prod}}\n---\n" + annotated("ConfigMap", "c", "configmanagement.gke.io/namespace-selector: sel", ""),
			variables: []string{"cluster.matches(env=prod)"},
			want: map[string]string{"bare": "a.yaml Namespace v, a.yaml Namespace x, a.yaml ConfigMap x/c",
				"prod": "a.yaml Namespace v, a.yaml Namespace x, a.yaml Namespace z, a.yaml ConfigMap x/c, a.yaml ConfigMap z/c"},
		},
		{
			reason: "what is for tools that read the source is for no cluster",
			text: config("a") + "---\napiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata: {name: app}\n---\n" +
				annotated("ConfigMap", "fn", "config.kubernetes.io/local-config: 'true'", "") + annotated("ConfigMap", "b", "config.kubernetes.io/local-config: 'false'", "") +
				"apiVersion: clusterregistry.k8s.io/v1alpha1\nkind: Cluster\nmetadata: {name: c}\n---\napiVersion: configsync.gke.io/v1beta1\nkind: RootSync\nmetadata: {name: r}\n",
			want: map[string]string{"bare": "a.yaml ConfigMap a, a.yaml ConfigMap b, a.yaml RootSync.configsync.gke.io r"},
		},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			rendered, err := Objects(tree(map[string]string{"a.yaml": tc.text}), ".")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.variables, slices.Clip(rendered.Variables)); diff != "" {
				t.Errorf("variables (-want +got):\n%s", diff)
			}
			for name, want := range tc.want {
				got := objectsOn(t, rendered, fleet[name])
				slices.Sort(got)
				wanted := strings.Split(want, ", ")
				if strings.Contains(want, "stands in") {
					wanted = []string{want}
				}
				slices.Sort(wanted)
				if diff := cmp.Diff(wanted, got); diff != "" {
					t.Errorf("%s gets (-want +got):\n%s", name, diff)
				}
			}
		})
	}
}

func TestSelectorErrors(t *testing.T) {
	for _, tc := range []struct{ reason, text, want string }{
		{"a ClusterSelector that is not there", annotated("ConfigMap", "a", "configmanagement.gke.io/cluster-selector: nope", ""),
			`a.yaml: ConfigMap a: metadata.annotations.configmanagement.gke.io/cluster-selector: there is no ClusterSelector "nope" in the source`},
		{"a NamespaceSelector that is not there", annotated("ConfigMap", "a", "configmanagement.gke.io/namespace-selector: nope", ""), `there is no NamespaceSelector "nope" in the source`},
		{"two selectors of clusters", prodSelector + annotated("ConfigMap", "a", "configmanagement.gke.io/cluster-selector: prod, configsync.gke.io/cluster-name-selector: x", ""),
			"there is configmanagement.gke.io/cluster-selector already, and an object has one selector of clusters"},
		{"a selector that asks for nothing", strings.Replace(prodSelector, "{matchLabels: {env: prod}}", "{}", 1), "a.yaml: ClusterSelector.configmanagement.gke.io prod: spec.selector: selects nothing in particular"},
		{"no selector", strings.Replace(prodSelector, "{selector: {matchLabels: {env: prod}}}", "{}", 1), "spec.selector: is missing"},
		{"a selector that is none", strings.Replace(prodSelector, "{matchLabels: {env: prod}}", "{matchExpressions: [{key: a, operator: Near}]}", 1), `"Near" is not a valid label selector operator`},
		{"a selector twice", prodSelector + prodSelector, "there is another ClusterSelector of this name"},
		{"an inline selector that is none", annotated("ConfigMap", "a", "umbel.dev/cluster-selector: 'env in prod'", ""), `metadata.annotations.umbel.dev/cluster-selector: "env in prod" is no selector of labels`},
		{"an inline selector of nothing", annotated("ConfigMap", "a", "umbel.dev/cluster-selector: ''", ""), "selects nothing in particular"},
		{"a cluster that cannot be", annotated("ConfigMap", "a", "configsync.gke.io/cluster-name-selector: 'a b'", ""), `"a b" cannot be the name of a cluster`},
		{"a variable in a selector", annotated("ConfigMap", "a", "umbel.dev/cluster-selector: 'env=${cluster.labels.env}'", ""), "variables are not put into selectors"},
		{"a selector for selectors", strings.Replace(prodSelector, "{name: prod}", "{name: prod, annotations: {umbel.dev/cluster-selector: a}}", 1), "a selector is the same for all clusters"},
		{"a namespace and a selector of namespaces", nsSelector("s", "a: b") + namespaced("a", "shop", "configmanagement.gke.io/namespace-selector: s"),
			`metadata.namespace: is "shop", and configmanagement.gke.io/namespace-selector says which namespaces it is copied into`},
		{"a selector of namespaces of the cluster", strings.Replace(nsSelector("s", "a: b"), "spec: {", "spec: {mode: dynamic, ", 1), `spec.mode: "dynamic" is not known here`},
		{"a label with a variable, which a selector reads", nsSelector("s", "a: b") + "apiVersion: v1\nkind: Namespace\nmetadata: {name: x, labels: {a: '${cluster.name}'}}\n---\n" +
			annotated("ConfigMap", "c", "configmanagement.gke.io/namespace-selector: s", ""), `label a of namespace "x" (a.yaml, document 2 (line 6)) has a variable in it`},
		{"a hook of Argo CD", annotated("Job", "a", "argocd.argoproj.io/hook: PreSync", ""), "a.yaml: Job a: metadata.annotations.argocd.argoproj.io/hook: this is a hook (PreSync), and hooks are not run here"},
		{"a hook of Helm", annotated("Job", "a", "helm.sh/hook: pre-install", ""), "metadata.annotations.helm.sh/hook: this is a hook (pre-install)"},
		{"a hook that is left out, and nothing else", annotated("Job", "a", "helm.sh/hook: pre-install, config.kubernetes.io/local-config: 'true'", ""), "everything in it is left out"},
		{"nothing but what is left out", prodSelector, `path ".": everything in it is left out: no object was found`},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			if _, err := Objects(tree(map[string]string{"a.yaml": tc.text}), "."); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got  %v\nwant %q in it", err, tc.want)
			}
		})
	}
}

const repo = "apiVersion: configmanagement.gke.io/v1\nkind: Repo\nmetadata: {name: repo}\n"

func namespace(name string) string {
	return "apiVersion: v1\nkind: Namespace\nmetadata: {name: " + name + "}\n"
}

func TestHierarchyErrors(t *testing.T) {
	for _, tc := range []struct {
		reason string
		files  map[string]string
		want   string
	}{
		{"a folder that is not of the layout", map[string]string{"apps/a.yaml": config("a")}, "r/apps/a.yaml: ConfigMap a: the source has a Repo in system/"},
		{"an object in system", map[string]string{"system/a.yaml": config("a")}, "where system/ does not hold this kind"},
		{"a Namespace in cluster", map[string]string{"cluster/a.yaml": namespace("a")}, "where cluster/ does not hold this kind"},
		{"a Namespace in another's folder", map[string]string{"namespaces/b/a.yaml": namespace("a")}, `r/namespaces/b/a.yaml: Namespace a: metadata.name: has to be the name of its folder, "b"`},
		{"a Namespace in no folder", map[string]string{"namespaces/a.yaml": namespace("namespaces")}, "has to be the name of its folder"},
		{"a namespace below a namespace", map[string]string{"namespaces/a/a.yaml": namespace("a"), "namespaces/a/b/b.yaml": namespace("b")}, "namespaces/a/b is a namespace below namespaces/a, which is one"},
		{"an object that no namespace gets", map[string]string{"namespaces/eng/a.yaml": config("a"), "namespaces/b/b.yaml": namespace("b")}, "there is no namespace in namespaces/eng or below it"},
		{"an object of another namespace", map[string]string{"namespaces/b/b.yaml": namespace("b"), "namespaces/b/a.yaml": namespaced("a", "c", "")}, `metadata.namespace: is "c" in the folder of namespace "b"`},
		{"an abstract object with a namespace", map[string]string{"namespaces/b/b.yaml": namespace("b"), "namespaces/a.yaml": namespaced("a", "b", "")}, "in the folder of an abstract namespace"},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			files := map[string]string{"r/system/repo.yaml": repo}
			for name, text := range tc.files {
				files["r/"+name] = text
			}
			if _, err := Objects(tree(files), "r"); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got  %v\nwant %q in it", err, tc.want)
			}
		})
	}
}

// TestHierarchyGivesWhatConfigSyncGives compares a repository of Config Sync with what `nomos hydrate` made of it, which
// stands beside it in the samples, apart from what Config Sync notes for itself.
func TestHierarchyGivesWhatConfigSyncGives(t *testing.T) {
	const sample = "config-sync-samples/namespace-inheritance/"
	data := os.DirFS(filepath.Join("..", "..", "..", "test", "data"))
	objects := func(folder string) map[string]string {
		rendered, err := Objects(data, sample+folder)
		if err != nil {
			t.Fatal(err)
		}
		entries, err := rendered.For(make([]string, len(rendered.Variables)))
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, entry := range entries {
			var fields map[string]any
			if err := json.Unmarshal(entry.Object, &fields); err != nil {
				t.Fatal(err)
			}
			metadata := fields["metadata"].(map[string]any)
			for _, field := range []string{"labels", "annotations"} {
				notes, _ := metadata[field].(map[string]any)
				maps.DeleteFunc(notes, func(key string, _ any) bool {
					return strings.HasPrefix(key, "configsync.gke.io/") || strings.HasPrefix(key, "configmanagement.gke.io/") || key == "hnc.x-k8s.io/managed-by"
				})
				if len(notes) == 0 {
					delete(metadata, field)
				}
			}
			raw, err := json.Marshal(fields)
			if err != nil {
				t.Fatal(err)
			}
			got[identify(fields).String()] = string(raw)
		}
		return got
	}
	if diff := cmp.Diff(objects("compiled"), objects("config")); diff != "" {
		t.Errorf("objects (-config sync +umbel):\n%s", diff)
	}
}

// FuzzHierarchy: whatever lies where in a hierarchical repository, each object is in a namespace of a folder above it or
// beside it, or there is an error.
func FuzzHierarchy(f *testing.F) {
	f.Add("namespaces/eng/a.yaml", "namespaces/eng/shop/b.yaml", "shop")
	f.Add("namespaces/shop/a.yaml", "namespaces/shop/b.yaml", "shop")
	f.Add("cluster/a.yaml", "namespaces/b.yaml", "namespaces")
	f.Add("namespaces/a.yaml", "namespaces/x/namespaces/b.yaml", "namespaces")
	f.Fuzz(func(t *testing.T, at, of, name string) {
		if !fs.ValidPath(at) || !fs.ValidPath(of) {
			return
		}
		files := tree(map[string]string{"system/repo.yaml": repo, at: config("a"), of: namespace(name)})
		rendered, err := Objects(files, ".")
		if err != nil {
			return
		}
		for _, o := range rendered.objects {
			folder := o.place.file[:max(strings.LastIndexByte(o.place.file, '/'), 0)]
			if o.id.Kind != "ConfigMap" || !strings.HasPrefix(o.place.file, "namespaces/") {
				continue
			}
			if o.id.Namespace != name || !strings.HasPrefix(of, folder+"/") {
				t.Errorf("%s of %s is in namespace %q of %s", o.id, o.place, o.id.Namespace, of)
			}
		}
	})
}
