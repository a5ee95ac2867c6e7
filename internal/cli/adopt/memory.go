package adopt

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/adopt/origin"
	"umbel.dev/umbel/internal/cli/adopt/owner"
)

// adoption is from whom a cluster's objects were taken over. The cluster remembers it, in a Secret beside its agent: there is one for
// each Package that took something over there, whoever may write the Package cannot write it, and it goes with the cluster.
type adoption struct {
	// Package is the uid of the Package: another one of the same name took nothing over.
	Package types.UID  `json:"package"`
	From    origin.Ref `json:"from"`
	// Control is the cluster from which the other does its work, where that is another one.
	Control  v1alpha1.ClusterName `json:"control,omitempty"`
	Managers []owner.Manager      `json:"managers"`
	// Was is how the other was.
	Was json.RawMessage `json:"was,omitempty"`
}

// adoptionEntry is the entry of the Secret.
const adoptionEntry = "adoption.json"

// memory is what a cluster remembers of the taking over by a Package.
type memory struct {
	secrets dynamic.ResourceInterface
	name    string
}

func memoryOf(cluster dynamic.Interface, key v1alpha1.PackageKey) memory {
	return memory{
		cluster.Resource(corev1.SchemeGroupVersion.WithResource("secrets")).Namespace(v1alpha1.AgentNamespace), "umbel-adoption." + key.LabelValue(),
	}
}

// recall returns what was remembered for this very Package; nil when that is nothing.
func (m memory) recall(ctx context.Context, of types.UID) (*adoption, error) {
	_, a, err := m.read(ctx)
	if err != nil || a == nil || a.Package != of {
		return nil, err
	}
	return a, nil
}

func (m memory) read(ctx context.Context) (*unstructured.Unstructured, *adoption, error) {
	found, err := m.secrets.Get(ctx, m.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading what the cluster remembers: %w", err)
	}
	secret, a := corev1.Secret{}, adoption{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(found.Object, &secret); err != nil {
		return nil, nil, fmt.Errorf("secret %s/%s: it cannot be read", v1alpha1.AgentNamespace, m.name)
	}
	if err := json.Unmarshal(secret.Data[adoptionEntry], &a); err != nil {
		return nil, nil, fmt.Errorf("secret %s/%s: its entry %s is not what was written there: %w", v1alpha1.AgentNamespace, m.name, adoptionEntry, err)
	}
	return found, &a, nil
}

// remember keeps an adoption. One that is there for the same Package stays: how the other was before the first attempt is what counts.
func (m memory) remember(ctx context.Context, a adoption) error {
	found, known, err := m.read(ctx)
	if err != nil || known != nil && known.Package == a.Package {
		return err
	}
	raw, err := json.Marshal(a)
	if err != nil {
		return err
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.AgentNamespace, Name: m.name}, Data: map[string][]byte{adoptionEntry: raw},
	})
	if err != nil {
		return err
	}
	secret := &unstructured.Unstructured{Object: content}
	if found == nil {
		_, err = m.secrets.Create(ctx, secret, metav1.CreateOptions{})
	} else { // of a Package that was deleted
		secret.SetResourceVersion(found.GetResourceVersion())
		_, err = m.secrets.Update(ctx, secret, metav1.UpdateOptions{})
	}
	if err != nil {
		return fmt.Errorf("having the cluster remember how the other was: %w", err)
	}
	return nil
}

// forget drops it.
func (m memory) forget(ctx context.Context) error {
	err := m.secrets.Delete(ctx, m.name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("having the cluster forget it: %w", err)
	}
	return nil
}

// A Package that takes over says so in an annotation, which names the clusters that were begun with and are not selected yet: it stays
// for them, though its Placement names nobody.

// adopts says whether a Package takes over.
func adopts(pkg *v1alpha1.Package) bool {
	_, does := pkg.Annotations[v1alpha1.AdoptionsAnnotation]
	return does
}

// begun are the clusters that were begun with.
func begun(pkg *v1alpha1.Package) []string {
	return slices.DeleteFunc(strings.Split(pkg.Annotations[v1alpha1.AdoptionsAnnotation], ","), func(name string) bool { return name == "" })
}

// begin notes that a cluster was begun with, and ended that it is selected, or goes on with the other.
func begin(pkg *v1alpha1.Package, cluster v1alpha1.ClusterName) {
	note(pkg, append(begun(pkg), string(cluster)))
}

func ended(pkg *v1alpha1.Package, cluster v1alpha1.ClusterName) {
	note(pkg, slices.DeleteFunc(begun(pkg), func(name string) bool { return name == string(cluster) }))
}

func note(pkg *v1alpha1.Package, clusters []string) {
	slices.Sort(clusters)
	if pkg.Annotations == nil {
		pkg.Annotations = map[string]string{}
	}
	pkg.Annotations[v1alpha1.AdoptionsAnnotation] = strings.Join(slices.Compact(clusters), ",")
}
