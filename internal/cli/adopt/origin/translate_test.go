package origin

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/bundle"
)

func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
		t.Fatal(err)
	}
	return o
}

// said is what a translation comes to.
type said struct {
	Source       v1alpha1.Source
	Helm         *v1alpha1.HelmOptions
	Lacks, Notes []string // the beginning of each
}

func saidBy(t *testing.T, m *Managed, err error) said {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if m.Overlay != nil {
		m.Overlay()
	}
	s := said{Source: m.Source, Helm: m.Helm, Lacks: m.Lacks}
	for _, text := range m.Notes {
		begin, _, _ := strings.Cut(text, " ")
		s.Notes = append(s.Notes, strings.TrimSuffix(begin, ":"))
	}
	return s
}

const inventory = "status: {inventory: {entries: [{id: shop_web_apps_Deployment, v: v1}]}}"

func TestFluxInOurWords(t *testing.T) {
	repository := func(spec string) string {
		return "kind: GitRepository\nmetadata: {name: fleet, namespace: flux-system}\nspec: {url: 'https://git.example.com/fleet.git', " + spec + "}"
	}
	secret := &v1alpha1.LocalReference{Name: "token"}
	for _, c := range []struct {
		reason, spec, source string
		want                 said
	}{
		{"a branch", "path: ./apps/shop/, prune: true, interval: 1m", repository("ref: {branch: main}"), said{
			Source: v1alpha1.Source{Git: &v1alpha1.GitSource{URL: "https://git.example.com/fleet.git", Ref: "main", Path: "apps/shop"}},
		}},
		{"Flux's default branch, and a Secret", "prune: true", repository("secretRef: {name: token}"), said{
			Source: v1alpha1.Source{Git: &v1alpha1.GitSource{URL: "https://git.example.com/fleet.git", Ref: "master", Path: ".", SecretRef: secret}}, Notes: []string{"GitRepository"},
		}},
		{"a range of versions", "prune: true", repository("ref: {branch: main, semver: '>=1 <2'}"), said{
			Source: v1alpha1.Source{Git: &v1alpha1.GitSource{URL: "https://git.example.com/fleet.git", Semver: ">=1 <2", Path: "."}},
		}},
		{"a commit counts first", "prune: true", repository("ref: {branch: main, commit: 0a1b}"), said{
			Source: v1alpha1.Source{Git: &v1alpha1.GitSource{URL: "https://git.example.com/fleet.git", Ref: "0a1b", Path: "."}},
		}},
		{"the name of a ref", "prune: true", repository("recurseSubmodules: true, ref: {name: refs/tags/v1}"), said{
			Source: v1alpha1.Source{Git: &v1alpha1.GitSource{URL: "https://git.example.com/fleet.git", Ref: "v1", Path: ".", RecurseSubmodules: true}},
		}},
		{"an artifact", "path: apps, prune: true", "kind: OCIRepository\nmetadata: {name: fleet, namespace: flux-system}\nspec: {url: 'oci://registry.example.com/fleet', insecure: true, ref: {tag: v1}, provider: aws}", said{
			Source: v1alpha1.Source{OCI: &v1alpha1.OCISource{URL: "oci+http://registry.example.com/fleet", Tag: "v1", Path: "apps"}},
			Lacks:  []string{"OCIRepository fleet: spec.provider: aws; Umbel signs in with what a Secret has"},
		}},
		{"what Umbel has no word for", "prune: false, force: true, path: apps, targetNamespace: shop, decryption: {provider: sops}, serviceAccountName: x, kubeConfig: {secretRef: {name: x}}, dependsOn: [{name: y}]", repository("ref: {branch: main}, verify: {mode: HEAD}"), said{
			Source: v1alpha1.Source{Git: &v1alpha1.GitSource{URL: "https://git.example.com/fleet.git", Ref: "main", Path: "apps"}},
			Lacks: []string{"spec.kubeConfig", "spec.serviceAccountName", "GitRepository fleet: spec.verify",
				"spec.targetNamespace: what is said there belongs into the repository. Put this kustomization.yaml into a folder beside apps, and name the folder with --path:\nnamespace: shop\nresources:\n- ../apps"},
			Notes: []string{"spec.dependsOn", "spec.decryption", "spec.prune", "spec.force"},
		}},
	} {
		t.Run(c.reason, func(t *testing.T) {
			m, err := translateFlux(object(t, "spec: {"+c.spec+"}\n"+inventory), object(t, c.source))
			if diff := cmp.Diff(c.want, saidBy(t, m, err)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if _, err := translateFlux(object(t, "spec: {}"), object(t, repository("ref: {}"))); err == nil {
		t.Error("what has applied nothing cannot be compared")
	}
}

func TestFluxNamesObjects(t *testing.T) {
	for id, want := range map[string]bundle.Key{
		"shop_web_apps_Deployment": {Group: "apps", Kind: "Deployment", Namespace: "shop", Name: "web"},
		"_shop__Namespace":         {Kind: "Namespace", Name: "shop"},
		"_system__x_rbac_Role":     {Group: "rbac", Kind: "Role", Name: "system:x"},
		"shop_a.b-c__ConfigMap":    {Kind: "ConfigMap", Namespace: "shop", Name: "a.b-c"},
	} {
		if got, err := fluxKey(id); err != nil || got != want {
			t.Errorf("%s is %+v, %v", id, got, err)
		}
	}
	for _, id := range []string{"", "a", "a_b", "a_b_c"} {
		if got, err := fluxKey(id); err == nil {
			t.Errorf("%q is %+v", id, got)
		}
	}
}

func TestArgoInOurWords(t *testing.T) {
	const status = "status: {resources: [{kind: ConfigMap, namespace: shop, name: a, version: v1}, {kind: Job, group: batch, namespace: shop, name: b, version: v1, hook: true}]}"
	git := func(path, ref string) v1alpha1.Source {
		return v1alpha1.Source{Git: &v1alpha1.GitSource{URL: "https://git.example.com/x.git", Path: path, Ref: ref}}
	}
	for _, c := range []struct {
		reason, metadata, spec string
		want                   said
	}{
		{"a folder", "{name: shop}", "{project: default, source: {repoURL: 'https://git.example.com/x.git', path: apps, targetRevision: v1, directory: {recurse: true}}}", said{Source: git("apps", "v1"), Notes: []string{"if"}}},
		{"a chart of a repository", "{name: shop}", `{destination: {namespace: team}, source: {repoURL: 'https://charts.example.com', chart: web, targetRevision: ">=1", helm: {
			valueFiles: [a.yaml], values: "a: 1\nb: {c: 2}", parameters: [{name: b.c, value: "3"}, {name: d, value: "4", forceString: true}, {name: "e", value: "x,y"}]}}}`, said{
			Source: v1alpha1.Source{Helm: &v1alpha1.HelmSource{URL: "https://charts.example.com", Chart: "web", Version: ">=1"}},
			Helm: &v1alpha1.HelmOptions{ReleaseName: "shop", Namespace: "team", ValuesFiles: []string{"a.yaml"},
				Values: &runtime.RawExtension{Raw: []byte(`{"a":1,"b":{"c":3},"d":"4","e":"x,y"}`)}}, Notes: []string{"if"},
		}},
		{"a chart of a registry", "{name: shop}", "{source: {repoURL: registry.example.com/charts, chart: web, targetRevision: 1.0.0}}", said{
			Source: v1alpha1.Source{Helm: &v1alpha1.HelmSource{URL: "oci://registry.example.com/charts", Chart: "web", Version: "1.0.0"}},
			Helm:   &v1alpha1.HelmOptions{ReleaseName: "shop"}, Notes: []string{"if"},
		}},
		{"what Umbel has no word for", "{name: shop, ownerReferences: [{kind: ApplicationSet, name: all}]}", `{sources: [{}], ignoreDifferences: [{kind: x}], source: {repoURL: 'https://git.example.com/x.git', path: a/b, targetRevision: HEAD,
			directory: {jsonnet: {tlas: [{name: x}]}}, plugin: {name: p}, kustomize: {namePrefix: x-, images: ["web=registry/web:v2", "a@sha256:0"], forceCommonLabels: true}}}`, said{
			Source: git("a/b", ""),
			Lacks: []string{"spec.sources", "metadata.ownerReferences: ApplicationSet all makes this Application, and would start it again: give it spec.syncPolicy.applicationsSync create-only first",
				"spec.source.plugin", "spec.source.directory.jsonnet", "spec.source.directory.jsonnet.tlas", "spec.source.kustomize.forceCommonLabels",
				"spec.source.kustomize.namePrefix, spec.source.kustomize.images: what is said there belongs into the repository. Put this kustomization.yaml into a folder beside a/b, and name the folder with --path:\n" +
					"images:\n- name: web\n  newName: registry/web\n  newTag: v2\n- digest: sha256:0\n  name: a\nnamePrefix: x-\nresources:\n- ../b"},
			Notes: []string{"spec.ignoreDifferences", "if", "spec.source.targetRevision"},
		}},
	} {
		t.Run(c.reason, func(t *testing.T) {
			m, err := translateArgo(object(t, "metadata: "+c.metadata+"\nspec: "+c.spec+"\n"+status))
			got := saidBy(t, m, err)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]bundle.Key{{Kind: "ConfigMap", Namespace: "shop", Name: "a"}}, m.Objects); diff != "" {
				t.Errorf("objects (-want +got):\n%s", diff)
			}
		})
	}
	if _, err := translateArgo(object(t, "metadata: {name: x}\nspec: {source: {repoURL: x, helm: {values: '{'}}}\n"+status)); err == nil {
		t.Error("values that cannot be read were taken")
	}
}

func TestConfigSyncInOurWords(t *testing.T) {
	group := object(t, "spec: {resources: [{kind: ConfigMap, namespace: shop, name: a}, {group: rbac.authorization.k8s.io, kind: ClusterRole, name: b}]}")
	for _, c := range []struct {
		reason, kind, spec string
		want               said
	}{
		{"a branch", "RootSync", "{sourceFormat: hierarchy, git: {repo: 'https://git.example.com/x.git', branch: main, dir: /config, auth: token, secretRef: {name: t}}, override: {logLevels: [{}]}}", said{
			Source: v1alpha1.Source{Git: &v1alpha1.GitSource{URL: "https://git.example.com/x.git", Ref: "main", Path: "config", SecretRef: &v1alpha1.LocalReference{Name: "t"}}},
			Notes:  []string{"spec.override", "spec.git.secretRef"},
		}},
		{"a revision", "RepoSync", "{git: {repo: 'ssh://git@example.com/x', revision: v1, auth: ssh}}", said{
			Source: v1alpha1.Source{Git: &v1alpha1.GitSource{URL: "ssh://git@example.com/x", Ref: "v1", Path: "."}}, Notes: []string{"a", "spec.git.auth"},
		}},
		{"Config Sync's default branch, and what Umbel has no word for", "RootSync", "{git: {repo: 'https://x', revision: HEAD, auth: gcenode, noSSLVerify: true, proxy: y}, more: 1}", said{
			Source: v1alpha1.Source{Git: &v1alpha1.GitSource{URL: "https://x", Ref: "master", Path: "."}},
			Lacks:  []string{"spec.more", "spec.git.noSSLVerify", "spec.git.proxy", "spec.git.auth: gcenode; Umbel signs in with what a Secret has"},
		}},
		{"an image", "RootSync", "{sourceType: oci, oci: {image: 'registry.example.com:5000/x/y:v2', dir: a, auth: none}}", said{
			Source: v1alpha1.Source{OCI: &v1alpha1.OCISource{URL: "oci://registry.example.com:5000/x/y", Tag: "v2", Path: "a"}},
		}},
		{"an image by its digest", "RootSync", "{oci: {image: 'registry.example.com/x:v2@sha256:0', auth: none}}", said{
			Source: v1alpha1.Source{OCI: &v1alpha1.OCISource{URL: "oci://registry.example.com/x", Digest: "sha256:0", Path: "."}},
		}},
		{"a chart", "RootSync", "{helm: {repo: 'https://charts.example.com', chart: web, version: '1', namespace: n, deployNamespace: d, values: {a: 1}, auth: none, valuesFileRefs: [{name: v}]}}", said{
			Source: v1alpha1.Source{Helm: &v1alpha1.HelmSource{URL: "https://charts.example.com", Chart: "web", Version: "1"}},
			Helm:   &v1alpha1.HelmOptions{ReleaseName: "s", Namespace: "d", Values: &runtime.RawExtension{Raw: []byte(`{"a":1}`)}},
			Lacks:  []string{"spec.helm.valuesFileRefs"},
		}},
	} {
		t.Run(c.reason, func(t *testing.T) {
			m, err := translateSync(object(t, "kind: "+c.kind+"\nmetadata: {name: s, namespace: n}\nspec: "+c.spec), group)
			if diff := cmp.Diff(c.want, saidBy(t, m, err)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if want := (bundle.Key{Group: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: "b"}); len(m.Objects) != 2 || m.Objects[1] != want {
				t.Errorf("objects: %v", m.Objects)
			}
		})
	}
	if _, err := translateSync(object(t, "metadata: {name: s}\nspec: {git: {repo: x}}"), object(t, "spec: {}")); err == nil {
		t.Error("what has applied nothing cannot be compared")
	}
	for name, at := range map[string]configSync{
		"root-reconciler":         {ref: Ref{Name: "root-sync"}, kind: "RootSync"},
		"root-reconciler-x":       {ref: Ref{Name: "x"}, kind: "RootSync"},
		"ns-reconciler-team":      {ref: Ref{Namespace: "team", Name: "repo-sync"}, kind: "RepoSync"},
		"ns-reconciler-team-ab-2": {ref: Ref{Namespace: "team", Name: "ab"}, kind: "RepoSync"},
	} {
		if got := at.reconciler(); got.Name != name || got.Namespace != "config-management-system" {
			t.Errorf("%+v runs as %+v", at.ref, got)
		}
	}
}

func TestFleetInOurWords(t *testing.T) {
	deployment := func(namespace, of string) unstructured.Unstructured {
		return *object(t, "metadata: {name: d, namespace: "+namespace+", labels: {fleet.cattle.io/bundle-namespace: "+of+"}}\nstatus: {resources: [{kind: Deployment, apiVersion: apps/v1, namespace: "+namespace+", name: a}]}")
	}
	repo := func(spec string) *unstructured.Unstructured {
		return object(t, "metadata: {name: r, namespace: fleet-default}\nspec: {repo: 'https://git.example.com/x.git', "+spec+"}")
	}
	for _, c := range []struct {
		reason, spec string
		want         said
	}{
		{"one folder", "branch: main, paths: [./apps/], clientSecretName: s, targets: [{}]", said{
			Source: v1alpha1.Source{Git: &v1alpha1.GitSource{URL: "https://git.example.com/x.git", Ref: "main", Path: "apps", SecretRef: &v1alpha1.LocalReference{Name: "s"}}},
			Notes:  []string{"spec.targets", "spec.clientSecretName"},
		}},
		{"a revision, and all of it", "branch: main, revision: v1", said{Source: v1alpha1.Source{Git: &v1alpha1.GitSource{URL: "https://git.example.com/x.git", Ref: "v1", Path: "."}}}},
		{"what Umbel has no word for", "paths: ['charts/*'], targetNamespace: x, caBundle: eA==", said{
			Source: v1alpha1.Source{Git: &v1alpha1.GitSource{URL: "https://git.example.com/x.git", Ref: "master", Path: "."}},
			Lacks:  []string{"spec.caBundle", "spec.targetNamespace", "spec.paths: charts/*; a Package is one folder: put a kustomization.yaml into the repository that names them, and name its folder with --path"},
		}},
	} {
		t.Run(c.reason, func(t *testing.T) {
			m, err := translateGitRepo(repo(c.spec), []unstructured.Unstructured{deployment("c-1", "fleet-default"), deployment("c-9", "elsewhere")}, "")
			if diff := cmp.Diff(c.want, saidBy(t, m, err)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]bundle.Key{{Group: "apps", Kind: "Deployment", Namespace: "c-1", Name: "a"}}, m.Objects); diff != "" {
				t.Errorf("objects (-want +got):\n%s", diff)
			}
		})
	}
	two := []unstructured.Unstructured{deployment("c-2", "fleet-default"), deployment("c-1", "fleet-default")}
	if _, err := translateGitRepo(repo(""), two, ""); err == nil || !strings.Contains(err.Error(), "c-1, c-2") {
		t.Errorf("of several clusters one has to be named: %v", err)
	}
	if m, err := translateGitRepo(repo(""), two, "c-2"); err != nil || len(m.Objects) != 1 || m.Objects[0].Namespace != "c-2" || len(m.Notes) != 1 {
		t.Errorf("got %+v, %v", m, err)
	}
	if _, err := translateGitRepo(repo(""), nil, ""); err == nil {
		t.Error("what has applied nothing cannot be compared")
	}
}
