package origin

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/strvals"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/adopt/member"
	"umbel.dev/umbel/internal/cli/adopt/owner"
	"umbel.dev/umbel/internal/delivery/bundle"
)

// argo is an Application of Argo CD. It is stopped by taking spec.syncPolicy.automated away: it compares, and syncs no more. Its
// finalizer goes as well, with which it would delete its objects when it is deleted.
type argo struct{ ref Ref }

var (
	applications = schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "applications"}
	argoManagers = []owner.Manager{
		{Name: "argocd-controller", Operation: metav1.ManagedFieldsOperationApply},
		{Name: "argocd-controller", Operation: metav1.ManagedFieldsOperationUpdate},
		{Name: "argocd-application-controller", Operation: metav1.ManagedFieldsOperationUpdate},
	}
)

// argoFinalizer begins the names of the finalizers by which an Application deletes its objects.
const argoFinalizer = "resources-finalizer.argocd.argoproj.io"

// argoWas is how an Application was.
type argoWas struct {
	Automated  map[string]any `json:"automated,omitempty"`
	Finalizers []string       `json:"finalizers,omitempty"`
}

// String implements Origin.
func (a argo) String() string {
	return fmt.Sprintf("the Application %s/%s of Argo CD", a.ref.Namespace, a.ref.Name)
}

// Read implements Origin.
func (a argo) Read(ctx context.Context, c *member.Cluster) (*Managed, error) {
	o, err := get(ctx, c, applications, a.ref.Namespace, a.ref.Name)
	if err != nil {
		return nil, err
	}
	m, err := translateArgo(o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a, err)
	}
	return m, nil
}

// translateArgo says in Umbel's words what an Application says.
func translateArgo(o *unstructured.Unstructured) (*Managed, error) {
	spec := fields(o.Object).in("spec")
	m := &Managed{Managers: argoManagers}
	var err error
	if m.Was, err = json.Marshal(argoWas{spec.in("syncPolicy", "automated"), o.GetFinalizers()}); err != nil {
		return nil, err
	}
	for _, r := range fields(o.Object).in("status").list("resources") {
		if !r.is("hook") {
			m.Objects = append(m.Objects, bundle.Key{Group: r.text("group"), Kind: r.text("kind"), Namespace: r.text("namespace"), Name: r.text("name")})
		}
	}
	if len(m.Objects) == 0 {
		return nil, fmt.Errorf("status.resources is empty: it has synced nothing yet")
	}
	m.knows(spec, "spec", "project", "destination", "source", "syncPolicy", "ignoreDifferences", "info", "revisionHistoryLimit")
	for _, ref := range o.GetOwnerReferences() {
		if ref.Kind == "ApplicationSet" {
			m.lack("metadata.ownerReferences: ApplicationSet %s makes this Application, and would start it again: give it spec.syncPolicy.applicationsSync create-only first", ref.Name)
		}
	}
	if _, tracked := o.GetAnnotations()["argocd.argoproj.io/tracking-id"]; tracked {
		m.note("another Application manages this one: take spec.syncPolicy.automated out of its source as well, or it comes back")
	}
	if !spec.empty("ignoreDifferences") {
		m.note("spec.ignoreDifferences is not carried over: the Package has spec.drift.ignore for it (docs/operate/drift.md)")
	}
	if slices.Contains(spec.in("syncPolicy").texts("syncOptions"), "CreateNamespace=true") {
		m.note("Argo CD made namespace %s (CreateNamespace=true); it stays, and belongs to nobody unless the source has it", spec.in("destination").text("namespace"))
	}
	m.argoSource(o.GetName(), spec)
	return m, m.err
}

// argoSource says in Umbel's words what the source of an Application says.
func (m *Managed) argoSource(name string, spec fields) {
	from := spec.in("source")
	m.knows(from, "spec.source", "repoURL", "path", "targetRevision", "chart", "helm", "kustomize", "directory")
	m.knows(from.in("directory"), "spec.source.directory", "recurse")
	m.knows(from.in("directory", "jsonnet"), "spec.source.directory.jsonnet")
	m.note("if %s wants credentials, make a Secret with them on the hub, in the namespace of the package, and name it with --secret: those of Argo CD are not copied", from.text("repoURL"))
	folder, revision := clean(from.text("path")), from.text("targetRevision")
	if chart := from.text("chart"); chart != "" {
		url := from.text("repoURL")
		if !strings.Contains(url, "://") {
			url = "oci://" + url
		}
		m.Source.Helm = &v1alpha1.HelmSource{URL: url, Chart: chart, Version: revision}
	} else {
		m.Source.Git = &v1alpha1.GitSource{URL: from.text("repoURL"), Path: folder, Ref: revision}
		if revision == "" || revision == "HEAD" {
			m.Source.Git.Ref = ""
			m.note("spec.source.targetRevision is HEAD, which is main for Umbel: --ref names another branch")
		}
	}
	if _, said := from["helm"]; said || m.Source.Helm != nil {
		m.argoHelm(name, from.in("helm"), spec.in("destination").text("namespace"))
	}
	kustomize := from.in("kustomize")
	m.knows(kustomize, "spec.source.kustomize", "namePrefix", "nameSuffix", "images", "namespace", "patches", "components", "commonLabels", "commonAnnotations", "replicas")
	var extra overlay
	for _, field := range []string{"namePrefix", "nameSuffix", "namespace", "patches", "components", "commonAnnotations", "replicas"} {
		extra.take(kustomize, "spec.source.kustomize", field, field)
	}
	if labels := kustomize.in("commonLabels"); len(labels) > 0 {
		extra.set("spec.source.kustomize.commonLabels", "labels", []any{map[string]any{"pairs": labels, "includeSelectors": true}})
	}
	if images := kustomize.texts("images"); len(images) > 0 {
		extra.set("spec.source.kustomize.images", "images", imagesOf(images))
	}
	m.Overlay = func() { extra.lacks(m, folder) }
}

// imagesOf returns images as kustomize's own file has them, of [NAME=]IMAGE[:TAG|@DIGEST].
func imagesOf(texts []string) (images []any) {
	for _, text := range texts {
		image := map[string]any{}
		name, to, renamed := strings.Cut(text, "=")
		if !renamed {
			name, to = "", text
		}
		if before, digest, found := strings.Cut(to, "@"); found {
			to, image["digest"] = before, digest
		} else if i := strings.LastIndex(to, ":"); i > strings.LastIndex(to, "/") {
			to, image["newTag"] = to[:i], to[i+1:]
		}
		if image["name"] = to; renamed {
			image["name"], image["newName"] = name, to
		}
		images = append(images, image)
	}
	return images
}

// argoHelm says in Umbel's words how Argo CD renders a chart.
func (m *Managed) argoHelm(name string, helm fields, namespace string) {
	m.knows(helm, "spec.source.helm", "releaseName", "valueFiles", "values", "valuesObject", "parameters", "namespace", "kubeVersion", "apiVersions", "version")
	options := &v1alpha1.HelmOptions{ReleaseName: helm.text("releaseName"), Namespace: namespace, KubeVersion: helm.text("kubeVersion"), APIVersions: helm.texts("apiVersions")}
	if options.ReleaseName == "" {
		options.ReleaseName = name
	}
	if other := helm.text("namespace"); other != "" {
		options.Namespace = other
	}
	for _, file := range helm.texts("valueFiles") {
		if strings.HasPrefix(file, "$") || strings.Contains(file, "://") {
			m.lack("spec.source.helm.valueFiles: %s is not in the chart's folder", file)
			continue
		}
		options.ValuesFiles = append(options.ValuesFiles, file)
	}
	values := map[string]any{}
	if text := helm.text("values"); text != "" {
		m.fail(yaml.Unmarshal([]byte(text), &values))
	}
	if object := helm.in("valuesObject"); len(object) > 0 {
		values = object
	}
	for _, p := range helm.list("parameters") {
		parse := strvals.ParseInto
		if p.is("forceString") {
			parse = strvals.ParseIntoString
		}
		m.fail(parse(p.text("name")+"="+strings.ReplaceAll(p.text("value"), ",", `\,`), values))
	}
	if len(values) > 0 {
		raw, err := json.Marshal(values)
		m.fail(err)
		options.Values = &runtime.RawExtension{Raw: raw}
	}
	m.Helm = options
}

// Stop implements Origin.
func (a argo) Stop(ctx context.Context, c *member.Cluster) error {
	o, err := get(ctx, c, applications, a.ref.Namespace, a.ref.Name)
	if err != nil {
		return err
	}
	kept := slices.DeleteFunc(slices.Clone(o.GetFinalizers()), func(name string) bool { return strings.HasPrefix(name, argoFinalizer) })
	change := map[string]any{"metadata": map[string]any{"finalizers": kept, "resourceVersion": o.GetResourceVersion()}}
	if fields(o.Object).in("spec", "syncPolicy")["automated"] != nil {
		change["spec"] = map[string]any{"syncPolicy": map[string]any{"automated": nil}}
	}
	if err := merge(ctx, c, applications, a.ref, change); err != nil {
		return err
	}
	return rests(ctx, c, applications, a.ref, func(o *unstructured.Unstructured) string {
		if !fields(o.Object).empty("operation") || fields(o.Object).in("status", "operationState").text("phase") == "Running" {
			return "a sync is under way"
		}
		return ""
	})
}

// Start implements Origin.
func (a argo) Start(ctx context.Context, c *member.Cluster, was json.RawMessage) error {
	var w argoWas
	if err := json.Unmarshal(was, &w); err != nil {
		return err
	}
	o, err := get(ctx, c, applications, a.ref.Namespace, a.ref.Name)
	if err != nil {
		return err
	}
	finalizers := o.GetFinalizers()
	for _, name := range w.Finalizers {
		if !slices.Contains(finalizers, name) {
			finalizers = append(finalizers, name)
		}
	}
	change := map[string]any{"metadata": map[string]any{"finalizers": finalizers, "resourceVersion": o.GetResourceVersion()}}
	if w.Automated != nil {
		change["spec"] = map[string]any{"syncPolicy": map[string]any{"automated": w.Automated}}
	}
	return merge(ctx, c, applications, a.ref, change)
}
