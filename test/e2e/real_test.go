//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/bundle"
	"umbel.dev/umbel/test/real"
	"umbel.dev/umbel/test/rig"
)

// rounds are Packages of test/data that can be on one cluster at the same time. The others are variations of these, on which
// test/real does the same.
var rounds = [][]string{
	{"boutique-plain", "guestbook", "guestbook-kustomize", "sock-shop", "quickstart-root", "fleet-packages", "kustomize-pipeline", "locality", "quota-east", "environments-dev"},
	{"boutique", "quickstart-gamestore", "foo-corp", "quota-west"},
}

// realInput has a cluster hold what nobody here wrote, in rounds: a sync that changes nothing writes nothing, what is deleted
// comes back, and what is taken away is gone.
func realInput(s *story) {
	data := filepath.Join(rig.Root(), "test", "data")
	files := map[string]string{}
	err := filepath.WalkDir(data, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		name, _ := filepath.Rel(data, path)
		if len(raw) > 0 {
			files["data/"+name] = string(raw)
		}
		return err
	})
	if err != nil {
		s.Fatal(err)
	}
	s.commit("What nobody here wrote", files)
	s.give(filepath.Join(s.Repository(), "data"))
	s.umbel("label", "cluster", "dev", "location=belgium", "environment=prod")
	if err := s.manifest("apiVersion: umbel.dev/v1alpha1\nkind: Placement\nmetadata: {name: belgium, namespace: default}\nspec: {clusterSelector: {matchLabels: {location: belgium}}}\n"); err != nil {
		s.Fatal(err)
	}
	m := s.surroundings()
	for _, round := range rounds {
		var packages []real.Package
		for _, name := range round {
			at := slices.IndexFunc(real.Packages, func(p real.Package) bool { return p.Name == name })
			packages = append(packages, real.Packages[at])
		}
		m.live(s, packages)
	}
	s.umbel("label", "cluster", "dev", "location-", "environment-")
}

// give has whoever runs the fleet own a folder that the test wrote.
func (s *story) give(folder string) {
	s.Helper()
	err := filepath.WalkDir(folder, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(s.User), int(s.User))
	})
	if err != nil {
		s.Fatal(err)
	}
}

func (s *story) createReal(p real.Package) {
	s.Helper()
	spec := s.packageYAML(p.Name, "path: data/"+p.Folder, "belgium")
	if len(p.Components) > 0 {
		spec += fmt.Sprintf("  variants: [{kustomize: {components: [%s]}}]\n", strings.Join(p.Components, ", "))
	}
	if err := s.manifest(spec); err != nil {
		s.Fatal(err)
	}
}

// onDev runs kubectl on the cluster, as its administrator.
func (s *story) onDev(line string) {
	s.Helper()
	s.shell(`umbel-kube kubectl --kubeconfig "$UMBEL_HOME/local/dev/kubeconfig" ` + line)
}

func (s *story) define(version, kind, plural string) {
	s.Helper()
	group, version, _ := strings.Cut(version, "/")
	raw, err := json.Marshal(map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": plural + "." + group, "annotations": map[string]any{"api-approved.kubernetes.io": "unapproved, for a test"}},
		"spec": map[string]any{
			"group": group, "scope": "Namespaced",
			"names": map[string]any{"kind": kind, "listKind": kind + "List", "plural": plural, "singular": strings.ToLower(kind)},
			"versions": []any{map[string]any{"name": version, "served": true, "storage": true, "schema": map[string]any{
				"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}},
		},
	})
	if err != nil {
		s.Fatal(err)
	}
	s.onDev("apply -f - <<'EOF'\n" + string(raw) + "\nEOF")
}

// soil is the cluster that all of it is put on.
type soil struct {
	dynamic *dynamic.DynamicClient
	mapper  *restmapper.DeferredDiscoveryRESTMapper
}

// surroundings gives the cluster the kinds that the data uses and does not bring, as it has them where their owners are
// installed.
func (s *story) surroundings() *soil {
	s.Helper()
	s.define("configsync.gke.io/v1alpha1", "RepoSync", "reposyncs")
	config, err := s.Member("dev")
	if err != nil {
		s.Fatal(err)
	}
	config.QPS = -1
	return &soil{
		dynamic: dynamic.NewForConfigOrDie(config),
		mapper:  restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(discovery.NewDiscoveryClientForConfigOrDie(config))),
	}
}

// grown is an object on the cluster, as Umbel wrote it last.
type grown struct {
	bundle.ID
	at      dynamic.ResourceInterface
	uid     string
	written string
}

// lasting says whether to delete the object would take others along.
func (g grown) lasting() bool { return g.Kind == "Namespace" || g.Kind == "CustomResourceDefinition" }

// live is the life of some Packages on the cluster.
func (m *soil) live(s *story, packages []real.Package) {
	s.Helper()
	var all []grown
	for _, p := range packages {
		if p.Name == "quickstart-gamestore" { // the namespace and the kind are in the folder of the cluster's administrator
			s.onDev("create namespace gamestore")
			s.define("marketplace.com/v2", "WebStore", "webstores")
			defer s.onDev("delete namespace/gamestore crd/webstores.marketplace.com")
		}
		s.createReal(p)
	}
	for _, p := range packages {
		s.applied(p.Name)
		all = append(all, m.objects(s, p)...)
	}
	s.Logf("%d Packages hold %d objects: %v", len(packages), len(all), packages)
	for i := range all {
		all[i].look(s)
	}
	s.killAgentOf("dev") // whoever starts anew compares all of it
	s.memberSays("dev", v1alpha1.ConditionConnected, metav1.ConditionTrue)
	for _, p := range packages {
		s.applied(p.Name)
	}
	for _, g := range all {
		now := g
		if now.look(s); now.uid != g.uid || now.written != g.written {
			s.Errorf("%s was written by a sync that changes nothing: %s, was %s", g.ID, now.written, g.written)
		}
	}
	for i, g := range all {
		if i%2 == 0 && !g.lasting() {
			if err := g.at.Delete(s.ctx, g.Name, metav1.DeleteOptions{}); err != nil {
				s.Fatalf("%s: %v", g.ID, err)
			}
		}
	}
	for i, g := range all {
		s.eventually(g.ID.String()+" is back", func(ctx context.Context) error {
			now, err := g.at.Get(ctx, g.Name, metav1.GetOptions{})
			if err == nil && i%2 == 0 && !g.lasting() && string(now.GetUID()) == g.uid {
				return fmt.Errorf("it is still the one that was deleted")
			}
			return err
		})
	}
	for _, p := range packages {
		s.deletePackage(p.Name)
	}
	for _, g := range all {
		s.eventually(g.ID.String()+" is gone", func(ctx context.Context) error {
			if _, err := g.at.Get(ctx, g.Name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
				return fmt.Errorf("it is there: %v", err)
			}
			return nil
		})
	}
	m.mapper.Reset()
}

// killAgentOf ends an agent that runs as a process, as kill -9 does. It is started again.
func (s *story) killAgentOf(cluster string) {
	s.Helper()
	pids, err := s.Processes("umbel-agent", filepath.Join(s.Home, "local", cluster)+"/")
	if err != nil || len(pids) == 0 {
		s.Fatalf("no agent of %s runs: %v", cluster, err)
	}
	for _, pid := range pids {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil && err != unix.ESRCH {
			s.Fatal(err)
		}
	}
}

// applied waits until the cluster has applied a Package. Without nodes its pods never run.
func (s *story) applied(pkg string) {
	s.Helper()
	s.eventually("dev has applied "+pkg, func(context.Context) error {
		for _, held := range s.member("dev").Status.Packages {
			if string(held.Package) != "default/"+pkg {
				continue
			}
			if held.Phase == v1alpha1.PackageApplied && held.Applied == held.Objects && held.Objects > 0 {
				return nil
			}
			return fmt.Errorf("it says %+v", held)
		}
		return fmt.Errorf("it does not speak of it: %s", condition(s.pkg(pkg).Status.Conditions, v1alpha1.ConditionReady).Message)
	})
}

func (m *soil) objects(s *story, p real.Package) []grown {
	s.Helper()
	entries, err := real.Render(os.DirFS(filepath.Join(rig.Root(), "test", "data")), p)
	if err != nil {
		s.Fatal(err)
	}
	var all []grown
	for _, entry := range entries {
		id, err := bundle.Identify(entry.Object)
		if err != nil {
			s.Fatal(err)
		}
		kind := schema.GroupKind{Group: id.Group(), Kind: id.Kind}
		mapping, err := m.mapper.RESTMapping(kind, id.APIVersion[strings.Index(id.APIVersion, "/")+1:])
		if meta.IsNoMatchError(err) {
			m.mapper.Reset()
			mapping, err = m.mapper.RESTMapping(kind, id.APIVersion[strings.Index(id.APIVersion, "/")+1:])
		}
		if err != nil {
			s.Fatal(err)
		}
		g := grown{ID: id, at: m.dynamic.Resource(mapping.Resource)}
		if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
			namespace := id.Namespace
			if namespace == "" {
				namespace = metav1.NamespaceDefault
			}
			g.at = m.dynamic.Resource(mapping.Resource).Namespace(namespace)
		}
		all = append(all, g)
	}
	return all
}

// look notes who the object is and when Umbel wrote it: controllers write its status all the time.
func (g *grown) look(s *story) {
	s.Helper()
	live, err := g.at.Get(s.ctx, g.Name, metav1.GetOptions{})
	if err != nil {
		s.Fatalf("%s: %v", g.ID, err)
	}
	g.uid, g.written = string(live.GetUID()), ""
	for _, entry := range live.GetManagedFields() {
		if strings.HasPrefix(entry.Manager, "umbel") && entry.Subresource == "" {
			g.written += fmt.Sprintf("%s %s %s; ", entry.Manager, entry.Time.UTC().Format(time.RFC3339), entry.FieldsV1)
		}
	}
	if g.written == "" {
		s.Errorf("%s is written by nobody of ours", g.ID)
	}
}
