package client

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	kube "sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/kinds"
	"umbel.dev/umbel/internal/cli/view"
	"umbel.dev/umbel/internal/hub"
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
	scheme, err := hub.Scheme()
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
	known := meta.NewDefaultRESTMapper(nil)
	for _, kind := range kinds.All() {
		scope := meta.RESTScopeNamespace
		if kind.Scope == kinds.Cluster {
			scope = meta.RESTScopeRoot
		}
		known.Add(kind.GVK, scope)
	}
	known.Add(coordinationv1.SchemeGroupVersion.WithKind("Lease"), meta.RESTScopeNamespace)
	known.Add(corev1.SchemeGroupVersion.WithKind("ConfigMap"), meta.RESTScopeNamespace)
	known.Add(corev1.SchemeGroupVersion.WithKind("Event"), meta.RESTScopeNamespace)
	known.Add(corev1.SchemeGroupVersion.WithKind("Namespace"), meta.RESTScopeRoot)
	known.Add(corev1.SchemeGroupVersion.WithKind("Secret"), meta.RESTScopeNamespace)
	asked, err := apiutil.NewDynamicRESTMapper(config, httpClient)
	if err != nil {
		return nil, err
	}
	return meta.FirstHitRESTMapper{MultiRESTMapper: meta.MultiRESTMapper{known, asked}}, nil
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
