package origin

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/adopt/member"
	"umbel.dev/umbel/internal/cli/adopt/owner"
	"umbel.dev/umbel/internal/delivery/bundle"
)

// configSync is a RootSync or a RepoSync of Config Sync. It knows no pause: it is stopped by deleting it, with deletion propagation off,
// so that its reconciler goes and its objects stay. What it was is kept whole, and made again on the way back.
type configSync struct {
	ref  Ref
	kind string
	gvr  schema.GroupVersionResource
}

var (
	rootSyncs      = schema.GroupVersionResource{Group: "configsync.gke.io", Version: "v1beta1", Resource: "rootsyncs"}
	repoSyncs      = schema.GroupVersionResource{Group: "configsync.gke.io", Version: "v1beta1", Resource: "reposyncs"}
	resourceGroups = schema.GroupVersionResource{Group: "kpt.dev", Version: "v1alpha1", Resource: "resourcegroups"}
	deployments    = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	syncManagers   = []owner.Manager{{Name: "configsync", Operation: metav1.ManagedFieldsOperationApply}}
)

const (
	// propagation is the annotation by which a RootSync takes its objects along, and propagates its finalizer for that.
	propagation = "configsync.gke.io/deletion-propagation-policy"
	propagates  = "configsync.gke.io/reconciler"
	// syncNamespace is where reconcilers run.
	syncNamespace = "config-management-system"
)

func rootSync(ref Ref) Origin { return configSync{ref, "RootSync", rootSyncs} }
func repoSync(ref Ref) Origin { return configSync{ref, "RepoSync", repoSyncs} }

// String implements Origin.
func (s configSync) String() string {
	return fmt.Sprintf("the %s %s/%s of Config Sync", s.kind, s.ref.Namespace, s.ref.Name)
}

// Read implements Origin.
func (s configSync) Read(ctx context.Context, c *member.Cluster) (*Managed, error) {
	o, err := get(ctx, c, s.gvr, s.ref.Namespace, s.ref.Name)
	if err != nil {
		return nil, err
	}
	group, err := get(ctx, c, resourceGroups, s.ref.Namespace, s.ref.Name) // the inventory has the same name
	if err != nil {
		return nil, err
	}
	m, err := translateSync(o, group)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s, err)
	}
	return m, nil
}

// translateSync says in Umbel's words what a RootSync or a RepoSync says, with its inventory.
func translateSync(o, group *unstructured.Unstructured) (*Managed, error) {
	spec := fields(o.Object).in("spec")
	m := &Managed{Managers: syncManagers}
	was := &unstructured.Unstructured{Object: map[string]any{"apiVersion": o.GetAPIVersion(), "kind": o.GetKind(), "spec": o.Object["spec"]}}
	was.SetName(o.GetName())
	was.SetNamespace(o.GetNamespace())
	was.SetLabels(o.GetLabels())
	was.SetAnnotations(o.GetAnnotations())
	var err error
	if m.Was, err = json.Marshal(was); err != nil {
		return nil, err
	}
	for _, r := range fields(group.Object).in("spec").list("resources") {
		m.Objects = append(m.Objects, bundle.Key{Group: r.text("group"), Kind: r.text("kind"), Namespace: r.text("namespace"), Name: r.text("name")})
	}
	if len(m.Objects) == 0 {
		return nil, fmt.Errorf("ResourceGroup %s/%s is empty: it has applied nothing yet", o.GetNamespace(), o.GetName())
	}
	m.knows(spec, "spec", "sourceFormat", "sourceType", "git", "oci", "helm", "override")
	if !spec.empty("override") {
		m.note("spec.override is about the reconciler of Config Sync, and is not carried over")
	}
	if o.GetKind() == "RepoSync" {
		m.note("a RepoSync acts with the rights of its namespace: docs/kinds/package.md says how a Package of a team does; objects without a namespace have to name %s in the source", o.GetNamespace())
	}
	switch {
	case !spec.empty("git"):
		m.syncGit(o, spec.in("git"))
	case !spec.empty("oci"):
		m.syncOCI(spec.in("oci"))
	case !spec.empty("helm"):
		m.syncHelm(o, spec.in("helm"))
	default:
		return nil, fmt.Errorf("spec has no git, oci or helm")
	}
	return m, m.err
}

// signsIn notes how Config Sync signs in, where Umbel does not.
func (m *Managed) signsIn(from fields, at string, known ...string) {
	for _, auth := range append(known, "none", "") {
		if from.text("auth") == auth {
			return
		}
	}
	m.lack("%s.auth: %s; Umbel signs in with what a Secret has", at, from.text("auth"))
}

func (m *Managed) syncGit(o *unstructured.Unstructured, git fields) {
	m.knows(git, "spec.git", "repo", "branch", "revision", "dir", "period", "auth", "secretRef")
	m.signsIn(git, "spec.git", "ssh", "token")
	from := &v1alpha1.GitSource{
		URL: git.text("repo"), Path: clean(git.text("dir")), Ref: "master", // Config Sync's default
		SecretRef: m.secretOf(git.in("secretRef").text("name"), o.GetNamespace(), "spec.git.secretRef"),
	}
	if branch := git.text("branch"); branch != "" {
		from.Ref = branch
	}
	if revision := git.text("revision"); revision != "" && revision != "HEAD" {
		from.Ref = revision
	}
	if git.text("auth") == "ssh" {
		m.note("spec.git.auth is ssh: the Secret on the hub has ssh-privatekey and known_hosts, where Config Sync's has ssh")
	}
	m.Source.Git = from
}

func (m *Managed) syncOCI(oci fields) {
	m.knows(oci, "spec.oci", "image", "dir", "period", "auth")
	m.signsIn(oci, "spec.oci")
	from := &v1alpha1.OCISource{Path: clean(oci.text("dir"))}
	image, digest, pinned := strings.Cut(strings.TrimPrefix(oci.text("image"), "oci://"), "@")
	if i := strings.LastIndex(image, ":"); i > strings.LastIndex(image, "/") {
		image, from.Tag = image[:i], image[i+1:]
	}
	if pinned {
		from.Tag, from.Digest = "", digest
	}
	from.URL = "oci://" + image
	m.Source.OCI = from
}

func (m *Managed) syncHelm(o *unstructured.Unstructured, helm fields) {
	m.knows(helm, "spec.helm", "repo", "chart", "version", "releaseName", "namespace", "deployNamespace", "values", "period", "auth", "secretRef")
	m.signsIn(helm, "spec.helm", "token")
	m.Source.Helm = &v1alpha1.HelmSource{
		URL: helm.text("repo"), Chart: helm.text("chart"), Version: helm.text("version"),
		SecretRef: m.secretOf(helm.in("secretRef").text("name"), o.GetNamespace(), "spec.helm.secretRef"),
	}
	m.Helm = &v1alpha1.HelmOptions{ReleaseName: helm.text("releaseName"), Namespace: helm.text("namespace")}
	if m.Helm.ReleaseName == "" {
		m.Helm.ReleaseName = o.GetName()
	}
	if deploy := helm.text("deployNamespace"); deploy != "" {
		m.Helm.Namespace = deploy
	}
	if values := helm.in("values"); len(values) > 0 {
		raw, err := json.Marshal(values)
		m.fail(err)
		m.Helm.Values = &runtime.RawExtension{Raw: raw}
	}
}

// reconciler is the Deployment that does the work of the one.
func (s configSync) reconciler() Ref {
	at := Ref{Namespace: syncNamespace}
	switch {
	case s.kind == "RootSync" && s.ref.Name == "root-sync":
		at.Name = "root-reconciler"
	case s.kind == "RootSync":
		at.Name = "root-reconciler-" + s.ref.Name
	case s.ref.Name == "repo-sync":
		at.Name = "ns-reconciler-" + s.ref.Namespace
	default:
		at.Name = fmt.Sprintf("ns-reconciler-%s-%s-%d", s.ref.Namespace, s.ref.Name, len(s.ref.Name))
	}
	return at
}

// Stop implements Origin.
func (s configSync) Stop(ctx context.Context, c *member.Cluster) error {
	at := c.Resource(s.gvr).Namespace(s.ref.Namespace)
	o, err := at.Get(ctx, s.ref.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return s.ended(ctx, c)
	case err != nil:
		return err
	case o.GetDeletionTimestamp() != nil && o.GetAnnotations()[propagation] == "Foreground":
		return fmt.Errorf("%s is being deleted, and takes its objects along: nothing is left to take over", s)
	}
	if _, says := o.GetAnnotations()[propagation]; says {
		if err := merge(ctx, c, s.gvr, s.ref, map[string]any{"metadata": map[string]any{"annotations": map[string]any{propagation: nil}}}); err != nil {
			return err
		}
	}
	err = rests(ctx, c, s.gvr, s.ref, func(o *unstructured.Unstructured) string {
		for _, finalizer := range o.GetFinalizers() {
			if finalizer == propagates && o.GetDeletionTimestamp() == nil {
				return "it still has the finalizer by which it would take its objects along"
			}
		}
		return ""
	})
	if err != nil {
		return err
	}
	uid := o.GetUID()
	err = at.Delete(ctx, s.ref.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting %s: %w", s, err)
	}
	return s.ended(ctx, c)
}

// ended waits until it and its reconciler are gone.
func (s configSync) ended(ctx context.Context, c *member.Cluster) error {
	there := func(*unstructured.Unstructured) string { return "it is still there" }
	if err := rests(ctx, c, s.gvr, s.ref, there); err != nil {
		return err
	}
	return rests(ctx, c, deployments, s.reconciler(), there)
}

// Start implements Origin.
func (s configSync) Start(ctx context.Context, c *member.Cluster, was json.RawMessage) error {
	o := &unstructured.Unstructured{}
	if err := json.Unmarshal(was, &o.Object); err != nil {
		return err
	}
	_, err := c.Resource(s.gvr).Namespace(s.ref.Namespace).Create(ctx, o, metav1.CreateOptions{FieldManager: "umbel-adopt"})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("making %s again: %w", s, err)
	}
	return nil
}
