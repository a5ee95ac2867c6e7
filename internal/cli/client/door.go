package client

import (
	"context"
	"fmt"
	"net/http"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/route"
)

// Door returns how the hub's door is asked as whoever asks, and its URL, without a path.
func (f *Factory) Door(ctx context.Context, hub *Hub) (web *http.Client, url string, err error) {
	if f.Through != nil {
		web, err = rest.HTTPClientFor(f.Through)
		return web, f.Through.Host, err
	}
	door, err := route.Find(ctx, hub, hub.Config)
	if err != nil {
		return nil, "", err
	}
	own, err := f.LoadKubeconfig()
	if err != nil {
		return nil, "", err
	}
	return door.Web(own)
}

// Ways returns how members are reached through the hub's door as whoever asks.
func (f *Factory) Ways(ctx context.Context, hub *Hub) (func(v1alpha1.ClusterName) (*rest.Config, error), error) {
	if f.Through != nil {
		return func(name v1alpha1.ClusterName) (*rest.Config, error) {
			return behind(f.Through, "/clusters/"+string(name)), nil
		}, nil
	}
	own, err := f.LoadKubeconfig()
	if err != nil {
		return nil, err
	}
	door, err := route.Find(ctx, hub, hub.Config)
	if err != nil {
		return nil, err
	}
	return func(name v1alpha1.ClusterName) (*rest.Config, error) {
		config, err := clientcmd.NewDefaultClientConfig(*door.Kubeconfig(own, name), nil).ClientConfig()
		if err != nil {
			return nil, fmt.Errorf("the way to cluster %q: %w", name, err)
		}
		config.UserAgent, config.QPS, config.WarningHandler = hub.Config.UserAgent, -1, hub.Config.WarningHandler
		return config, nil
	}, nil
}

// enter returns a client of the hub's own API behind its door.
func (f *Factory) enter() (*Hub, error) {
	config := behind(f.Through, "/hub")
	api, err := newClient(config)
	if err != nil {
		return nil, err
	}
	return &Hub{WithWatch: api, Config: config, namespace: f.Namespace}, nil
}

// behind is what is behind a door at a path.
func behind(door *rest.Config, path string) *rest.Config {
	config := rest.CopyConfig(door)
	config.Host += path
	return config
}
