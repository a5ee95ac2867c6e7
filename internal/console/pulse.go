package console

import (
	"context"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/view"
)

// pulseFor is how long the hub's sign of life is not read again, however many people look.
const pulseFor = 2 * time.Second

// pulse is the hub's last sign of life, as it was read last.
type pulse struct {
	mu   sync.Mutex
	last view.Pulse
	read time.Time
}

// moment is now, and what is known of the hub: of one that has replicas this process being alive says nothing of the leader.
func (c *Console) moment(ctx context.Context) view.Moment {
	now := c.Now()
	c.pulse.mu.Lock()
	defer c.pulse.mu.Unlock()
	if now.Sub(c.pulse.read) >= pulseFor {
		var lease coordinationv1.Lease
		err := c.live.Get(ctx, client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.HubLease}, &lease)
		switch {
		case err == nil:
			c.pulse.last = view.PulseOf(&lease)
		case apierrors.IsNotFound(err):
			c.pulse.last = view.Pulse{}
		default:
			c.pulse.last.Problem = err.Error()
		}
		c.pulse.read = now
	}
	return view.Moment{Now: now, Pulse: c.pulse.last}
}
