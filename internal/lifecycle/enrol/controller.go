package enrol

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/lifecycle/contract"
)

const (
	fieldOwner = "umbel-lifecycle"
	// again is when a cluster whose agent has not come is looked at.
	again = 10 * time.Second
	// patience is how long a new cluster may take for each answer.
	patience = 10 * time.Second
)

var clusterKind = schema.GroupVersionKind{Group: group, Version: "v1beta2", Kind: "Cluster"}

// controller makes Clusters members.
type controller struct {
	client client.Client
	now    func() time.Time
	events events.EventRecorder
	// auditLog says where the API servers of a cluster of a name write down who did what; empty when that is not known here.
	auditLog func(name string) AuditLog

	mu sync.Mutex
	// given is what each Cluster's member was given last, by this process: what is the same is not written again.
	given map[types.UID]map[string]string
}

// Setup adds the controller to a manager whose client reads Secrets from the API. auditLog says where the API servers of a cluster of a
// name write down who did what, on its nodes; empty when that is not known.
func Setup(m ctrl.Manager, now func() time.Time, auditLog func(name string) AuditLog) error {
	c := &controller{
		client: m.GetClient(), now: now, events: m.GetEventRecorder("umbel-enrol"), auditLog: auditLog, given: map[types.UID]map[string]string{},
	}
	kind := &unstructured.Unstructured{}
	kind.SetGroupVersionKind(clusterKind)
	err := ctrl.NewControllerManagedBy(m).Named("enrol").For(kind).
		Watches(&v1alpha1.MemberCluster{}, handler.EnqueueRequestsFromMapFunc(managed)).
		Complete(c)
	if err != nil {
		return fmt.Errorf("setting up what makes clusters members: %w", err)
	}
	return nil
}

// managed returns the Cluster that a member is.
func managed(_ context.Context, member client.Object) []reconcile.Request {
	namespace, name, ok := v1alpha1.SplitManaged(member.GetAnnotations()[v1alpha1.ManagedAnnotation])
	if !ok {
		return nil
	}
	return []reconcile.Request{{NamespacedName: client.ObjectKey{Namespace: namespace, Name: name}}}
}

// Reconcile makes a Cluster a member, or has the fleet forget it.
func (c *controller) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	cluster := &unstructured.Unstructured{}
	cluster.SetGroupVersionKind(clusterKind)
	if err := c.client.Get(ctx, req.NamespacedName, cluster); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	switch decide(cluster) {
	case forget:
		return c.forget(ctx, cluster)
	case rest:
		return ctrl.Result{}, c.rest(ctx, cluster)
	case join:
		return c.join(ctx, cluster)
	case follow:
		return ctrl.Result{}, c.follow(ctx, cluster)
	case leave:
		c.mu.Lock()
		delete(c.given, cluster.GetUID())
		c.mu.Unlock()
	}
	return ctrl.Result{}, nil
}

// rest has the member of a Cluster that hibernates say so.
func (c *controller) rest(ctx context.Context, cluster *unstructured.Unstructured) error {
	member, err := c.member(ctx, cluster.GetName())
	if err != nil || member == nil || checkMember(cluster, member) != nil {
		return err
	}
	_, err = c.register(ctx, cluster, member)
	return err
}

// follow gives the member that a Cluster was adopted as what the Cluster has now. Nothing of the Cluster is written, and no member is made.
func (c *controller) follow(ctx context.Context, cluster *unstructured.Unstructured) error {
	member, err := c.member(ctx, cluster.GetName())
	if err != nil || member == nil || !member.DeletionTimestamp.IsZero() || checkMember(cluster, member) != nil {
		return err
	}
	if _, err = c.register(ctx, cluster, member); apierrors.IsConflict(err) {
		return nil // it was taken out meanwhile, which the watch has yet to tell
	}
	return err
}

// Follow gives an adopted member what its Cluster has now: what the hub goes on to do where it makes clusters itself.
func Follow(ctx context.Context, hub client.Client, cluster *unstructured.Unstructured) error {
	member := &v1alpha1.MemberCluster{}
	if err := hub.Get(ctx, client.ObjectKey{Name: cluster.GetName()}, member); err != nil {
		return err
	}
	if err := checkMember(cluster, member); err != nil {
		return err
	}
	if _, err := give(ctx, hub, cluster, member); err != nil {
		return fmt.Errorf("giving member %s the labels of its Cluster: %w", member.Name, err)
	}
	return nil
}

func (c *controller) join(ctx context.Context, cluster *unstructured.Unstructured) (ctrl.Result, error) {
	member, err := c.member(ctx, cluster.GetName())
	if err != nil {
		return ctrl.Result{}, err
	}
	if err := checkMember(cluster, member); err != nil {
		c.events.Eventf(cluster, nil, corev1.EventTypeWarning, "NameTaken", "Join", "%s", err)
		return ctrl.Result{RequeueAfter: again}, nil
	}
	if member != nil && !member.DeletionTimestamp.IsZero() {
		return ctrl.Result{RequeueAfter: again}, nil // somebody has it leave, and it would come again at once
	}
	before := cluster.DeepCopy()
	if controllerutil.AddFinalizer(cluster, finalizer) {
		if err := c.client.Patch(ctx, cluster, client.MergeFrom(before)); err != nil {
			return ctrl.Result{}, client.IgnoreNotFound(err)
		}
	}
	if member, err = c.register(ctx, cluster, member); err != nil {
		return ctrl.Result{}, err
	}
	if member.Status.Identity != nil {
		return c.afterRestore(ctx, cluster, member)
	}
	if err := c.install(ctx, cluster, member.Spec.Stands()); err != nil {
		return ctrl.Result{}, fmt.Errorf("putting the agent into cluster %s: %w", cluster.GetName(), err)
	}
	return ctrl.Result{RequeueAfter: again}, nil
}

// member returns the member of that name, nil when there is none.
func (c *controller) member(ctx context.Context, name string) (*v1alpha1.MemberCluster, error) {
	member := &v1alpha1.MemberCluster{}
	err := c.client.Get(ctx, client.ObjectKey{Name: name}, member)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return member, err
}

// register makes the MemberCluster, and gives it the Cluster's labels.
func (c *controller) register(ctx context.Context, cluster *unstructured.Unstructured, member *v1alpha1.MemberCluster) (*v1alpha1.MemberCluster, error) {
	labels := Labels(cluster)
	if member != nil && v1alpha1.Hibernated(member.Annotations) == v1alpha1.Hibernated(cluster.GetAnnotations()) && hasAll(member.Labels, labels) && c.gave(cluster.GetUID(), labels) {
		return member, nil
	}
	object, err := give(ctx, c.client, cluster, member)
	if err != nil {
		return nil, fmt.Errorf("making cluster %s a member: %w", cluster.GetName(), err)
	}
	c.mu.Lock()
	c.given[cluster.GetUID()] = labels
	c.mu.Unlock()
	registered := &v1alpha1.MemberCluster{}
	return registered, runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, registered)
}

// give applies what a member has of its Cluster: its labels, which one it is, and whether it hibernates. nil is a member that is made by that;
// one that is there is not made again when it has gone meanwhile.
func give(ctx context.Context, hub client.Client, cluster *unstructured.Unstructured, member *v1alpha1.MemberCluster) (*unstructured.Unstructured, error) {
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("MemberCluster"))
	object.SetName(cluster.GetName())
	if member != nil {
		object.SetUID(member.UID)
	}
	object.SetLabels(Labels(cluster))
	annotations := map[string]string{v1alpha1.ManagedAnnotation: identityOf(cluster)}
	if v1alpha1.Hibernated(cluster.GetAnnotations()) {
		annotations[v1alpha1.HibernatedAnnotation] = "true"
	}
	object.SetAnnotations(annotations)
	return object, hub.Apply(ctx, client.ApplyConfigurationFromUnstructured(object), client.FieldOwner(fieldOwner), client.ForceOwnership)
}

// gave says whether these are the labels that a Cluster's member was given last.
func (c *controller) gave(cluster types.UID, labels map[string]string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	given, known := c.given[cluster]
	return known && maps.Equal(given, labels)
}

// install puts the agent into the cluster, unless one is there that can still come.
func (c *controller) install(ctx context.Context, cluster *unstructured.Unstructured, level v1alpha1.Level) error {
	target, err := c.reach(ctx, cluster)
	if err != nil || target == nil {
		return err
	}
	given, err := tokenOf(ctx, target)
	if err != nil {
		return err
	}
	boot, image, err := HubInfo(ctx, c.client)
	if err != nil {
		return err
	}
	name := v1alpha1.ClusterName(cluster.GetName())
	good, err := c.good(ctx, name, given)
	if err == nil && good {
		good, err = started(ctx, target, image)
	}
	if err != nil || good {
		return err
	}
	boot.Cluster = name
	if boot.Token, err = Token(ctx, c.client, name, given, c.now()); err != nil {
		return err
	}
	objects, err := Agent{Boot: boot, Image: image, AuditLog: c.auditLog(cluster.GetName()), Level: level}.Manifests()
	if err != nil {
		return err
	}
	for _, o := range objects {
		kind, name := o.GetKind(), o.GetName()
		if err := target.Apply(ctx, client.ApplyConfigurationFromUnstructured(o), client.FieldOwner("umbel-join"), client.ForceOwnership); err != nil {
			return fmt.Errorf("installing %s %s: %w", kind, name, err)
		}
	}
	return nil
}

// reach returns a client of the cluster, nil when its kubeconfig is not there yet.
func (c *controller) reach(ctx context.Context, cluster *unstructured.Unstructured) (client.Client, error) {
	config, _, err := contract.Config(ctx, c.client, client.ObjectKeyFromObject(cluster))
	if err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	config.Timeout = patience
	return client.New(config, client.Options{})
}

// tokenOf returns the token that the cluster's agent has, empty when there is none.
func tokenOf(ctx context.Context, target client.Client) (string, error) {
	given, err := givenTo(ctx, target)
	var boot v1alpha1.Bootstrap
	if err != nil || json.Unmarshal(given, &boot) != nil {
		return "", err // what no agent can read is written anew
	}
	return boot.Token, nil
}

// givenTo returns what the cluster's agent was given to find its hub, empty when that is nothing.
func givenTo(ctx context.Context, target client.Client) ([]byte, error) {
	secret := &corev1.Secret{}
	err := target.Get(ctx, client.ObjectKey{Namespace: v1alpha1.AgentNamespace, Name: v1alpha1.AgentBootstrapSecret}, secret)
	return secret.Data["bootstrap.json"], client.IgnoreNotFound(err)
}

// started says whether the agent was started with what it was given: its Deployment comes last, and whoever installs may be killed before.
// Without an image there is none.
func started(ctx context.Context, target client.Client, image string) (bool, error) {
	given, err := givenTo(ctx, target)
	if err != nil || image == "" {
		return image == "", err
	}
	agent := &appsv1.Deployment{}
	err = target.Get(ctx, client.ObjectKey{Namespace: v1alpha1.AgentNamespace, Name: "umbel-agent"}, agent)
	return err == nil && agent.Spec.Template.Annotations["umbel.dev/bootstrap"] == identity.HashToken(string(given)), client.IgnoreNotFound(err)
}

// good says whether an agent with that token is let in.
func (c *controller) good(ctx context.Context, name v1alpha1.ClusterName, token string) (bool, error) {
	secret := &corev1.Secret{}
	err := c.client.Get(ctx, client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.JoinTokenSecret(name)}, secret)
	if err != nil {
		return false, client.IgnoreNotFound(err)
	}
	until, err := time.Parse(time.RFC3339, string(secret.Data[v1alpha1.JoinTokenExpires]))
	return err == nil && c.now().Before(until) && identity.TokenMatches(token, string(secret.Data[v1alpha1.JoinTokenHash])), nil
}

// forget has the fleet forget the member of a Cluster that is gone, and lets that go.
func (c *controller) forget(ctx context.Context, cluster *unstructured.Unstructured) (ctrl.Result, error) {
	member, err := c.member(ctx, cluster.GetName())
	if err != nil {
		return ctrl.Result{}, err
	}
	var taken *takenError
	if member != nil && !errors.As(checkMember(cluster, member), &taken) {
		before := member.DeepCopy()
		metav1.SetMetaDataAnnotation(&member.ObjectMeta, v1alpha1.ForceDetachAnnotation, "true")
		if err := c.client.Patch(ctx, member, client.MergeFrom(before)); client.IgnoreNotFound(err) != nil {
			return ctrl.Result{}, err
		}
		if err := c.client.Delete(ctx, member); client.IgnoreNotFound(err) != nil {
			return ctrl.Result{}, err
		}
	}
	c.mu.Lock()
	delete(c.given, cluster.GetUID())
	c.mu.Unlock()
	before := cluster.DeepCopy()
	controllerutil.RemoveFinalizer(cluster, finalizer)
	return ctrl.Result{}, client.IgnoreNotFound(c.client.Patch(ctx, cluster, client.MergeFrom(before)))
}
