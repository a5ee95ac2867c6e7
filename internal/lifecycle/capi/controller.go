package capi

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/kube/process"
)

// +kubebuilder:rbac:groups=umbel.dev,resources=providers,verbs=get;list;watch;create;update;patch
// +kubebuilder:rbac:groups=umbel.dev,resources=providers/status,verbs=get;update;patch
// +kubebuilder:rbac:groups=umbel.dev,resources=providers/finalizers,verbs=update

const (
	fieldManager = "umbel-hub"
	// soon is when a process that does not serve yet is looked at again, and later one that does.
	soon, later = time.Second, 10 * time.Second
)

// Needs are what Setup needs.
type Needs struct {
	// Dir is the folder of all providers' folders, and Programs the one of the hub's own programs.
	Dir, Programs string
	// Config is how the hub reaches its API.
	Config *rest.Config
	// Beside are processes that Cluster API needs beside itself: a Kubernetes has them, an API that the hub brought has not.
	Beside []process.Process
	// Own are providers that the hub brings itself, by the names of their Providers.
	Own map[string]Own
	Log *slog.Logger
}

// Own is a provider that the hub brings itself: nobody has to add its files.
type Own struct {
	// Program is started with Args, and with --kubeconfig and --health-addr.
	Program string
	Args    []string
	// Components are its kinds.
	Components []byte
	// Shipped are objects of Cluster API that its program makes in the hub's namespace, with its label. They go with it.
	Shipped []schema.GroupVersionKind
}

// Controller runs what Providers ask for.
type Controller struct {
	Needs
	client    client.Client
	live      client.Reader // past every cache
	processes *processes
}

// Setup adds the controller of Providers to the hub's manager.
func Setup(mgr ctrl.Manager, needs Needs) error {
	c := &Controller{Needs: needs, client: mgr.GetClient(), live: mgr.GetAPIReader(), processes: newProcesses()}
	if err := mgr.Add(c.processes); err != nil {
		return err
	}
	err := ctrl.NewControllerManagedBy(mgr).
		Named("provider").
		For(&v1alpha1.Provider{}).
		Watches(&v1alpha1.Provider{}, handler.EnqueueRequestsFromMapFunc(c.others)).
		Complete(c)
	if err != nil {
		return fmt.Errorf("setting up the controller of Providers: %w", err)
	}
	return nil
}

// others returns whom a change of a Provider concerns beside itself: the others wait for the core, which waits for their end.
func (c *Controller) others(ctx context.Context, changed client.Object) []reconcile.Request {
	if changed.GetName() != v1alpha1.CoreProvider {
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: v1alpha1.CoreProvider}}}
	}
	var all v1alpha1.ProviderList
	if err := c.client.List(ctx, &all); err != nil {
		return nil // the cache is being stopped
	}
	var requests []reconcile.Request
	for _, other := range all.Items {
		requests = append(requests, reconcile.Request{NamespacedName: types.NamespacedName{Name: other.Name}})
	}
	return requests
}

// Reconcile has a provider run, or end.
func (c *Controller) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var provider v1alpha1.Provider
	if err := c.client.Get(ctx, req.NamespacedName, &provider); err != nil {
		if apierrors.IsNotFound(err) {
			c.processes.end(req.Name)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !provider.DeletionTimestamp.IsZero() {
		return c.remove(ctx, &provider)
	}
	before := provider.DeepCopy()
	if controllerutil.AddFinalizer(&provider, v1alpha1.ProviderFinalizer) {
		if err := c.client.Patch(ctx, &provider, client.MergeFrom(before)); err != nil {
			return ctrl.Result{}, client.IgnoreNotFound(err)
		}
	}
	ready, after, err := c.run(ctx, &provider)
	if err != nil {
		ready, after = metav1.Condition{Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonNotStarted, Message: err.Error()}, later
	}
	return ctrl.Result{RequeueAfter: after}, c.say(ctx, &provider, ready)
}

// say writes what is known of a provider.
func (c *Controller) say(ctx context.Context, provider *v1alpha1.Provider, ready metav1.Condition) error {
	before := provider.DeepCopy()
	ready.Type, ready.ObservedGeneration = v1alpha1.ConditionReady, provider.Generation
	meta.SetStatusCondition(&provider.Status.Conditions, ready)
	provider.Status.ObservedGeneration = provider.Generation
	if equality.Semantic.DeepEqual(before.Status, provider.Status) {
		return nil
	}
	return client.IgnoreNotFound(c.client.Status().Patch(ctx, provider, client.MergeFrom(before)))
}

// run has the process of a provider run, and returns what is to be said of it, and when to look again.
func (c *Controller) run(ctx context.Context, provider *v1alpha1.Provider) (metav1.Condition, time.Duration, error) {
	if running := c.processes.of(provider.Name); running != nil && !running.keys.outdated() && equality.Semantic.DeepEqual(running.spec, provider.Spec) { // a deletion is a new generation, and no other spec
		ready, anew := condition(running.look())
		if anew {
			c.processes.end(provider.Name)
		}
		if ready.Status == metav1.ConditionTrue {
			return ready, later, nil
		}
		return ready, soon, nil
	}
	c.processes.end(provider.Name)
	if provider.Name != v1alpha1.CoreProvider {
		waits, err := c.awaitCore(ctx)
		if err != nil || waits != "" {
			return metav1.Condition{Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonWaitingForCore, Message: waits}, later, err
		}
	}
	return c.begin(ctx, provider)
}

// awaitCore makes the Provider of Cluster API itself unless it is there, and says what is waited for before another is begun.
// What this hub runs counts, and not what the status says: that may be an earlier hub's, or say that the core is to go.
func (c *Controller) awaitCore(ctx context.Context) (string, error) {
	core := &v1alpha1.Provider{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.CoreProvider}}
	err := c.client.Get(ctx, client.ObjectKeyFromObject(core), core)
	if apierrors.IsNotFound(err) {
		err = c.client.Create(ctx, core)
		if apierrors.IsAlreadyExists(err) {
			err = nil
		}
	}
	if err != nil {
		return "", fmt.Errorf("having Cluster API itself run (Provider %s): %w", v1alpha1.CoreProvider, err)
	}
	if running := c.processes.of(v1alpha1.CoreProvider); running != nil && running.look().ready {
		return "", nil
	}
	ready := meta.FindStatusCondition(core.Status.Conditions, v1alpha1.ConditionReady)
	switch {
	case ready == nil || ready.Reason == v1alpha1.ReasonServing: // by an earlier hub
		return "Cluster API itself is being started: `umbel provider list` shows " + v1alpha1.CoreProvider, nil
	case ready.Reason == v1alpha1.ReasonForeign:
		return "", nil
	default:
		return "Cluster API itself is not ready: " + ready.Message, nil
	}
}

// begin brings what a provider is made of into the API, and starts its program.
func (c *Controller) begin(ctx context.Context, provider *v1alpha1.Provider) (ready metav1.Condition, after time.Duration, err error) {
	kinds := []string{clusterKind} // of Cluster API itself nothing else is needed to see whose it is
	var manifests []*unstructured.Unstructured
	if provider.Name != v1alpha1.CoreProvider {
		if manifests, err = c.manifests(ctx, provider.Name, provider.Spec); err != nil {
			return ready, 0, err
		}
		kinds = names(manifests)
	}
	there, err := c.there(ctx, kinds)
	if err != nil {
		return ready, 0, err
	}
	if name := foreign(provider.Name, there); name != "" {
		return metav1.Condition{
			Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonForeign,
			Message: fmt.Sprintf("%s was in this API before: the hub starts nothing of its own, and uses what is there", name),
		}, later, nil
	}
	if !onThisMachine(c.Config.Host) {
		return ready, 0, fmt.Errorf("the hub's API server at %s is not on this machine, and could not reach webhooks here: install the provider there as its project says, and the hub uses it", c.Config.Host)
	}
	if provider.Name == v1alpha1.CoreProvider {
		if manifests, err = c.manifests(ctx, provider.Name, provider.Spec); err != nil {
			return ready, 0, err
		}
	}
	if speaksOld(manifests) {
		if err := c.serveOld(ctx); err != nil {
			return ready, 0, err
		}
	}
	if err := c.install(ctx, provider, manifests); err != nil {
		return ready, 0, err
	}
	ready, _ = condition(judged{})
	return ready, soon, nil
}

// install applies what a provider is made of, and starts its program.
func (c *Controller) install(ctx context.Context, provider *v1alpha1.Provider, manifests []*unstructured.Unstructured) error {
	folder := FolderOf(c.Dir, provider.Name)
	at, ca, err := folder.prepare(provider.Name, c.Config)
	if err != nil {
		return err
	}
	kinds, hooks, err := shape(provider.Name, manifests, served{url: fmt.Sprintf("https://127.0.0.1:%d", at.webhookPort), ca: ca})
	if err != nil {
		return err
	}
	for _, kind := range kinds {
		there := kind.DeepCopy()
		if err := c.live.Get(ctx, client.ObjectKeyFromObject(kind), there); apierrors.IsNotFound(err) {
			there = nil
		} else if err != nil {
			return fmt.Errorf("looking which versions of %s are served: %w", kind.GetName(), err)
		}
		if err := retire(kind, there); err != nil {
			return fmt.Errorf("%s %s: %w", kind.GetKind(), kind.GetName(), err)
		}
	}
	for _, object := range append(kinds, hooks...) {
		if err := c.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(object), client.FieldOwner(fieldManager), client.ForceOwnership); err != nil {
			return fmt.Errorf("installing %s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
	keys, err := c.keysOf(provider.Name, names(kinds))
	if err != nil {
		return err
	}
	return c.launch(ctx, provider, at, keys)
}

// serveOld has Cluster API's own kinds served in all of their versions, for a provider that knows only the old ones.
func (c *Controller) serveOld(ctx context.Context) error {
	kinds := &unstructured.UnstructuredList{}
	kinds.SetGroupVersionKind(crds)
	if err := c.live.List(ctx, kinds, client.MatchingLabels{v1alpha1.ProviderLabel: v1alpha1.CoreProvider}); err != nil {
		return fmt.Errorf("looking for Cluster API's own kinds: %w", err)
	}
	for _, kind := range kinds.Items {
		before := kind.DeepCopy()
		err := eachVersion(&kind, func(version map[string]any) { version["served"] = true })
		if err == nil && !equality.Semantic.DeepEqual(before, &kind) {
			err = c.client.Patch(ctx, &kind, client.MergeFrom(before), client.FieldOwner(fieldManager))
		}
		if err != nil {
			return fmt.Errorf("having %s served in all its versions: %w", kind.GetName(), err)
		}
	}
	return nil
}

func (c *Controller) launch(ctx context.Context, provider *v1alpha1.Provider, at start, keys *keys) error {
	core, folder := provider.Name == v1alpha1.CoreProvider, FolderOf(c.Dir, provider.Name)
	var all []process.Process
	if core {
		all = append(all, c.Beside...)
	}
	all = append(all, process.Process{
		Name: provider.Name, Path: c.program(provider.Name), Args: c.flags(provider, at), Ready: answers(at.healthPort),
		Env: []string{"POD_IP=127.0.0.1", "POD_NAMESPACE=" + v1alpha1.SystemNamespace}, // as a pod would be told
	})
	supervisor, err := process.New(process.Config{Processes: all, LogDir: folder.logs(), Log: c.Log})
	if err != nil {
		return err
	}
	return c.processes.start(ctx, provider.Name, &run{spec: *provider.Spec.DeepCopy(), keys: keys, supervisor: supervisor, logFile: folder.logFile(provider.Name)})
}

func (c *Controller) flags(provider *v1alpha1.Provider, at start) []string {
	if own, ok := c.Own[provider.Name]; ok {
		return ownFlags(own, provider.Spec, at)
	}
	return flags(provider.Name, provider.Spec, at)
}

// there returns those of these kinds that are in the API.
func (c *Controller) there(ctx context.Context, kinds []string) ([]metav1.PartialObjectMetadata, error) {
	var there []metav1.PartialObjectMetadata
	for _, kind := range kinds {
		crd := metav1.PartialObjectMetadata{}
		crd.SetGroupVersionKind(crds)
		err := c.live.Get(ctx, client.ObjectKey{Name: kind}, &crd)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("looking whether %s is in the hub's API: %w", kind, err)
		}
		there = append(there, crd)
	}
	return there, nil
}

// onThisMachine says whether an API server is where webhooks on 127.0.0.1 are reached.
func onThisMachine(host string) bool {
	parsed, err := url.Parse(host)
	if err != nil {
		return false
	}
	ip := net.ParseIP(parsed.Hostname())
	return parsed.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}
