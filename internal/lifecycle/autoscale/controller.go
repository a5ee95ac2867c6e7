package autoscale

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"umbel.dev/umbel/internal/lifecycle/contract"
)

const (
	group        = "cluster.x-k8s.io"
	clusterLabel = group + "/cluster-name"
	poolLabel    = group + "/deployment-name"
	goesFirst    = group + "/delete-machine" // of a Machine: it is the first to go when there are to be fewer, whatever the value
	writer       = "umbel-autoscale"         // who writes here; also the value of a mark that is ours

	// glance is when a cluster is asked again whether a pod waits, and whole when all of it is looked at while none does.
	glance, whole = 3 * time.Second, 15 * time.Second
	// patience is how long a cluster may take for each answer.
	patience = 10 * time.Second
	// many is how many of the pods that wait are looked at.
	many = 500
)

func kind(name string) schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: group, Version: "v1beta2", Kind: name}
}

// controller has the pools of clusters follow the pods.
type controller struct {
	client client.Client
	now    func() time.Time
	events events.EventRecorder

	mu    sync.Mutex
	known map[client.ObjectKey]*known
}

// known is what is remembered of a cluster. One worker at a time has it.
type known struct {
	secret string // the version of the Secret that api is of
	api    kubernetes.Interface
	memory Memory
	looked time.Time
	said   string
}

// Setup adds the controller to a manager whose client reads Secrets from the API.
func Setup(m ctrl.Manager, now func() time.Time) error {
	c := &controller{client: m.GetClient(), now: now, events: m.GetEventRecorder(writer), known: map[client.ObjectKey]*known{}}
	cluster, pool := &unstructured.Unstructured{}, &unstructured.Unstructured{}
	cluster.SetGroupVersionKind(kind("Cluster"))
	pool.SetGroupVersionKind(kind("MachineDeployment"))
	err := ctrl.NewControllerManagedBy(m).Named("autoscale").For(cluster).
		Watches(pool, handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
			return []reconcile.Request{{NamespacedName: client.ObjectKey{Namespace: o.GetNamespace(), Name: o.GetLabels()[clusterLabel]}}}
		})).Complete(c)
	if err != nil {
		return fmt.Errorf("setting up what has pools follow the pods: %w", err)
	}
	return nil
}

// Reconcile looks at a cluster, and changes its pools.
func (c *controller) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	cluster := &unstructured.Unstructured{}
	cluster.SetGroupVersionKind(kind("Cluster"))
	if err := c.client.Get(ctx, req.NamespacedName, cluster); err != nil {
		c.forget(req.NamespacedName)
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	paused, _, _ := unstructured.NestedBool(cluster.Object, "spec", "paused")
	serves, _, _ := unstructured.NestedBool(cluster.Object, "status", "initialization", "controlPlaneInitialized")
	if cluster.GetDeletionTimestamp() != nil || paused || !serves {
		return ctrl.Result{}, nil
	}
	pools, deployments, err := c.pools(ctx, cluster)
	if err != nil || len(pools) == 0 {
		c.forget(req.NamespacedName)
		return ctrl.Result{}, err
	}
	k := c.know(req.NamespacedName)
	if err := c.reach(ctx, cluster, k); err != nil {
		return ctrl.Result{}, err
	}
	if k.api == nil {
		return ctrl.Result{RequeueAfter: whole}, nil
	}
	waiting, err := waits(ctx, k.api)
	if err != nil {
		return ctrl.Result{}, fmt.Errorf("asking cluster %s which pods wait: %w", cluster.GetName(), err)
	}
	if now := c.now(); waiting || now.Sub(k.looked) >= calm(pools) {
		if err := c.round(ctx, cluster, k, pools, deployments); err != nil {
			return ctrl.Result{}, err
		}
		k.looked = now
	}
	return ctrl.Result{RequeueAfter: glance}, nil
}

// calm is how long all of a cluster is not looked at while no pod waits.
func calm(pools []Pool) time.Duration {
	span := whole
	for _, p := range pools {
		span = min(span, max(glance, p.After/3))
	}
	return span
}

func (c *controller) know(key client.ObjectKey) *known {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known[key] == nil {
		c.known[key] = &known{}
	}
	return c.known[key]
}

func (c *controller) forget(key client.ObjectKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.known, key)
}

// pools returns the pools of a cluster whose number follows the pods, and their MachineDeployments by name.
func (c *controller) pools(ctx context.Context, cluster *unstructured.Unstructured) ([]Pool, map[string]*unstructured.Unstructured, error) {
	of := []client.ListOption{client.InNamespace(cluster.GetNamespace()), client.MatchingLabels{clusterLabel: cluster.GetName()}}
	all, machines := &unstructured.UnstructuredList{}, &unstructured.UnstructuredList{}
	all.SetGroupVersionKind(kind("MachineDeploymentList"))
	if err := c.client.List(ctx, all, of...); err != nil {
		return nil, nil, fmt.Errorf("listing the pools of cluster %s: %w", cluster.GetName(), err)
	}
	machines.SetGroupVersionKind(kind("MachineList"))
	if err := c.client.List(ctx, machines, of...); err != nil {
		return nil, nil, fmt.Errorf("listing the machines of cluster %s: %w", cluster.GetName(), err)
	}
	var pools []Pool
	deployments := map[string]*unstructured.Unstructured{}
	for i := range all.Items {
		d := &all.Items[i]
		var nodes []string
		for _, m := range machines.Items {
			if name := nodeOf(&m); m.GetLabels()[poolLabel] == d.GetName() && name != "" && m.GetDeletionTimestamp() == nil {
				nodes = append(nodes, name)
			}
		}
		slices.Sort(nodes)
		p, ok, err := poolOf(d, nodes)
		if err != nil {
			c.events.Eventf(d, nil, corev1.EventTypeWarning, "NotScaled", "Scale", "the pool does not follow the pods: %s", err)
			continue
		}
		if ok && d.GetDeletionTimestamp() == nil {
			pools, deployments[p.Name] = append(pools, p), d
		}
	}
	slices.SortFunc(pools, func(a, b Pool) int { return strings.Compare(a.Name, b.Name) })
	return pools, deployments, nil
}

func nodeOf(machine *unstructured.Unstructured) string {
	name, _, _ := unstructured.NestedString(machine.Object, "status", "nodeRef", "name")
	return name
}

// reach makes a client of the cluster, unless there is one that is valid. There is none while its kubeconfig is not there yet.
func (c *controller) reach(ctx context.Context, cluster *unstructured.Unstructured, k *known) error {
	config, version, err := contract.Config(ctx, c.client, client.ObjectKeyFromObject(cluster))
	if err != nil || version == k.secret {
		return client.IgnoreNotFound(err)
	}
	config.Timeout, config.QPS = patience, -1
	k.api, err = kubernetes.NewForConfig(config)
	if err == nil {
		k.secret = version
	}
	return err
}

// waits says whether there is a pod for which the scheduler has found no node.
func waits(ctx context.Context, api kubernetes.Interface) (bool, error) {
	pods, err := api.CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=,status.phase=Pending", Limit: many})
	if err != nil {
		return false, err
	}
	return len(pending(pods.Items)) > 0, nil
}

// round looks at all of a cluster, decides, and does it.
func (c *controller) round(ctx context.Context, cluster *unstructured.Unstructured, k *known, pools []Pool, deployments map[string]*unstructured.Unstructured) error {
	nodes, err := k.api.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("listing the nodes of cluster %s: %w", cluster.GetName(), err)
	}
	pods, err := k.api.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("listing the pods of cluster %s: %w", cluster.GetName(), err)
	}
	budgets, err := k.api.PolicyV1().PodDisruptionBudgets("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("listing the PodDisruptionBudgets of cluster %s: %w", cluster.GetName(), err)
	}
	for i := range pools {
		learn(&pools[i], nodes.Items)
	}
	plan := Next(Seen{Pools: pools, Nodes: nodes.Items, Pods: pods.Items, Budgets: budgets.Items}, k.memory, c.now())
	for _, st := range plan.Steps {
		d := deployments[st.Pool]
		err := c.do(ctx, cluster, d, st)
		if apierrors.IsConflict(err) {
			return nil // somebody else changed the pool: what to do is decided anew
		}
		if err != nil {
			return fmt.Errorf("giving pool %s of cluster %s %d machines: %w", st.Pool, cluster.GetName(), st.To, err)
		}
		c.events.Eventf(d, nil, corev1.EventTypeNormal, "Scaled", "Scale", "from %d to %d machines: %s", st.From, st.To, st.Why)
	}
	k.memory = plan.Memory
	if unmet := strings.Join(plan.Unmet, "\n"); unmet != k.said {
		k.said = unmet
		if unmet != "" {
			c.events.Eventf(cluster, nil, corev1.EventTypeWarning, "PodsWait", "Scale", "no pool gets a machine for what waits: %s", unmet)
		}
	}
	return nil
}

// do changes how many machines a pool is to have, and says before which one goes.
func (c *controller) do(ctx context.Context, cluster, deployment *unstructured.Unstructured, st Step) error {
	if st.Node != "" {
		if err := c.mark(ctx, cluster, st); err != nil {
			return err
		}
	}
	patch := fmt.Sprintf(`{"metadata":{"resourceVersion":%q},"spec":{"replicas":%d}}`, deployment.GetResourceVersion(), st.To)
	return c.client.Patch(ctx, deployment, client.RawPatch("application/merge-patch+json", []byte(patch)), client.FieldOwner(writer))
}

// mark has the machine of a node be the first of its pool to go, and no other one that was marked here: who was to take that away may have
// been killed before, and its node may be needed since.
func (c *controller) mark(ctx context.Context, cluster *unstructured.Unstructured, st Step) error {
	machines := &unstructured.UnstructuredList{}
	machines.SetGroupVersionKind(kind("MachineList"))
	if err := c.client.List(ctx, machines, client.InNamespace(cluster.GetNamespace()), client.MatchingLabels{poolLabel: st.Pool}); err != nil {
		return err
	}
	found := false
	for _, m := range machines.Items {
		if m.GetDeletionTimestamp() != nil {
			continue
		}
		mark, patch := m.GetAnnotations()[goesFirst], ""
		switch {
		case nodeOf(&m) == st.Node:
			found = true
			if mark == "" {
				patch = fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, goesFirst, writer)
			}
		case mark == writer:
			patch = fmt.Sprintf(`{"metadata":{"annotations":{%q:null}}}`, goesFirst)
		}
		if patch == "" {
			continue
		}
		if err := c.client.Patch(ctx, &m, client.RawPatch("application/merge-patch+json", []byte(patch))); err != nil {
			return err
		}
	}
	if !found {
		return fmt.Errorf("node %s has no machine any more", st.Node)
	}
	return nil
}
