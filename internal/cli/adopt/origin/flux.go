package origin

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/adopt/member"
	"umbel.dev/umbel/internal/cli/adopt/owner"
	"umbel.dev/umbel/internal/delivery/bundle"
)

// flux is a Kustomization of Flux. It is stopped by spec.suspend: it applies nothing from then on, and when it is deleted meanwhile it
// prunes nothing.
type flux struct{ ref Ref }

var (
	kustomizations = schema.GroupVersionResource{Group: "kustomize.toolkit.fluxcd.io", Version: "v1", Resource: "kustomizations"}
	fluxSources    = map[string]schema.GroupVersionResource{
		"GitRepository": {Group: "source.toolkit.fluxcd.io", Version: "v1", Resource: "gitrepositories"},
		"OCIRepository": {Group: "source.toolkit.fluxcd.io", Version: "v1", Resource: "ocirepositories"},
	}
	fluxManagers = []owner.Manager{
		{Name: "kustomize-controller", Operation: metav1.ManagedFieldsOperationApply},
		{Name: "kustomize-controller", Operation: metav1.ManagedFieldsOperationUpdate},
	}
)

// fluxWas is how a Kustomization was.
type fluxWas struct {
	Suspend bool `json:"suspend"`
}

// String implements Origin.
func (f flux) String() string {
	return fmt.Sprintf("the Kustomization %s/%s of Flux", f.ref.Namespace, f.ref.Name)
}

// Read implements Origin.
func (f flux) Read(ctx context.Context, c *member.Cluster) (*Managed, error) {
	o, err := get(ctx, c, kustomizations, f.ref.Namespace, f.ref.Name)
	if err != nil {
		return nil, err
	}
	spec := fields(o.Object).in("spec")
	from := spec.in("sourceRef")
	gvr, known := fluxSources[from.text("kind")]
	if !known {
		return nil, fmt.Errorf("%s: spec.sourceRef is a %s, and Umbel knows GitRepository and OCIRepository", f, from.text("kind"))
	}
	namespace := from.text("namespace")
	if namespace == "" {
		namespace = f.ref.Namespace
	}
	source, err := get(ctx, c, gvr, namespace, from.text("name"))
	if err != nil {
		return nil, err
	}
	m, err := translateFlux(o, source)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f, err)
	}
	return m, nil
}

// translateFlux says in Umbel's words what a Kustomization and its source say.
func translateFlux(o, source *unstructured.Unstructured) (*Managed, error) {
	spec := fields(o.Object).in("spec")
	m := &Managed{Managers: fluxManagers}
	var err error
	if m.Was, err = json.Marshal(fluxWas{spec.is("suspend")}); err != nil {
		return nil, err
	}
	for _, entry := range fields(o.Object).in("status", "inventory").list("entries") {
		key, err := fluxKey(entry.text("id"))
		if err != nil {
			return nil, err
		}
		m.Objects = append(m.Objects, key)
	}
	if len(m.Objects) == 0 {
		return nil, fmt.Errorf("status.inventory is empty: it has applied nothing yet")
	}
	folder := clean(spec.text("path"))
	m.knows(spec, "spec", "sourceRef", "path", "suspend", "interval", "retryInterval", "timeout", "wait", "prune", "deletionPolicy", "force", "healthChecks",
		"healthCheckExprs", "dependsOn", "patches", "images", "namePrefix", "nameSuffix", "targetNamespace", "components", "commonMetadata", "ignoreMissingComponents", "decryption")
	var extra overlay
	for _, name := range []string{"patches", "images", "namePrefix", "nameSuffix", "components"} {
		extra.take(spec, "spec", name, name)
	}
	extra.take(spec, "spec", "targetNamespace", "namespace")
	if labels := spec.in("commonMetadata", "labels"); len(labels) > 0 {
		extra.set("spec.commonMetadata.labels", "labels", []any{map[string]any{"pairs": labels}})
	}
	extra.take(spec.in("commonMetadata"), "spec.commonMetadata", "annotations", "commonAnnotations")
	m.Overlay = func() { extra.lacks(m, folder) }
	for _, name := range []string{"healthCheckExprs", "dependsOn"} {
		if !spec.empty(name) {
			m.note("spec.%s is not carried over: the Package has a field for it (docs/kinds/package.md)", name)
		}
	}
	if !spec.empty("decryption") {
		m.note("spec.decryption: the agent decrypts with the cluster's own key, for which the files have to be encrypted as well; what is encrypted cannot be compared before")
	}
	if !spec.is("prune") {
		m.note("spec.prune is false, and a Package prunes what leaves its source: the label %s: %s on an object keeps it", v1alpha1.OnLeavingLabel, v1alpha1.LeavingKeep)
	}
	if spec.is("force") {
		m.note("spec.force is true, and Umbel makes no object anew that cannot be changed: it says so")
	}
	m.fluxSource(source, folder)
	return m, nil
}

// fluxKey reads an entry of an inventory: NAMESPACE_NAME_GROUP_KIND. A colon in a name is written as two underscores.
func fluxKey(id string) (bundle.Key, error) {
	namespace, rest, ok := strings.Cut(id, "_")
	last := strings.LastIndex(rest, "_")
	if !ok || last < 0 {
		return bundle.Key{}, fmt.Errorf("status.inventory: %q is no name of an object", id)
	}
	kind := rest[last+1:]
	rest = rest[:last]
	before := strings.LastIndex(rest, "_")
	if before < 0 {
		return bundle.Key{}, fmt.Errorf("status.inventory: %q is no name of an object", id)
	}
	return bundle.Key{Group: rest[before+1:], Kind: kind, Namespace: namespace, Name: strings.ReplaceAll(rest[:before], "__", ":")}, nil
}

// fluxSource says in Umbel's words what a source of Flux says.
func (m *Managed) fluxSource(o *unstructured.Unstructured, folder string) {
	spec, at := fields(o.Object).in("spec"), o.GetKind()+" "+o.GetName()+": spec"
	ref := spec.in("ref")
	secret := m.secretOf(spec.in("secretRef").text("name"), o.GetNamespace(), at+".secretRef")
	if o.GetKind() == "OCIRepository" {
		m.knows(spec, at, "url", "ref", "secretRef", "interval", "timeout", "suspend", "insecure", "provider", "layerSelector")
		m.knows(ref, at+".ref", "tag", "semver", "digest")
		if p := spec.text("provider"); p != "" && p != "generic" {
			m.lack("%s.provider: %s; Umbel signs in with what a Secret has", at, p)
		}
		if media := spec.in("layerSelector").text("mediaType"); media != "" {
			m.note("%s.layerSelector is not carried over: the layer with the files is found by itself", at)
		}
		url := spec.text("url")
		if spec.is("insecure") {
			url = strings.Replace(url, "oci://", "oci+http://", 1)
		}
		oci := &v1alpha1.OCISource{URL: url, Path: folder, SecretRef: secret}
		switch {
		case ref.text("digest") != "":
			oci.Digest = ref.text("digest")
		case ref.text("semver") != "":
			oci.Semver = ref.text("semver")
		default:
			oci.Tag = ref.text("tag")
		}
		m.Source.OCI = oci
		return
	}
	m.knows(spec, at, "url", "ref", "secretRef", "interval", "timeout", "suspend", "provider", "recurseSubmodules", "sparseCheckout")
	m.knows(ref, at+".ref", "branch", "tag", "semver", "commit", "name")
	if p := spec.text("provider"); p != "" && p != "generic" {
		m.lack("%s.provider: %s; Umbel signs in with what a Secret has", at, p)
	}
	git := &v1alpha1.GitSource{
		URL: spec.text("url"), Path: folder, SecretRef: secret, RecurseSubmodules: spec.is("recurseSubmodules"), Ref: "master", // Flux's default
	}
	switch name := ref.text("name"); {
	case ref.text("commit") != "":
		git.Ref = ref.text("commit")
	case name != "":
		git.Ref = strings.TrimPrefix(strings.TrimPrefix(name, "refs/heads/"), "refs/tags/")
	case ref.text("semver") != "":
		git.Ref, git.Semver = "", ref.text("semver")
	case ref.text("tag") != "":
		git.Ref = ref.text("tag")
	case ref.text("branch") != "":
		git.Ref = ref.text("branch")
	}
	m.Source.Git = git
}

// secretOf notes that credentials have to be on the hub; they are not copied.
func (m *Managed) secretOf(name, namespace, at string) *v1alpha1.LocalReference {
	if name == "" {
		return nil
	}
	m.note("%s: the credentials are in Secret %s/%s on the cluster and are not copied; make a Secret %s on the hub, in the namespace of the package", at, namespace, name, name)
	return &v1alpha1.LocalReference{Name: name}
}

// Stop implements Origin.
func (f flux) Stop(ctx context.Context, c *member.Cluster) error {
	if err := merge(ctx, c, kustomizations, f.ref, map[string]any{"spec": map[string]any{"suspend": true}}); err != nil {
		return err
	}
	return rests(ctx, c, kustomizations, f.ref, func(o *unstructured.Unstructured) string {
		for _, condition := range fields(o.Object).in("status").list("conditions") {
			if condition.text("type") == "Reconciling" && condition.text("status") == "True" {
				return condition.text("message")
			}
		}
		return ""
	})
}

// Start implements Origin.
func (f flux) Start(ctx context.Context, c *member.Cluster, was json.RawMessage) error {
	var w fluxWas
	if err := json.Unmarshal(was, &w); err != nil {
		return err
	}
	return merge(ctx, c, kustomizations, f.ref, map[string]any{"spec": map[string]any{"suspend": w.Suspend}})
}
