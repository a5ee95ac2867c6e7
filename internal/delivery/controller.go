package delivery

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/decide"
	"umbel.dev/umbel/internal/delivery/render"
	"umbel.dev/umbel/internal/delivery/source"
	"umbel.dev/umbel/internal/kube/conditions"
)

// +kubebuilder:rbac:groups=umbel.dev,resources=packages,verbs=get;list;watch;update;patch
// +kubebuilder:rbac:groups=umbel.dev,resources=packages/status,verbs=get;update;patch
// +kubebuilder:rbac:groups=umbel.dev,resources=releases,verbs=get;list;watch;create;delete
// +kubebuilder:rbac:groups=umbel.dev,resources=placements;memberclusters;rollouts,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Content is where rendered content is kept. *content.Store is one.
type Content interface {
	// Push stores a blob and returns its digest, with the blob on the disk. It may be repeated.
	Push(ctx context.Context, repository, mediaType string, blob []byte) (digest string, err error)
	// Has says whether the blob is there in that size.
	Has(ctx context.Context, repository, digest string, size int64) (bool, error)
	// Pull returns a blob of at most maxSize bytes, verified.
	Pull(ctx context.Context, repository, digest string, maxSize int64) ([]byte, error)
	// Delete lets go of a blob. It may be repeated, and what is not there is no error.
	Delete(ctx context.Context, repository, digest string) error
}

// Needs is what the controller needs.
type Needs struct {
	// Dir is where what is fetched from sources has its folders, one for each kind: git and so on.
	Dir string
	// LocalSources are the folders of this machine's disk in which file:// repositories may be read.
	LocalSources []string
	// Content is where rendered content goes.
	Content Content
	// Renders keeps what was rendered. The default is a cache that renders in this process.
	Renders *render.Cache
	// Elected is closed once this replica of the hub leads; until then it follows what the leader decides. The default
	// is a hub that is one process.
	Elected <-chan struct{}
	// Sealer signs Releases. Without one they are not signed, and agents that have never seen one that is take them.
	Sealer Sealer
	// Log gets what happens in the background.
	Log *slog.Logger
	// Now is the clock. The default is time.Now.
	Now func() time.Time
}

// Controller delivers Packages.
type Controller struct {
	client  client.Client
	live    client.Reader // past the cache, where the cache may lag behind what this process wrote
	events  events.EventRecorder
	content Content
	fetcher *source.Fetcher
	renders *render.Cache
	// renderings are those under way.
	renderings *renderings
	desired    *Desired
	sealer     Sealer
	beliefs    beliefs
	log        *slog.Logger
	now        func() time.Time
	started    time.Time
	queue      queueRef

	mu    sync.Mutex
	memos map[v1alpha1.PackageKey]*memo
}

// memo is what this process remembers of a Package. All of it can be lost: then a source is fetched, a commit is
// rendered, or content is looked for once more, and comes out the same.
type memo struct {
	uid       types.UID // of the Package; another one of the same name starts anew
	visited   bool
	refresh   string            // the value of the refresh annotation that was seen last
	notOlder  time.Time         // when that was: no older fetch will do
	release   *v1alpha1.Release // the last one that was created here, until the cache has it
	verified  string            // the Release whose content was found in the registry
	tried     attempt           // what was rendered last and made no new Release
	rendering *rendering        // under way, or ended and not looked at yet
	late      bool              // the last one was of an older commit
	unread    error             // why the last one could not read its source
	unplanned *v1alpha1.Release // what was rendered last, and waits for a Plan
	files     map[string]string // variable of the current Release -> a file that refers to it
	retired   string            // the Release after which old ones were dropped
	fed       fed               // what the last rendering read
	valued    valued            // how a chart is rendered
	keyring   keyring           // who may sign
	forged    types.UID         // the Release that was told of last as not being this hub's

	platforms int64 // the generation for which the API said whose the Package is, and not the cache
}

// visit is one pass over a Package. Steps read and fill it in their order.
type visit struct {
	key  v1alpha1.PackageKey
	pkg  *v1alpha1.Package
	memo *memo

	seen         decide.Seen
	team         decide.Team
	members      []decide.Member
	dependencies []decide.Dependency
	rollout      *v1alpha1.Rollout // the newest that has begun, of a Package with a strategy
	sights       []decide.Seen     // what clusters are told, and what the rollout is to tell them
	unasked      bool              // this process has not asked the source yet
	commit       string            // what the source points at; empty when that is not known, or not to be used
	head         source.Revision
	signed       *v1alpha1.Verified      // the head, where it has to be and is
	forged       error                   // why a Release is not what this hub made
	gives        bool                    // the current Release is what the head gives
	fetched      time.Time               // when that was found out
	pins         []v1alpha1.ReleasedBase // what the remote bases point at, where commit is known
	inputs       string                  // what the variants say, as Inputs gives it

	valuesUnknown bool // those of a chart: it is not rendered
	renders       bool // it is being rendered, or waits for that

	conditions []metav1.Condition // what this pass found, one of each type
	requeue    time.Duration
	tell       []news
}

// news becomes an event once the status is written.
type news struct{ kind, reason, action, note string }

// set notes a condition. The last one of a type counts, so that a status never flaps within a pass.
func (v *visit) set(condition metav1.Condition) {
	condition.ObservedGeneration = v.pkg.Generation
	meta.SetStatusCondition(&v.conditions, condition)
}

// again asks for another pass after some time; the earliest wish counts.
func (v *visit) again(after time.Duration) {
	after = max(after, 100*time.Millisecond)
	if v.requeue == 0 || after < v.requeue {
		v.requeue = after
	}
}

func (v *visit) happened(kind, reason, action, format string, args ...any) {
	v.tell = append(v.tell, news{kind: kind, reason: reason, action: action, note: fmt.Sprintf(format, args...)})
}

// Reconcile makes one pass over a Package.
func (c *Controller) Reconcile(ctx context.Context, req ctrl.Request) (result ctrl.Result, err error) {
	key := v1alpha1.KeyOf(req.Namespace, req.Name)
	var pkg v1alpha1.Package
	if err := c.client.Get(ctx, req.NamespacedName, &pkg); err != nil {
		c.renderings.pass(key)
		if apierrors.IsNotFound(err) {
			c.forget(key)
			return ctrl.Result{}, nil
		}
		c.desired.giveUp(key)
		return ctrl.Result{}, fmt.Errorf("reading package %s: %w", key, err)
	}
	v := &visit{key: key, pkg: &pkg, memo: c.memo(key, pkg.UID)}
	before := pkg.Status.DeepCopy()
	defer func() {
		if !v.renders {
			c.renderings.pass(key)
		}
		if failed := c.conclude(ctx, v, before); failed != nil {
			result, err = ctrl.Result{}, failed
		}
	}()
	for _, step := range c.steps(&pkg) {
		if err := step(ctx, v); err != nil {
			c.desired.giveUp(key)
			if apierrors.IsConflict(err) {
				return ctrl.Result{}, nil // the newer version is on its way through the watch
			}
			return ctrl.Result{}, err
		}
	}
	return ctrl.Result{RequeueAfter: v.requeue}, nil
}

// steps of a pass, in their order.
func (c *Controller) steps(pkg *v1alpha1.Package) []func(context.Context, *visit) error {
	if !pkg.DeletionTimestamp.IsZero() {
		return []func(context.Context, *visit) error{c.observe, c.publish, c.count, c.wait}
	}
	return []func(context.Context, *visit) error{
		c.hold, c.observe, c.stage, c.seal, c.observeWaits, c.publish, c.fetch, c.verify, c.values, c.render, c.sign,
		c.stage, c.observeWaits, c.publish, c.tellDependencies, c.tellPlans, c.tellAgents, c.count, c.retire,
	}
}

// hold puts our finalizer on the Package, so that members let go before it does.
func (c *Controller) hold(ctx context.Context, v *visit) error {
	if controllerutil.ContainsFinalizer(v.pkg, v1alpha1.Finalizer) {
		return nil
	}
	status := v.pkg.Status.DeepCopy()
	base := client.MergeFromWithOptions(v.pkg.DeepCopy(), client.MergeFromWithOptimisticLock{})
	controllerutil.AddFinalizer(v.pkg, v1alpha1.Finalizer)
	if err := c.client.Patch(ctx, v.pkg, base); err != nil {
		return fmt.Errorf("putting the finalizer on package %s: %w", v.key, err)
	}
	v.pkg.Status = *status
	return nil
}

// publish tells the gateway's side what is known, and what of it is in doubt.
func (c *Controller) publish(_ context.Context, v *visit) error {
	v.seen.Doubt = decide.DoubtOf(v.pkg)
	v.seen.Withheld = decide.Withhold(v.seen, v.members, v.pkg.Spec.Deletes)
	c.desired.publish(v.key, v.seen)
	return nil
}

// count sums up how far the clusters are.
func (c *Controller) count(_ context.Context, v *visit) error {
	tally := decide.Count(v.seen, v.members, v.pkg.Status.Clusters)
	v.pkg.Status.Clusters = tally.Counts
	v.pkg.Status.Changes = decide.Expect(v.seen.Release, v.pkg.Spec.Deletes)
	delivered := decide.Delivered(v.seen, tally)
	if v.forged != nil && (v.seen.Release == nil || v.seen.Staged != nil) {
		delivered.Status, delivered.Reason, delivered.Message = metav1.ConditionFalse, v1alpha1.ReasonNotSealed, v.forged.Error()
	}
	v.set(delivered)
	if contested, ok := decide.Contested(v.members, v.pkg.Status.Conditions); ok {
		v.set(contested)
	}
	return nil
}

// conclude is the one write of the status, when it differs, and the events that go with it.
func (c *Controller) conclude(ctx context.Context, v *visit, before *v1alpha1.PackageStatus) error {
	status := &v.pkg.Status
	for _, found := range v.conditions {
		was := meta.FindStatusCondition(before.Conditions, found.Type)
		found.LastTransitionTime = metav1.Time{}
		meta.SetStatusCondition(&status.Conditions, found)
		v.tellOf(was, found)
	}
	status.ObservedGeneration = v.pkg.Generation
	conditions.DeriveReady(&status.Conditions, v.pkg.Generation, readyBy(&v.pkg.Spec)...)
	if !equality.Semantic.DeepEqual(before, status) {
		err := c.client.Status().Update(ctx, v.pkg)
		if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
			return nil // the newer version, or that it is gone, is on its way through the watch
		}
		if err != nil {
			return fmt.Errorf("writing the status of package %s: %w", v.key, err)
		}
	}
	for _, e := range v.tell {
		c.events.Eventf(v.pkg, nil, e.kind, e.reason, e.action, "%s", e.note)
	}
	return nil
}

// tellOf makes an event of a condition that turned bad, or of a delivery that was completed.
func (v *visit) tellOf(was *metav1.Condition, now metav1.Condition) {
	same := was != nil && was.Status == now.Status && was.Reason == now.Reason
	switch {
	case now.Type == v1alpha1.ConditionContested && now.Status == metav1.ConditionTrue && !same:
		v.happened(corev1.EventTypeWarning, now.Reason, "Deliver", "%s", now.Message)
	case now.Type == v1alpha1.ConditionFetched || now.Type == v1alpha1.ConditionRendered:
		if now.Status == metav1.ConditionFalse && (!same || was.Message != now.Message) {
			v.happened(corev1.EventTypeWarning, now.Reason, "Render", "%s", now.Message)
		}
	case now.Type == v1alpha1.ConditionDelivered && !same:
		if now.Reason == v1alpha1.ReasonDelivered {
			v.happened(corev1.EventTypeNormal, now.Reason, "Deliver", "Delivered %s", now.Message)
		}
		if now.Reason == v1alpha1.ReasonClustersFailing {
			v.happened(corev1.EventTypeWarning, now.Reason, "Deliver", "%s", now.Message)
		}
	}
}

func (c *Controller) memo(key v1alpha1.PackageKey, uid types.UID) *memo {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.memos[key] == nil || c.memos[key].uid != uid {
		c.memos[key] = &memo{uid: uid, notOlder: c.started}
	}
	return c.memos[key]
}

func (c *Controller) forget(key v1alpha1.PackageKey) {
	c.desired.forget(key)
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.memos, key)
}
