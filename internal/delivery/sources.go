package delivery

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/source"
	"umbel.dev/umbel/internal/delivery/source/git"
	"umbel.dev/umbel/internal/delivery/source/helm"
	"umbel.dev/umbel/internal/delivery/source/oci"
)

const (
	defaultPoll = time.Minute
	defaultRef  = "main"
	defaultTag  = "latest"
	anyVersion  = "*" // but for prereleases
)

// readers are those of all kinds of sources, each with a folder of its own.
func readers(needs Needs) (map[source.Kind]source.Reader, error) {
	repositories, err := git.New(git.Config{Dir: filepath.Join(needs.Dir, "git"), Local: needs.LocalSources})
	if err != nil {
		return nil, fmt.Errorf("setting up the fetching of Git repositories: %w", err)
	}
	return map[source.Kind]source.Reader{
		source.Git:  repositories,
		source.OCI:  oci.New(oci.Config{Dir: filepath.Join(needs.Dir, "oci")}),
		source.Helm: helm.New(helm.Config{Dir: filepath.Join(needs.Dir, "helm")}),
	}, nil
}

// place is where a source is, how often it is asked, and which folder of it is meant.
type place struct {
	ref    source.Ref
	folder string
	poll   time.Duration
}

// placeOf returns where the source of a Package of a namespace is; false when its manifests stand in the Package itself.
func placeOf(namespace string, from v1alpha1.Source) (place, bool) {
	switch {
	case from.Git != nil:
		git := from.Git
		p := place{
			ref: source.Ref{
				Kind: source.Git, URL: git.URL, Name: git.Ref, Range: git.Semver, Submodules: git.RecurseSubmodules, Secret: secretOf(namespace, git.SecretRef),
			},
			folder: git.Path, poll: pollOf(git.PollInterval),
		}
		if git.Ref == "" && git.Semver == "" {
			p.ref.Name = defaultRef
		}
		return p, true
	case from.OCI != nil:
		artifact := from.OCI
		p := place{
			ref:    source.Ref{Kind: source.OCI, URL: artifact.URL, Name: artifact.Tag + artifact.Digest, Range: artifact.Semver, Secret: secretOf(namespace, artifact.SecretRef), Signed: artifact.Verify != nil},
			folder: artifact.Path, poll: pollOf(artifact.PollInterval),
		}
		if p.ref.Name == "" && p.ref.Range == "" {
			p.ref.Name = defaultTag
		}
		return p, true
	case from.Helm != nil:
		chart := from.Helm
		p := place{
			ref:    source.Ref{Kind: source.Helm, URL: chart.URL, Chart: chart.Chart, Range: chart.Version, Secret: secretOf(namespace, chart.SecretRef), Signed: chart.Verify != nil},
			folder: ".", poll: pollOf(chart.PollInterval),
		}
		if p.ref.Range == "" {
			p.ref.Range = anyVersion
		}
		return p, true
	}
	return place{}, false
}

func secretOf(namespace string, ref *v1alpha1.LocalReference) string {
	if ref == nil {
		return ""
	}
	return namespace + "/" + ref.Name
}

func pollOf(every *metav1.Duration) time.Duration {
	if every == nil || every.Duration <= 0 {
		return defaultPoll
	}
	return every.Duration
}

// sameAs says whether two places are the same one. How often it is asked, and with which Secret, does not matter.
func (p place) sameAs(other place) bool {
	p.ref.Secret, other.ref.Secret = "", ""
	p.ref.Signed, other.ref.Signed = false, false
	return p.ref == other.ref && source.Clean(p.folder) == source.Clean(other.folder)
}

// SameSource says whether two sources are the same place; how often they are polled, and with which Secret, does not matter. A Package has one
// place for manifests of its own: which they are is a matter of the revision.
func SameSource(a, b v1alpha1.Source) bool {
	if a.Inline != nil || b.Inline != nil {
		return a.Inline != nil && b.Inline != nil
	}
	one, known := placeOf("", a)
	other, too := placeOf("", b)
	return known && too && one.sameAs(other)
}

// inlineRevision is the revision of manifests that stand in a Package: the SHA-256 of them all, in hex.
func inlineRevision(inline *v1alpha1.InlineSource) string {
	sum := sha256.New()
	for _, object := range inline.Objects {
		fmt.Fprintf(sum, "%d:%s\n", len(object.Raw), object.Raw) // the API writes the same object the same way
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// released is a source as a Release names it: the objects of an inline one are in the content, and not here once more.
func released(from v1alpha1.Source) v1alpha1.Source {
	if from.Inline != nil {
		return v1alpha1.Source{Inline: &v1alpha1.InlineSource{}}
	}
	return *from.DeepCopy()
}

// revisionOf names a revision of a source in a few words.
func revisionOf(from v1alpha1.Source, revision string) string {
	what := "commit"
	switch {
	case from.OCI != nil:
		what = "artifact"
	case from.Helm != nil:
		what = "chart " + from.Helm.Chart
	case from.Inline != nil:
		what = "inline version"
	}
	return what + " " + source.Short(revision)
}

// credentials reads the Secret that a Ref names. A hub on an existing cluster may do so in the namespaces that its chart is
// given (sources.secretNamespaces), and may list Secrets nowhere.
func (c *Controller) credentials(ctx context.Context, ref source.Ref) (source.Credentials, error) {
	return credentialsOn(ctx, c.live, ref)
}

func credentialsOn(ctx context.Context, hub client.Reader, ref source.Ref) (source.Credentials, error) {
	namespace, name, _ := strings.Cut(ref.Secret, "/")
	var secret corev1.Secret
	err := hub.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, &secret)
	switch {
	case apierrors.IsNotFound(err):
		return source.Credentials{}, source.NoSecret("there is no secret %q in namespace %q (spec.source.%s.secretRef)", name, namespace, ref.Kind)
	case apierrors.IsForbidden(err):
		return source.Credentials{}, source.NoSecret("this hub may not get the Secrets of namespace %q: docs/operate/sources.md says how to let it", namespace)
	case err != nil:
		return source.Credentials{}, fmt.Errorf("reading secret %s: %w", ref.Secret, err)
	}
	if only := secret.Annotations[v1alpha1.OnlyForAnnotation]; !source.MayGoTo(only, ref.URL) {
		return source.Credentials{}, source.NoSecret("secret %s is for %s and not for %s: its annotation %s says so", ref.Secret, source.Redact(only), source.Redact(ref.URL), v1alpha1.OnlyForAnnotation)
	}
	return source.ReadSecret(ref.Secret, secret.Data, ref.URL)
}
