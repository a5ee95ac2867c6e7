package hub

import (
	"context"
	"log/slog"
	"os"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
)

// The pulse is a Lease that says when the hub was alive last. Statuses are written when they change, not to say that
// they have not changed; so a reader holds them for true only while this one object, one write a few seconds whatever
// the number of members, is fresh.
const (
	pulseInterval = 5 * time.Second
	pulseExpiry   = 15 * time.Second
)

// pulse renews the Lease. It is a runnable of the manager.
type pulse struct {
	client client.Client
	log    *slog.Logger
	now    func() time.Time
}

func (p *pulse) Start(ctx context.Context) error {
	ticker := time.NewTicker(pulseInterval)
	defer ticker.Stop()
	for {
		if err := p.beat(ctx); err != nil && ctx.Err() == nil {
			p.log.Warn("renewing the hub's lease", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// last returns when a hub was alive here last, or the zero time when none ever was.
func (p *pulse) last(ctx context.Context) (time.Time, error) {
	lease := &coordinationv1.Lease{}
	err := p.client.Get(ctx, client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.HubLease}, lease)
	if err != nil || lease.Spec.RenewTime == nil {
		return time.Time{}, client.IgnoreNotFound(err)
	}
	return lease.Spec.RenewTime.Time, nil
}

func (p *pulse) beat(ctx context.Context) error {
	holder, err := os.Hostname()
	if err != nil {
		return err
	}
	seconds, now := int32(pulseExpiry/time.Second), metav1.NewMicroTime(p.now())
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.HubLease}}
	err = p.client.Get(ctx, client.ObjectKeyFromObject(lease), lease)
	lease.Spec = coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &seconds, RenewTime: &now}
	if apierrors.IsNotFound(err) {
		return p.client.Create(ctx, lease)
	}
	if err != nil {
		return err
	}
	return p.client.Update(ctx, lease)
}
