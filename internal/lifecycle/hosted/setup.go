package hosted

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	infra "umbel.dev/umbel/api/infrastructure/v1alpha1"
	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/lifecycle/local"
)

// Host is the computer that clusters are made on. All of it may be repeated, and is *local.BusyError when somebody else is at work
// on the cluster.
type Host interface {
	places
	planes
	machines
	snapshots
}

// atOnce is how many objects of a kind are worked on at a time: each starts a Kubernetes, or a node.
const atOnce = 4

// Needs are what NewManager needs.
type Needs struct {
	// Config is how the hub's API is reached.
	Config *rest.Config
	// Health is the address on which it is served whether the process is at work.
	Health string
	Host   Host
	// Versions are the Kubernetes that Host has, from the older to the newer.
	Versions []string
	// Machine is what a machine of Host holds.
	Machine local.Capacity
	Now     func() time.Time
	Log     *slog.Logger
}

// NewScheme knows the kinds that the provider works with.
func NewScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	return scheme, errors.Join(clientgoscheme.AddToScheme(scheme), infra.AddToScheme(scheme), v1alpha1.AddToScheme(scheme))
}

// NewManager returns a manager with the controllers of the provider.
func NewManager(needs Needs) (ctrl.Manager, error) {
	scheme, err := NewScheme()
	if err != nil {
		return nil, err
	}
	m, err := ctrl.NewManager(needs.Config, ctrl.Options{
		Scheme: scheme, Metrics: metricsserver.Options{BindAddress: "0"}, HealthProbeBindAddress: needs.Health, Logger: logr.FromSlogHandler(needs.Log.Handler()),
		Controller: config.Controller{UsePriorityQueue: new(false), SkipNameValidation: new(true), MaxConcurrentReconciles: atOnce},
		Client: client.Options{Cache: &client.CacheOptions{
			Unstructured: true, DisableFor: []client.Object{&corev1.Secret{}}, // it reads few, and there are many
		}},
	})
	if err != nil {
		return nil, fmt.Errorf("reaching the hub's API at %s: %w", needs.Config.Host, err)
	}
	if err := m.AddReadyzCheck("process", healthz.Ping); err != nil {
		return nil, err
	}
	frame := frame{client: m.GetClient(), live: m.GetAPIReader(), now: needs.Now}
	err = errors.Join(
		(&clusterController{frame: frame, host: needs.Host}).setup(m),
		(&planeController{frame: frame, host: needs.Host, kept: needs.Host, versions: needs.Versions, raised: newRaised(), tries: newTries()}).setup(m),
		(&backupController{frame: frame, host: needs.Host}).setup(m),
		(&bootstrapController{frame: frame}).setup(m),
		(&machineController{frame: frame, host: needs.Host, versions: needs.Versions, raised: newRaised()}).setup(m),
		m.Add(&class{client: m.GetClient(), versions: needs.Versions, machine: needs.Machine, host: needs.Host, looks: later, log: needs.Log}),
	)
	return m, err
}

// frame is what all controllers have in common.
type frame struct {
	client client.Client
	// live reads what is so now, which client may hear of later.
	live client.Reader
	now  func() time.Time
}

// watching begins a controller of a kind: it hears of its objects, and of what they belong to.
func (f frame) watching(m ctrl.Manager, name string, object client.Object, family ...schema.GroupVersionKind) *ctrl.Builder {
	list := object.GetObjectKind().GroupVersionKind().Kind
	b := ctrl.NewControllerManagedBy(m).Named(name).For(object).WithOptions(controller.Options{MaxConcurrentReconciles: atOnce})
	for _, kind := range family {
		b = b.Watches(newObject(kind), handler.EnqueueRequestsFromMapFunc(f.related(list, kind)))
	}
	return b
}

// related returns the objects of a kind of ours that a Cluster, or a Machine, concerns.
func (f frame) related(kind string, to schema.GroupVersionKind) handler.MapFunc {
	return func(ctx context.Context, changed client.Object) []reconcile.Request {
		made, err := f.client.Scheme().New(infra.GroupVersion.WithKind(kind + "List"))
		if err != nil {
			return nil // NewScheme has all of them
		}
		list := made.(client.ObjectList)
		name := changed.GetLabels()[clusterLabel]
		if to == clusterKind {
			name = changed.GetName()
		}
		if err := f.client.List(ctx, list, client.InNamespace(changed.GetNamespace()), client.MatchingLabels{clusterLabel: name}); err != nil {
			return nil // the cache is being stopped
		}
		var requests []reconcile.Request
		_ = meta.EachListItem(list, func(item runtime.Object) error { // it fails when this does
			if o := item.(client.Object); to != machineKind || owns(changed, o) {
				requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(o)})
			}
			return nil
		})
		return requests
	}
}

func owns(owner, object client.Object) bool {
	for _, ref := range object.GetOwnerReferences() {
		if ref.UID == owner.GetUID() {
			return true
		}
	}
	return false
}

// meet returns what an object, whose conditions these are, belongs to. One that is paused says so, and is left alone.
func (f frame) meet(ctx context.Context, object client.Object, conditions *[]metav1.Condition) (belongs family, alone bool, err error) {
	reader := client.Reader(f.client)
	if !object.GetDeletionTimestamp().IsZero() {
		reader = f.live // data go: a Cluster that was protected a moment ago is
	}
	belongs, err = familyOf(ctx, reader, object)
	if err != nil || !belongs.paused(object) {
		return belongs, false, err
	}
	before := object.DeepCopyObject().(client.Object)
	setPaused(conditions, object.GetGeneration())
	return belongs, true, f.say(ctx, before, object)
}

// keep adds the finalizer, so that nothing is made that nobody would end.
func (f frame) keep(ctx context.Context, object client.Object) error {
	before := object.DeepCopyObject().(client.Object)
	if !controllerutil.AddFinalizer(object, infra.Finalizer) {
		return nil
	}
	return f.client.Patch(ctx, object, client.MergeFrom(before))
}

// let lets an object go.
func (f frame) let(ctx context.Context, object client.Object) error {
	before := object.DeepCopyObject().(client.Object)
	if !controllerutil.RemoveFinalizer(object, infra.Finalizer) {
		return nil
	}
	return client.IgnoreNotFound(f.client.Patch(ctx, object, client.MergeFrom(before)))
}

// say writes the status of an object, if it is another than before.
func (f frame) say(ctx context.Context, before, after client.Object) error {
	if equality.Semantic.DeepEqual(before, after) {
		return nil
	}
	return client.IgnoreNotFound(f.client.Status().Patch(ctx, after, client.MergeFrom(before)))
}

// set sets a condition, and whether the object is left alone.
func set(conditions *[]metav1.Condition, kind string, c metav1.Condition, generation int64) {
	c.Type, c.ObservedGeneration = kind, generation
	meta.SetStatusCondition(conditions, c)
	meta.SetStatusCondition(conditions, metav1.Condition{
		Type: infra.ConditionPaused, Status: metav1.ConditionFalse, Reason: infra.ReasonNotPaused, ObservedGeneration: generation,
	})
}

// setPaused says that an object is left alone.
func setPaused(conditions *[]metav1.Condition, generation int64) {
	meta.SetStatusCondition(conditions, metav1.Condition{
		Type: infra.ConditionPaused, Status: metav1.ConditionTrue, Reason: infra.ReasonPaused, ObservedGeneration: generation,
		Message: "the Cluster is paused (spec.paused), or this object is (annotation " + pausedAnnotation + ")",
	})
}

// busy says whether somebody else is at work on the cluster just now.
func busy(err error) bool {
	_, ok := errors.AsType[*local.BusyError](err)
	return ok
}
