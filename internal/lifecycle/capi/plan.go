package capi

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"umbel.dev/umbel/api/v1alpha1"
)

const (
	crdKind        = "CustomResourceDefinition"
	mutatingKind   = "MutatingWebhookConfiguration"
	validatingKind = "ValidatingWebhookConfiguration"
)

// served says where the webhooks of a provider are served, as https://HOST:PORT, and by whose certificates.
type served struct {
	url string
	ca  []byte
}

// shape returns what is to be applied of a provider's manifests, kinds first: its kinds and webhooks, labelled as this
// Provider's, with the webhooks at an address instead of behind a Service.
func shape(provider string, manifests []*unstructured.Unstructured, at served) (kinds, hooks []*unstructured.Unstructured, err error) {
	for _, manifest := range manifests {
		object := manifest.DeepCopy()
		switch object.GetKind() {
		case crdKind:
			err = shapeKind(object, at)
			kinds = append(kinds, object)
		case mutatingKind, validatingKind:
			err = shapeHooks(object, at)
			hooks = append(hooks, object)
		default:
			continue // what makes a pod of it
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
		labels := object.GetLabels()
		if labels == nil {
			labels = map[string]string{}
		}
		labels[v1alpha1.ProviderLabel] = provider
		object.SetLabels(labels)
		object.SetAnnotations(without(object.GetAnnotations(), "cert-manager.io/"))
	}
	if len(kinds) == 0 {
		return nil, nil, fmt.Errorf("no %s is in the manifests: give the file of components that the provider's project releases", crdKind)
	}
	return kinds, hooks, nil
}

func shapeKind(crd *unstructured.Unstructured, at served) error {
	config, found, err := unstructured.NestedMap(crd.Object, "spec", "conversion", "webhook", "clientConfig")
	if err != nil || !found {
		return err
	}
	moved, err := move(config, at)
	if err != nil {
		return err
	}
	return unstructured.SetNestedMap(crd.Object, moved, "spec", "conversion", "webhook", "clientConfig")
}

// retire has a kind not serve the versions that its project calls deprecated, unless they are served there already: an API server keeps
// each version that it serves in a cache of its own, for which each write of an object is converted once more.
func retire(crd, there *unstructured.Unstructured) error {
	served := map[any]bool{}
	if there != nil {
		err := eachVersion(there, func(version map[string]any) { served[version["name"]] = version["served"] == true })
		if err != nil {
			return err
		}
	}
	return eachVersion(crd, func(version map[string]any) {
		if version["deprecated"] == true && version["storage"] != true && !served[version["name"]] {
			version["served"] = false
		}
	})
}

// eachVersion has something done to each version of a kind.
func eachVersion(crd *unstructured.Unstructured, do func(map[string]any)) error {
	versions, found, err := unstructured.NestedSlice(crd.Object, "spec", "versions")
	if err != nil || !found {
		return err
	}
	for i := range versions {
		version, ok := versions[i].(map[string]any)
		if !ok {
			return fmt.Errorf("spec.versions[%d] is no object", i)
		}
		do(version)
	}
	return unstructured.SetNestedSlice(crd.Object, versions, "spec", "versions")
}

// Labels of a kind: which of Cluster API's contracts its provider keeps. One that keeps the old one alone works with Cluster API's kinds in their old versions.
const oldContract, contractNow = "cluster.x-k8s.io/v1beta1", "cluster.x-k8s.io/v1beta2"

// speaksOld says whether a provider keeps the old contract alone.
func speaksOld(manifests []*unstructured.Unstructured) bool {
	for _, manifest := range manifests {
		_, old := manifest.GetLabels()[oldContract]
		if _, now := manifest.GetLabels()[contractNow]; manifest.GetKind() == crdKind && old && !now {
			return true
		}
	}
	return false
}

func shapeHooks(object *unstructured.Unstructured, at served) error {
	hooks, _, err := unstructured.NestedSlice(object.Object, "webhooks")
	if err != nil {
		return err
	}
	for i := range hooks {
		hook, ok := hooks[i].(map[string]any)
		if !ok {
			return fmt.Errorf("webhooks[%d] is no object", i)
		}
		config, _, err := unstructured.NestedMap(hook, "clientConfig")
		if err != nil {
			return fmt.Errorf("webhooks[%d]: %w", i, err)
		}
		if hook["clientConfig"], err = move(config, at); err != nil {
			return fmt.Errorf("webhooks[%d]: %w", i, err)
		}
	}
	return unstructured.SetNestedSlice(object.Object, hooks, "webhooks")
}

// move returns the same webhook at another address.
func move(config map[string]any, at served) (map[string]any, error) {
	path, found, err := unstructured.NestedString(config, "service", "path")
	if err != nil {
		return nil, err
	}
	if !found || !strings.HasPrefix(path, "/") {
		return nil, fmt.Errorf("clientConfig.service.path is %q: it is to say where the provider serves the webhook", path)
	}
	return map[string]any{"url": at.url + path, "caBundle": base64.StdEncoding.EncodeToString(at.ca)}, nil
}

func without(annotations map[string]string, prefix string) map[string]string {
	for key := range annotations {
		if strings.HasPrefix(key, prefix) {
			delete(annotations, key) // they are a copy
		}
	}
	if len(annotations) == 0 {
		return nil
	}
	return annotations
}

// clusterKind is what every Cluster API has.
const clusterKind = "clusters.cluster.x-k8s.io"

// names returns the names of the kinds in a provider's manifests.
func names(manifests []*unstructured.Unstructured) []string {
	var names []string
	for _, manifest := range manifests {
		if manifest.GetKind() == crdKind {
			names = append(names, manifest.GetName())
		}
	}
	return names
}

// foreign returns the name of a kind that is in the API and not this Provider's, empty when there is none.
func foreign(provider string, there []metav1.PartialObjectMetadata) string {
	for _, crd := range there {
		if crd.Labels[v1alpha1.ProviderLabel] != provider {
			return crd.Name
		}
	}
	return ""
}

// keeper is the kind of identities of Cluster API's provider for AWS, which owns the Secrets that it has read, and keeps what they said: keeperKinds is
// its name.
var keeper = schema.GroupKind{Group: "infrastructure.cluster.x-k8s.io", Kind: "AWSClusterStaticIdentity"}

const keeperKinds = "awsclusterstaticidentities.infrastructure.cluster.x-k8s.io"

// outdates says whether a provider keeps what a Secret said before, and it says something else now, or nothing.
func outdates(before, now any) bool {
	was, known := before.(*corev1.Secret)
	if !known || !slices.ContainsFunc(was.OwnerReferences, func(owner metav1.OwnerReference) bool {
		return schema.FromAPIVersionAndKind(owner.APIVersion, owner.Kind).GroupKind() == keeper
	}) {
		return false
	}
	is, there := now.(*corev1.Secret)
	return !there || !maps.EqualFunc(was.Data, is.Data, bytes.Equal)
}

// flags returns what a provider's program is started with. What the hub gives comes last: it wins.
func flags(provider string, spec v1alpha1.ProviderSpec, at start) []string {
	args := append([]string{}, spec.Args...)
	args = append(args,
		"--kubeconfig="+at.kubeconfig, "--webhook-cert-dir="+at.certs,
		fmt.Sprintf("--webhook-port=%d", at.webhookPort), fmt.Sprintf("--health-addr=127.0.0.1:%d", at.healthPort),
	)
	if provider != v1alpha1.CoreProvider { // nobody else runs it, and nobody asks it for figures
		args = append(args, "--leader-elect=false", "--diagnostics-address=0")
	}
	return args
}

// ownFlags returns what a provider that the hub brings is started with: it has no webhooks, and nobody else runs it.
func ownFlags(own Own, spec v1alpha1.ProviderSpec, at start) []string {
	args := append(append([]string{}, own.Args...), spec.Args...)
	return append(args, "--kubeconfig="+at.kubeconfig, fmt.Sprintf("--health-addr=127.0.0.1:%d", at.healthPort))
}

// start is where a process finds its papers, and serves.
type start struct {
	kubeconfig, certs       string
	webhookPort, healthPort int
}

// judged is how a process that was started looks now.
type judged struct {
	ready    bool
	restarts int
	lastExit string
	logFile  string
}

// patience is how often a process may end before it has served; then it is begun anew, with other ports.
const patience = 5

// condition says of a provider what its process shows. again says that it is to be begun anew.
func condition(seen judged) (c metav1.Condition, again bool) {
	switch {
	case seen.ready:
		return metav1.Condition{Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonServing, Message: "its process runs and serves its webhooks"}, false
	case seen.restarts == 0:
		return metav1.Condition{Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonStarting, Message: "its process was started and does not serve yet"}, false
	default:
		return metav1.Condition{
			Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonProcessEnds,
			Message: fmt.Sprintf("its process ended (%s) and was started again: %s says why", seen.lastExit, seen.logFile),
		}, seen.restarts >= patience
	}
}
