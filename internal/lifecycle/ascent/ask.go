package ascent

import (
	"context"
	"fmt"
	"net"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/internal/lifecycle/contract"
)

// anyAPIServer is a name for which the certificate of every API server is valid, whatever its address.
const anyAPIServer = "kubernetes.default.svc"

// AskAll asks the API servers of a cluster themselves, all of them, for what they count, by the kubeconfig that Cluster API has. Where one
// of them does not answer, or cannot be reached from here, that is an error.
func AskAll(ctx context.Context, hub client.Reader, cluster client.ObjectKey, planes int64) ([]string, error) {
	config, _, err := contract.Config(ctx, hub, cluster)
	if err != nil {
		return nil, err
	}
	if planes == 1 {
		one, err := metricsOf(ctx, config)
		return []string{one}, err
	}
	return metricsOfAll(ctx, config)
}

// metricsOfAll asks each API server that is behind the Service default/kubernetes: of a control plane of several members each counts for
// itself, and which of them answers at their common address is chance.
func metricsOfAll(ctx context.Context, config *rest.Config) ([]string, error) {
	api, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	slices, err := api.DiscoveryV1().EndpointSlices(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=kubernetes"})
	if err != nil {
		return nil, fmt.Errorf("reading the addresses of its API servers: %w", err)
	}
	var all []string
	for _, slice := range slices.Items {
		if len(slice.Ports) == 0 || slice.Ports[0].Port == nil {
			continue
		}
		port := strconv.Itoa(int(*slice.Ports[0].Port))
		for _, endpoint := range slice.Endpoints {
			for _, address := range endpoint.Addresses {
				one := rest.CopyConfig(config)
				one.Host, one.ServerName = "https://"+net.JoinHostPort(address, port), anyAPIServer
				metrics, err := metricsOf(ctx, one)
				if err != nil {
					return nil, fmt.Errorf("asking its API server at %s: %w", address, err)
				}
				all = append(all, metrics)
			}
		}
	}
	return all, nil
}

// metricsOf returns what one API server counts.
func metricsOf(ctx context.Context, config *rest.Config) (string, error) {
	api, err := kubernetes.NewForConfig(config)
	if err != nil {
		return "", err
	}
	raw, err := api.Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	return string(raw), err
}
