package about

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/tunnel"
)

// reportGap is the least time between two reports of properties: there are controllers that count pods in one.
const reportGap = 10 * time.Second

// Needs are what a Keeper needs.
type Needs struct {
	// Config reaches the member's API server.
	Config *rest.Config
	// Cluster is the member's name.
	Cluster v1alpha1.ClusterName
	// Observes has nothing written: what stands in the cluster is told, with what the agent would have written itself.
	Observes bool
	Log      *slog.Logger
}

// Keeper keeps the properties of a member. It implements session.Properties.
type Keeper struct {
	Needs
	api     *api
	changed chan struct{} // holds a token when told may differ
	wake    chan struct{} // holds a token when there may be something to write

	acting sync.Mutex // held while something is written

	mu   sync.Mutex
	set  string   // the name of the fleet
	to   []string // what to encrypt for
	ends string   // when the first certificate ends, and whose
	left bool     // Remove was called
	told *wire.ClusterProperties
}

// New returns a Keeper. It does nothing yet.
func New(needs Needs) (*Keeper, error) {
	config := rest.CopyConfig(needs.Config)
	config.QPS = -1
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("preparing the client for ClusterProperties: %w", err)
	}
	return &Keeper{
		Needs: needs, api: &api{client: client}, changed: make(chan struct{}, 1), wake: make(chan struct{}, 1),
	}, nil
}

// Belongs tells the name of the fleet, as its hub says it; empty when it does not say.
func (k *Keeper) Belongs(set string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if set == "" || set == k.set {
		return
	}
	k.set = set
	poke(k.wake)
}

// Encrypt tells what to encrypt for, so that the cluster can open it.
func (k *Keeper) Encrypt(to []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.to = to
	poke(k.wake)
}

// Ends tells when the first certificate ends by which the cluster is reached, and whose it is.
func (k *Keeper) Ends(until time.Time, of string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ends = until.UTC().Format(time.RFC3339) + " " + of
	poke(k.wake)
}

// Changed implements session.Properties.
func (k *Keeper) Changed() <-chan struct{} { return k.changed }

// Read implements session.Properties.
func (k *Keeper) Read() *wire.ClusterProperties {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.told
}

// Run keeps the properties until ctx ends, when it returns nil.
func (k *Keeper) Run(ctx context.Context) error {
	backoff := tunnel.Backoff{Min: time.Second, Max: 5 * time.Minute}
	for {
		began := time.Now()
		err := k.follow(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(began) > time.Minute {
			backoff.Reset()
		}
		wait := backoff.Next()
		k.Log.Warn("the cluster's properties (about.k8s.io) are not kept", "error", err, "retryIn", wait.Round(time.Millisecond))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// errKindGone: somebody deleted the kind while it was watched.
var errKindGone = errors.New("the kind ClusterProperty is gone")

// follow makes sure that there is the kind, watches its objects, and settles whenever they change, until something fails.
func (k *Keeper) follow(ctx context.Context) error {
	properties, err := k.kind(ctx)
	if err != nil {
		return err
	}
	if properties == nil {
		return k.loop(ctx, nil, toolscache.NewStore(toolscache.MetaNamespaceKeyFunc))
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	informer := toolscache.NewSharedIndexInformer(listWatch(properties), &unstructured.Unstructured{}, 0, nil)
	err = errors.Join(
		informer.SetTransform(withoutManagedFields),
		informer.SetWatchErrorHandlerWithContext(func(ctx context.Context, r *toolscache.Reflector, err error) {
			if apierrors.IsNotFound(err) {
				cancel(errKindGone)
				return
			}
			k.Log.Debug("watching ClusterProperties", "error", err)
		}),
	)
	if err != nil {
		return err
	}
	news := func() { poke(k.wake) }
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { news() }, UpdateFunc: func(any, any) { news() }, DeleteFunc: func(any) { news() },
	})
	if err != nil {
		return err
	}
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel(nil)
	watching.Go(func() { informer.RunWithContext(ctx) })
	if !toolscache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return context.Cause(ctx)
	}
	news()
	return k.loop(ctx, properties, informer.GetStore())
}

// kind returns the kind, and installs it first where there is none and the cluster may be written to; else it is nil then.
func (k *Keeper) kind(ctx context.Context) (*kind, error) {
	if k.Observes {
		return k.api.served(ctx)
	}
	return k.api.ensureKind(ctx)
}

// loop settles when it is woken, until ctx ends or a write fails.
func (k *Keeper) loop(ctx context.Context, properties *kind, store toolscache.Store) error {
	last := time.Time{} // when the report changed last
	var later <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-k.wake:
			if err := k.settle(ctx, properties, store); err != nil {
				return err
			}
		case <-later:
			later = nil
		}
		if wait := reportGap - time.Since(last); wait > 0 && !last.IsZero() {
			if later == nil && k.differs(store) {
				later = time.After(wait)
			}
			continue
		}
		if k.report(store) {
			last = time.Now()
		}
	}
}

// settle writes what Plan says. Of writes that fail because the watch is behind, the event is on its way.
func (k *Keeper) settle(ctx context.Context, properties *kind, store toolscache.Store) error {
	k.acting.Lock()
	defer k.acting.Unlock()
	k.mu.Lock()
	set, to, ends, left := k.set, k.to, k.ends, k.left
	k.mu.Unlock()
	if left {
		return nil
	}
	if k.Observes {
		return nil
	}
	for _, write := range Plan(k.Cluster, set, to, ends, propertiesIn(store)) {
		err := put(ctx, properties, store, write)
		if err != nil && !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("writing ClusterProperty %s: %w", write.Name, err)
		}
	}
	return nil
}

// differs says whether there is something to report.
func (k *Keeper) differs(store toolscache.Store) bool {
	return !proto.Equal(Report(k.there(store)), k.Read())
}

// there is what the hub is to know: what stands in the cluster, and, where nothing is written there, what would.
func (k *Keeper) there(store toolscache.Store) []Property {
	there := propertiesIn(store)
	if !k.Observes {
		return there
	}
	k.mu.Lock()
	set, ends := k.set, k.ends
	k.mu.Unlock()
	return Would(there, Plan(k.Cluster, set, nil, ends, there))
}

// report takes note of what the hub is to know, and says whether that changed.
func (k *Keeper) report(store toolscache.Store) bool {
	now := Report(k.there(store))
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.told != nil && proto.Equal(k.told, now) {
		return false
	}
	k.told = now
	poke(k.changed)
	return true
}

// Remove ends the writing and deletes what is ours. It is idempotent.
func (k *Keeper) Remove(ctx context.Context) error {
	k.acting.Lock()
	defer k.acting.Unlock()
	k.mu.Lock()
	k.left = true
	k.mu.Unlock()
	if k.Observes {
		return nil
	}
	if err := k.api.remove(ctx); err != nil {
		return fmt.Errorf("deleting the cluster's properties of the fleet that it leaves: %w", err)
	}
	return nil
}

func poke(channel chan struct{}) {
	select {
	case channel <- struct{}{}:
	default:
	}
}
