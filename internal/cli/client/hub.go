package client

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	kube "sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/kinds"
	"umbel.dev/umbel/internal/cli/view"
	"umbel.dev/umbel/internal/hub/known"
)

// dialTimeout is how long a hub may take to accept a connection: one that is further away than this is not reached.
const dialTimeout = 10 * time.Second

// Hub is a client of the hub's API.
type Hub struct {
	kube.WithWatch
	// Config is how it is reached.
	Config *rest.Config

	kubeconfig string
	namespace  string
}

// Connect returns a client of the hub. It sends nothing yet.
func (f *Factory) Connect() (*Hub, error) {
	if f.Through != nil {
		return f.enter()
	}
	kubeconfig, err := f.LoadKubeconfig()
	if err != nil {
		return nil, err
	}
	path := kubeconfig.Contexts[kubeconfig.CurrentContext].LocationOfOrigin
	config, err := clientcmd.NewDefaultClientConfig(*kubeconfig, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("reading kubeconfig %s: %w", path, err)
	}
	config.UserAgent = "umbel"
	config.QPS = -1 // one person, one command: there is nobody to be fair to
	config.Dial = (&net.Dialer{Timeout: dialTimeout}).DialContext
	config.WarningHandler = rest.NewWarningWriter(f.Err, rest.WarningWriterOptions{Deduplicate: true})
	api, err := newClient(config)
	if err != nil {
		return nil, fmt.Errorf("reading kubeconfig %s: %w", path, err)
	}
	return &Hub{WithWatch: api, Config: config, kubeconfig: path, namespace: f.Namespace}, nil
}

// OnHub does something with the hub, and explains what went wrong there.
func (f *Factory) OnHub(ctx context.Context, do func(context.Context, *Hub) error) error {
	hub, err := f.Connect()
	if err != nil {
		return err
	}
	return hub.Explain(do(ctx, hub))
}

func newClient(config *rest.Config) (kube.WithWatch, error) {
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	scheme, err := known.Scheme()
	if err != nil {
		return nil, err
	}
	mapper, err := newMapper(config, httpClient)
	if err != nil {
		return nil, err
	}
	return kube.NewWithWatch(config, kube.Options{Scheme: scheme, Mapper: mapper, HTTPClient: httpClient})
}

// newMapper knows the kinds that commands use, and asks the API for all others.
func newMapper(config *rest.Config, httpClient *http.Client) (meta.RESTMapper, error) {
	ours := meta.NewDefaultRESTMapper(nil)
	for _, kind := range kinds.All() {
		scope := meta.RESTScopeNamespace
		if kind.Scope == kinds.Cluster {
			scope = meta.RESTScopeRoot
		}
		ours.Add(kind.GVK, scope)
	}
	ours.Add(authorizationv1.SchemeGroupVersion.WithKind("SelfSubjectRulesReview"), meta.RESTScopeRoot)
	ours.Add(coordinationv1.SchemeGroupVersion.WithKind("Lease"), meta.RESTScopeNamespace)
	ours.Add(corev1.SchemeGroupVersion.WithKind("ConfigMap"), meta.RESTScopeNamespace)
	ours.Add(corev1.SchemeGroupVersion.WithKind("Event"), meta.RESTScopeNamespace)
	ours.Add(corev1.SchemeGroupVersion.WithKind("Namespace"), meta.RESTScopeRoot)
	ours.Add(corev1.SchemeGroupVersion.WithKind("Secret"), meta.RESTScopeNamespace)
	asked, err := apiutil.NewDynamicRESTMapper(config, httpClient)
	if err != nil {
		return nil, err
	}
	return meta.FirstHitRESTMapper{MultiRESTMapper: meta.MultiRESTMapper{ours, asked}}, nil
}

// ListClusters reads clusters into list. Who may not list them gets those that the hub's roles name for him, one by one: a
// Scope lets people through to some clusters and says nothing of the others.
func (h *Hub) ListClusters(ctx context.Context, list kube.ObjectList, selector labels.Selector) error {
	err := h.List(ctx, list, kube.MatchingLabelsSelector{Selector: selector})
	if !apierrors.IsForbidden(err) {
		return err
	}
	names, asked := h.named(ctx)
	if asked != nil || len(names) == 0 {
		return err
	}
	var found []runtime.Object
	for _, name := range names {
		cluster := newItem(list)
		if err := h.Get(ctx, kube.ObjectKey{Name: name}, cluster); kube.IgnoreNotFound(err) != nil {
			return err
		} else if err == nil && selector.Matches(labels.Set(cluster.GetLabels())) {
			found = append(found, cluster)
		}
	}
	return meta.SetList(list, found)
}

// NoneMatch says that no cluster has the labels of a selector, and how many clusters there are.
func (h *Hub) NoneMatch(ctx context.Context, selector string) (string, error) {
	all := &metav1.PartialObjectMetadataList{}
	all.SetGroupVersionKind(kinds.Clusters.ListGVK())
	if err := h.ListClusters(ctx, all, labels.Everything()); err != nil {
		return "", err
	}
	return NoneMatch(selector, len(all.Items)), nil
}

// NoneMatch says that none of so many clusters has the labels of a selector.
func NoneMatch(selector string, of int) string {
	if selector == "" || of == 0 {
		return "No clusters found"
	}
	return fmt.Sprintf("No clusters match %s (of %s)", selector, v1alpha1.Counted(of, "cluster"))
}

// newItem returns an empty cluster of the form that a list holds.
func newItem(list kube.ObjectList) kube.Object {
	switch list.(type) {
	case *metav1.PartialObjectMetadataList:
		item := &metav1.PartialObjectMetadata{}
		item.SetGroupVersionKind(kinds.Clusters.GVK)
		return item
	case *unstructured.UnstructuredList:
		item := &unstructured.Unstructured{}
		item.SetGroupVersionKind(kinds.Clusters.GVK)
		return item
	}
	return &v1alpha1.MemberCluster{}
}

// named returns the clusters that roles on the hub name for whoever asks, sorted.
func (h *Hub) named(ctx context.Context) ([]string, error) {
	review := &authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: v1alpha1.SystemNamespace}}
	if err := h.Create(ctx, review); err != nil {
		return nil, err
	}
	var names []string
	for _, rule := range review.Status.ResourceRules {
		if slices.Contains(rule.APIGroups, v1alpha1.GroupVersion.Group) && slices.Contains(rule.Resources, kinds.Clusters.Resource) && slices.Contains(rule.Verbs, "get") {
			names = append(names, rule.ResourceNames...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// Pulse reads the hub's last sign of life. A Lease that cannot be read is no sign of life, and says why.
func (h *Hub) Pulse(ctx context.Context) view.Pulse {
	var lease coordinationv1.Lease
	err := h.Get(ctx, kube.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.HubLease}, &lease)
	if err == nil {
		return view.PulseOf(&lease)
	}
	if apierrors.IsNotFound(err) {
		return view.Pulse{}
	}
	return view.Pulse{Problem: h.Explain(err).Error()}
}
