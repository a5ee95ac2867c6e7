package client

import (
	"context"
	"net/http"

	"umbel.dev/umbel/internal/cli/route"
)

// Door returns how the hub's door is asked as whoever asks, and its URL, without a path.
func (f *Factory) Door(ctx context.Context, hub *Hub) (web *http.Client, url string, err error) {
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
