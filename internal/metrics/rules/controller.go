package rules

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/metrics/store"
)

// +kubebuilder:rbac:groups=monitoring.coreos.com,namespace=umbel-system,resources=prometheusrules,verbs=get;list;watch;create;update

// Broken is the series that is 1 for each object that does not parse.
const Broken = "umbel_rules_broken"

// kind is that of the objects.
var kind = schema.GroupVersionKind{Group: "monitoring.coreos.com", Version: "v1", Kind: "PrometheusRule"}

// Object returns an empty object of the kind.
func Object() *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(kind)
	return o
}

// List returns an empty list of the kind.
func List() *unstructured.UnstructuredList {
	l := &unstructured.UnstructuredList{}
	l.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
	return l
}

// Controller has objects evaluated.
type Controller struct {
	reader client.Reader
	events events.EventRecorder
	engine *Engine

	mu     sync.Mutex
	broken map[string]string // why, by the name of the object
}

// Setup adds the controller and the engine to a manager. The kind is in the API by then.
func Setup(mgr ctrl.Manager, engine *Engine) (*Controller, error) {
	// A cache of its own has the hub's namespace alone, which is all that the hub may read of the kind; the manager's was made before there was one.
	own, err := cache.New(mgr.GetConfig(), cache.Options{Scheme: mgr.GetScheme(), DefaultNamespaces: map[string]cache.Config{v1alpha1.SystemNamespace: {}}})
	if err != nil {
		return nil, fmt.Errorf("reading rules: %w", err)
	}
	if err := mgr.Add(onEach{own}); err != nil {
		return nil, err
	}
	c := &Controller{reader: own, events: mgr.GetEventRecorder("umbel-rules"), engine: engine, broken: map[string]string{}}
	err = ctrl.NewControllerManagedBy(mgr).Named("rules").
		WithOptions(controller.Options{NeedLeaderElection: new(false)}). // each replica evaluates
		WatchesRawSource(source.Kind(own, Object(), &handler.TypedEnqueueRequestForObject[*unstructured.Unstructured]{})).
		Complete(c)
	if err != nil {
		return nil, fmt.Errorf("setting up the controller of rules: %w", err)
	}
	return c, mgr.Add(engine)
}

// onEach runs a cache on each replica, which that of some namespaces does not ask for by itself.
type onEach struct{ cache.Cache }

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (onEach) NeedLeaderElection() bool { return false }

// Reconcile reads an object and has it evaluated.
func (c *Controller) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	object := Object()
	err := c.reader.Get(ctx, request.NamespacedName, object)
	if apierrors.IsNotFound(err) || err == nil && object.GetDeletionTimestamp() != nil {
		c.note(request.Name, "")
		return ctrl.Result{}, c.engine.Take(request.String(), nil)
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	spec, _, _ := unstructured.NestedMap(object.Object, "spec") // the kind requires one
	groups, err := Read(spec, c.engine.parser)
	if err != nil {
		if c.note(request.Name, err.Error()) {
			c.events.Eventf(object, nil, corev1.EventTypeWarning, "RulesBroken", "Read", "%s; what it said before goes on", err)
		}
		return ctrl.Result{}, nil
	}
	if c.note(request.Name, "") {
		c.events.Eventf(object, nil, corev1.EventTypeNormal, "RulesRead", "Read", "Read: its rules are evaluated again")
	}
	return ctrl.Result{}, c.engine.Take(request.String(), groups)
}

// note remembers why an object is broken, and says whether that is news.
func (c *Controller) note(name, why string) (news bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.broken[name]
	if why == "" {
		delete(c.broken, name)
	} else {
		c.broken[name] = why
	}
	return was != why
}

// Facts are the objects that are broken, as series.
func (c *Controller) Facts() (facts []store.Fact) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(c.broken)) {
		set := labels.FromStrings(model.MetricNameLabel, Broken, "namespace", v1alpha1.SystemNamespace, "prometheusrule", name)
		facts = append(facts, store.Fact{Labels: set, Value: 1})
	}
	return facts
}
