package replicas

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/identity"
)

const (
	// DefaultInterval is how often a replica renews its Lease.
	DefaultInterval = 2 * time.Second
	// missed is how many intervals without news make a Lease lapse.
	missed = 4
	// leasePrefix begins the name of a replica's Lease.
	leasePrefix = "umbel-replica-"
	// farewellTimeout is how long an ending replica tries to say so.
	farewellTimeout = 3 * time.Second
)

// Config is what a replica needs to know the others. All fields but Interval are required.
type Config struct {
	// Name of this replica, a DNS label. It should be the same after a restart, such as a pod of a StatefulSet has it.
	Name string
	// Address is where the other replicas reach this one's gateway, as HOST:PORT.
	Address string
	// Client must not read from a cache; Cache has the Leases with v1alpha1.ReplicaLabel.
	Client client.Client
	Cache  cache.Cache
	// Elected is closed once this replica leads.
	Elected <-chan struct{}
	// Interval is DefaultInterval unless set.
	Interval time.Duration
	Now      func() time.Time
	Log      *slog.Logger
}

// Replicas is one replica's view of all. It is safe for concurrent use.
type Replicas struct {
	Config
	started     time.Time
	key         *ecdsa.PrivateKey
	fingerprint string // of key

	mu     sync.Mutex
	others map[string]*other
	// changed are told which replica lapsed or came back.
	changed func(replica string)
	renewed time.Time // when this replica's own Lease was written last
}

// other is what is known of another replica.
type other struct {
	address string
	key     string    // the fingerprint of the one with which it dials
	renewal string    // what the Lease said last
	heard   time.Time // when it said so, by this replica's clock
	lapsed  bool
}

// New returns a view that knows nobody yet.
func New(config Config) (*Replicas, error) {
	if problems := validation.IsDNS1123Label(config.Name); len(problems) > 0 {
		return nil, fmt.Errorf("the replica's name %q: %s", config.Name, problems[0])
	}
	if config.Interval == 0 {
		config.Interval = DefaultInterval
	}
	key, err := identity.NewKey()
	if err != nil {
		return nil, err
	}
	fingerprint, err := identity.KeyFingerprint(key.Public())
	if err != nil {
		return nil, err
	}
	return &Replicas{Config: config, started: config.Now(), key: key, fingerprint: fingerprint, others: map[string]*other{}}, nil
}

// Key is the key with which this replica dials the others. It is made anew with each start and never leaves the process.
func (r *Replicas) Key() *ecdsa.PrivateKey { return r.key }

// Has says whether a replica is alive and its Lease names the key, by its fingerprint. Who can issue certificates of the hub,
// but not write Leases of the hub's, is no replica by that.
func (r *Replicas) Has(name, fingerprint string) bool {
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	o := r.others[name]
	return o != nil && !o.lapsed && o.key != "" && o.key == fingerprint
}

// Self is the name of this replica; empty on a hub that is one process.
func (r *Replicas) Self() string {
	if r == nil {
		return ""
	}
	return r.Name
}

// Leads says whether this replica looks after what no other does.
func (r *Replicas) Leads() bool {
	if r == nil {
		return true
	}
	select {
	case <-r.Elected:
		return true
	default:
		return false
	}
}

// Lapsed says since when a replica has not been heard of, and whether that is so long that it counts as gone. Of one
// that was never heard of it is the time when this one began.
func (r *Replicas) Lapsed(name string) (since time.Time, gone bool) {
	if r == nil {
		return time.Time{}, true
	}
	if name == r.Name {
		return time.Time{}, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	since = r.started
	o := r.others[name]
	if o != nil {
		since, gone = o.heard, o.lapsed
	}
	return since, gone || r.Now().Sub(since) >= missed*r.Interval
}

// Address returns where another replica's gateway is reached, unless it is gone.
func (r *Replicas) Address(name string) (address string, alive bool) {
	if r == nil {
		return "", false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	o := r.others[name]
	if o == nil || o.lapsed {
		return "", false
	}
	return o.address, true
}

// Others returns the replicas that are alive, with their addresses.
func (r *Replicas) Others() map[string]string {
	alive := map[string]string{}
	if r == nil {
		return alive
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, o := range r.others {
		if !o.lapsed {
			alive[name] = o.address
		}
	}
	return alive
}

// Alive names those that Others returns.
func (r *Replicas) Alive() []string { return slices.Collect(maps.Keys(r.Others())) }

// Current says whether this replica's own Lease is valid: one that cannot write it should get no new agents.
func (r *Replicas) Current() bool {
	if r == nil {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.Now().Sub(r.renewed) < missed*r.Interval
}

// OnChange has told called with the name of each replica that lapses or comes back. It must not block. It is set before
// Start.
func (r *Replicas) OnChange(told func(replica string)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changed = told
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: every replica says that it is alive.
func (r *Replicas) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable: it renews this replica's Lease and follows the others until ctx ends, and says then
// that this one is gone.
func (r *Replicas) Start(ctx context.Context) error {
	informer, err := r.Cache.GetInformer(ctx, &coordinationv1.Lease{})
	if err != nil {
		return fmt.Errorf("watching the hub's replicas: %w", err)
	}
	registration, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: func(now any) { r.observe(now) }, UpdateFunc: func(_, now any) { r.observe(now) }, DeleteFunc: r.lose,
	})
	if err != nil {
		return fmt.Errorf("watching the hub's replicas: %w", err)
	}
	defer informer.RemoveEventHandler(registration) //nolint:errcheck // it ends with the cache at the latest
	tick := time.NewTicker(r.Interval)
	defer tick.Stop()
	for {
		if err := r.renew(ctx); err != nil && ctx.Err() == nil {
			r.Log.Warn("this replica could not say that it is alive", "replica", r.Name, "error", err)
		}
		r.judge()
		select {
		case <-ctx.Done():
			return r.farewell(context.WithoutCancel(ctx))
		case <-tick.C:
		}
	}
}

func (r *Replicas) lease() *coordinationv1.Lease {
	return &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: leasePrefix + r.Name}}
}

// renew writes this replica's Lease.
func (r *Replicas) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, missed*r.Interval/2)
	defer cancel()
	now, seconds := metav1.NewMicroTime(r.Now()), int32(max(1, missed*r.Interval/time.Second))
	lease := r.lease()
	err := r.Client.Get(ctx, client.ObjectKeyFromObject(lease), lease)
	if client.IgnoreNotFound(err) != nil {
		return err
	}
	lease.Labels = map[string]string{v1alpha1.ReplicaLabel: r.Name}
	lease.Annotations = map[string]string{v1alpha1.ReplicaAddress: r.Config.Address, v1alpha1.ReplicaKey: r.fingerprint}
	lease.Spec = coordinationv1.LeaseSpec{HolderIdentity: &r.Name, LeaseDurationSeconds: &seconds, RenewTime: &now}
	if apierrors.IsNotFound(err) {
		err = r.Client.Create(ctx, lease)
	} else {
		err = r.Client.Update(ctx, lease)
	}
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.renewed = r.Now()
	return nil
}

// farewell deletes this replica's Lease, so that nobody waits for it.
func (r *Replicas) farewell(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, farewellTimeout)
	defer cancel()
	if err := r.Client.Delete(ctx, r.lease()); client.IgnoreNotFound(err) != nil && !errors.Is(err, context.DeadlineExceeded) {
		r.Log.Warn("this replica could not say that it ends", "replica", r.Name, "error", err)
	}
	return nil
}

// observe notes what a Lease says now.
func (r *Replicas) observe(now any) {
	lease, ok := now.(*coordinationv1.Lease)
	if !ok {
		return
	}
	name := lease.Labels[v1alpha1.ReplicaLabel]
	if name == "" || name == r.Name {
		return
	}
	renewal := lease.Spec.RenewTime.String()
	r.mu.Lock()
	o := r.others[name]
	if o == nil {
		o = &other{lapsed: true}
		r.others[name] = o
	}
	back := false
	o.address, o.key = lease.Annotations[v1alpha1.ReplicaAddress], lease.Annotations[v1alpha1.ReplicaKey]
	if o.renewal != renewal {
		back, o.lapsed = o.lapsed, false
		o.renewal, o.heard = renewal, r.Now()
	}
	tell := r.changed
	r.mu.Unlock()
	if back && tell != nil {
		tell(name)
	}
}

// lose notes that a replica said that it is gone.
func (r *Replicas) lose(last any) {
	if unknown, ok := last.(toolscache.DeletedFinalStateUnknown); ok {
		last = unknown.Obj
	}
	lease, ok := last.(*coordinationv1.Lease)
	if !ok {
		return
	}
	r.lapse(func(name string, _ *other) bool { return name == lease.Labels[v1alpha1.ReplicaLabel] })
}

// judge notes who has not been heard of for too long.
func (r *Replicas) judge() {
	r.lapse(func(_ string, o *other) bool { return r.Now().Sub(o.heard) >= missed*r.Interval })
}

func (r *Replicas) lapse(gone func(string, *other) bool) {
	r.mu.Lock()
	var lapsed []string
	for name, o := range r.others {
		if !o.lapsed && gone(name, o) {
			o.lapsed = true
			lapsed = append(lapsed, name)
		}
	}
	tell := r.changed
	r.mu.Unlock()
	for _, name := range lapsed {
		r.Log.Warn("a replica of the hub is gone", "replica", name)
		if tell != nil {
			tell(name)
		}
	}
}
