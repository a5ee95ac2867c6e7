package origin

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/adopt/member"
	"umbel.dev/umbel/internal/cli/adopt/owner"
	"umbel.dev/umbel/internal/delivery/bundle"
)

// gitRepo is a GitRepo of Rancher's Fleet. It is stopped by spec.paused, with keepResources, so that it deletes nothing when it goes, and
// without correctDrift. It lives on the cluster with Fleet's manager, and so do the BundleDeployments that say what its clusters hold.
type gitRepo struct{ ref Ref }

var (
	gitRepos          = schema.GroupVersionResource{Group: "fleet.cattle.io", Version: "v1alpha1", Resource: "gitrepos"}
	bundles           = schema.GroupVersionResource{Group: "fleet.cattle.io", Version: "v1alpha1", Resource: "bundles"}
	bundleDeployments = schema.GroupVersionResource{Group: "fleet.cattle.io", Version: "v1alpha1", Resource: "bundledeployments"}
	// fleetManagers are the names of Fleet's agent, which applies by Helm's library, on the client's side or on the server's.
	fleetManagers = []owner.Manager{
		{Name: "fleetagent", Operation: metav1.ManagedFieldsOperationUpdate}, {Name: "fleetagent", Operation: metav1.ManagedFieldsOperationApply},
		{Name: "helm", Operation: metav1.ManagedFieldsOperationUpdate}, {Name: "helm", Operation: metav1.ManagedFieldsOperationApply},
	}
)

// fleetWas is how a GitRepo was.
type fleetWas struct {
	Paused        bool           `json:"paused"`
	KeepResources bool           `json:"keepResources"`
	CorrectDrift  map[string]any `json:"correctDrift,omitempty"`
}

// String implements Origin.
func (g gitRepo) String() string {
	return fmt.Sprintf("the GitRepo %s/%s of Fleet", g.ref.Namespace, g.ref.Name)
}

// Read implements Origin.
func (g gitRepo) Read(ctx context.Context, c *member.Cluster) (*Managed, error) {
	o, err := get(ctx, c, gitRepos, g.ref.Namespace, g.ref.Name)
	if err != nil {
		return nil, err
	}
	list, err := c.Resource(bundleDeployments).List(ctx, metav1.ListOptions{LabelSelector: "fleet.cattle.io/repo-name=" + g.ref.Name})
	if err != nil {
		return nil, fmt.Errorf("reading what the clusters of %s hold: %w", g, err)
	}
	m, err := translateGitRepo(o, list.Items, g.ref.Labels)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", g, err)
	}
	return m, nil
}

// translateGitRepo says in Umbel's words what a GitRepo says. at is the namespace of one of its clusters.
func translateGitRepo(o *unstructured.Unstructured, deployments []unstructured.Unstructured, at string) (*Managed, error) {
	spec := fields(o.Object).in("spec")
	m := &Managed{Managers: fleetManagers}
	var err error
	if m.Was, err = json.Marshal(fleetWas{spec.is("paused"), spec.is("keepResources"), spec.in("correctDrift")}); err != nil {
		return nil, err
	}
	var clusters []string
	for _, d := range deployments {
		if in := d.GetLabels()["fleet.cattle.io/bundle-namespace"]; in != "" && in != o.GetNamespace() {
			continue // of another GitRepo with this name
		}
		if clusters = append(clusters, d.GetNamespace()); at != "" && d.GetNamespace() != at {
			continue
		}
		for _, r := range fields(d.Object).in("status").list("resources") {
			gv, err := schema.ParseGroupVersion(r.text("apiVersion"))
			if err != nil {
				return nil, err
			}
			m.Objects = append(m.Objects, bundle.Key{Group: gv.Group, Kind: r.text("kind"), Namespace: r.text("namespace"), Name: r.text("name")})
		}
	}
	slices.Sort(clusters)
	clusters = slices.Compact(clusters)
	switch {
	case at == "" && len(clusters) > 1:
		return nil, fmt.Errorf("it has several clusters: name the one with --fleet-cluster, by its namespace: %s", strings.Join(clusters, ", "))
	case len(m.Objects) == 0:
		return nil, fmt.Errorf("none of its BundleDeployments has status.resources: it has applied nothing yet")
	case len(clusters) > 1:
		m.note("spec.paused holds for all its clusters: the other %d get no commits either until they have moved, or this one has moved back", len(clusters)-1)
	}
	m.knows(spec, "spec", "repo", "branch", "revision", "paths", "clientSecretName", "targets", "paused", "keepResources", "correctDrift", "pollingInterval", "forceSyncGeneration",
		"deleteNamespace", "disablePolling", "imageScanCommit", "serviceAccount")
	if account := spec.text("serviceAccount"); account != "" {
		m.note("spec.serviceAccount is %s: docs/kinds/package.md says how a Package acts with the rights of a team", account)
	}
	if len(spec.list("targets")) > 0 {
		m.note("spec.targets are not carried over: the Placement selects this cluster alone, and is yours to change")
	}
	from := &v1alpha1.GitSource{
		URL: spec.text("repo"), Path: ".", Ref: "master", // Fleet's default
		SecretRef: m.secretOf(spec.text("clientSecretName"), o.GetNamespace(), "spec.clientSecretName"),
	}
	for _, ref := range []string{spec.text("branch"), spec.text("revision")} {
		if ref != "" {
			from.Ref = ref
		}
	}
	switch paths := spec.texts("paths"); {
	case len(paths) == 1 && !strings.ContainsAny(paths[0], "*?["):
		from.Path = clean(paths[0])
	case len(paths) > 0:
		m.Overlay = func() {
			m.lack("spec.paths: %s; a Package is one folder: put a kustomization.yaml into the repository that names them, and name its folder with --path", strings.Join(paths, ", "))
		}
	}
	m.Source.Git = from
	return m, nil
}

// Stop implements Origin.
func (g gitRepo) Stop(ctx context.Context, c *member.Cluster) error {
	change := map[string]any{"spec": map[string]any{"paused": true, "keepResources": true, "correctDrift": map[string]any{"enabled": false}}}
	if err := merge(ctx, c, gitRepos, g.ref, change); err != nil {
		return err
	}
	return settles(ctx, g.String(), func(ctx context.Context) (string, error) {
		list, err := c.Resource(bundles).Namespace(g.ref.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "fleet.cattle.io/repo-name=" + g.ref.Name})
		if err != nil {
			return "", err
		}
		for i := range list.Items {
			if !fields(list.Items[i].Object).in("spec").is("paused") {
				return fmt.Sprintf("Fleet has not paused bundle %s yet", list.Items[i].GetName()), nil
			}
		}
		return "", nil
	})
}

// Start implements Origin.
func (g gitRepo) Start(ctx context.Context, c *member.Cluster, was json.RawMessage) error {
	var w fleetWas
	if err := json.Unmarshal(was, &w); err != nil {
		return err
	}
	spec := map[string]any{"paused": w.Paused, "keepResources": w.KeepResources, "correctDrift": nil}
	if w.CorrectDrift != nil {
		spec["correctDrift"] = w.CorrectDrift
	}
	return merge(ctx, c, gitRepos, g.ref, map[string]any{"spec": spec})
}
