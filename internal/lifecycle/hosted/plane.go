package hosted

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	infra "umbel.dev/umbel/api/infrastructure/v1alpha1"
	"umbel.dev/umbel/internal/kube/controlplane"
	"umbel.dev/umbel/internal/lifecycle/local"
)

// planes are control planes.
type planes interface {
	// Plane returns the control plane of a cluster that has its place, whether it runs or not.
	Plane(h local.Hosted) (local.Plane, error)
	// RaisePlane brings it up, whatever is left of it, and returns when its API serves the version that h names.
	RaisePlane(ctx context.Context, h local.Hosted) (local.Plane, error)
	// RenewPlane issues anew what is due of its certificates, while it serves, and returns when the first of all ends.
	RenewPlane(h local.Hosted, now time.Time) (time.Time, error)
	// HaltPlane ends its processes in order, and keeps what it holds. It is no error when none runs.
	HaltPlane(ctx context.Context, h local.Hosted) error
	// EndPlane ends it. It is no error when there is none.
	EndPlane(ctx context.Context, h local.Hosted) error
}

// raiseTime is how long a control plane, or a machine, may take to come up before others have their turn, and lookTime how long
// an API may take to say which version it is.
const raiseTime, lookTime = 2 * time.Minute, 5 * time.Second

// planeController keeps HostedControlPlanes serving.
type planeController struct {
	frame
	host interface {
		places // of clusters whose machines are elsewhere, which have no HostedCluster
		planes
	}
	kept     snapshots
	versions []string
	raised   *raised
	tries    *tries
}

func (c *planeController) setup(m ctrl.Manager) error {
	kind := &infra.HostedControlPlane{TypeMeta: metav1.TypeMeta{APIVersion: infra.GroupVersion.String(), Kind: "HostedControlPlane"}}
	return c.watching(m, "hostedcontrolplane", kind, clusterKind).
		Watches(&infra.HostedCluster{}, handler.EnqueueRequestsFromMapFunc(c.related(kind.Kind, placeKind))).
		Watches(newObject(machineKind), handler.EnqueueRequestsFromMapFunc(c.related(kind.Kind, placeKind)), whenGone()).
		Complete(c)
}

// Reconcile has a control plane serve, or end.
func (c *planeController) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	object := &infra.HostedControlPlane{}
	if err := c.client.Get(ctx, req.NamespacedName, object); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	f, alone, err := c.meet(ctx, object, &object.Status.Conditions)
	if alone || err != nil {
		return ctrl.Result{}, err
	}
	if told, err := c.turn(ctx, object, f, allMachines()); told || err != nil {
		return ctrl.Result{}, err
	}
	stays := f.stays(object)
	if !object.DeletionTimestamp.IsZero() && stays == "" {
		return c.end(ctx, object, f)
	}
	before := object.DeepCopy()
	placed, err := c.placed(ctx, object.Namespace, f)
	if err != nil {
		return ctrl.Result{}, err
	}
	available, after := waiting(f.waits(needCluster, placed)), time.Duration(0)
	if available.Message == "" {
		if err := c.keep(ctx, object); err != nil {
			return ctrl.Result{}, client.IgnoreNotFound(err)
		}
		available, after, err = c.serveOrSleep(ctx, object, f)
		if busy(err) || apierrors.IsConflict(err) {
			return ctrl.Result{RequeueAfter: soon}, nil
		}
		if err != nil {
			available, after = failure(err)
		}
		before.Spec, before.ObjectMeta = object.Spec, object.ObjectMeta
	}
	c.count(object, available.Status == metav1.ConditionTrue)
	if stays != "" {
		available = staying(stays, available.Message)
	}
	set(&object.Status.Conditions, infra.ConditionAvailable, available, object.Generation)
	return ctrl.Result{RequeueAfter: after}, c.say(ctx, before, object)
}

// placed returns the need for a place: one that Cluster API knows of, or one that was claimed and waits for the control plane.
func (c *planeController) placed(ctx context.Context, namespace string, f family) (need, error) {
	if f.elsewhere() {
		return func(family) string { return "" }, nil
	}
	own, err := c.hasPlace(ctx, namespace, f, func(p infra.HostedCluster) bool { return p.Status.Pods != "" })
	if err != nil || !own {
		return needPlace, err
	}
	return func(family) string { return "" }, nil
}

// hasPlace says whether the cluster has a HostedCluster of which that holds.
func (c *planeController) hasPlace(ctx context.Context, namespace string, f family, holds func(infra.HostedCluster) bool) (bool, error) {
	var all infra.HostedClusterList
	if err := c.client.List(ctx, &all, client.InNamespace(namespace), client.MatchingLabels{clusterLabel: f.name}); err != nil {
		return false, fmt.Errorf("looking for the place of cluster %s: %w", f.name, err)
	}
	return slices.ContainsFunc(all.Items, holds), nil
}

// claim gives the control plane of a cluster its place whose machines are elsewhere, and so have none.
func (c *planeController) claim(ctx context.Context, f family, h local.Hosted) error {
	if !f.elsewhere() {
		return nil
	}
	var err error
	if h.Ranges, err = f.ranges(); err != nil {
		return err
	}
	h.Enrolment = controlplane.ByToken
	_, err = c.host.Claim(ctx, h)
	return err
}

func (c *planeController) serveOrSleep(ctx context.Context, object *infra.HostedControlPlane, f family) (metav1.Condition, time.Duration, error) {
	if !f.hibernated() {
		return c.serve(ctx, object, f)
	}
	c.raised.forget(object.UID)
	for i := range object.Status.Members {
		object.Status.Members[i].Ready = new(false)
	}
	if err := c.host.HaltPlane(ctx, f.hosted(object.Namespace)); err != nil {
		return metav1.Condition{}, 0, fmt.Errorf("ending its processes: %w", err)
	}
	return asleep("its cluster hibernates: what it holds is kept, and `umbel cluster wake " + f.name + "` starts it"), later, nil
}

// serve has the control plane run, and hands Cluster API what it needs of it.
func (c *planeController) serve(ctx context.Context, object *infra.HostedControlPlane, f family) (metav1.Condition, time.Duration, error) {
	h := f.hosted(object.Namespace)
	h.Version = object.Spec.Version
	h.Members, h.Begun = int(wanted(object)), initialized(object)
	if err := c.claim(ctx, f, h); err != nil {
		return metav1.Condition{}, 0, err
	}
	plane, err := c.host.Plane(h)
	if err != nil {
		return metav1.Condition{}, 0, err
	}
	if err := c.restore(ctx, object, f, h, plane); err != nil {
		return metav1.Condition{}, 0, err
	}
	h.Begun = h.Begun || asked(object) != ""
	renewed := c.renew(object, h) // before anybody asks it: what it shows may have ended while nobody looked
	plane, problem := c.raise(ctx, object, h, plane)
	if problem = also(problem, renewed); problem != nil && (!h.Begun || busy(problem)) {
		return metav1.Condition{}, 0, problem
	}
	version, err := ask(ctx, plane)
	if err == nil && problem != nil {
		err = ready(ctx, plane) // an API server whose etcd is lost says its version still
	}
	if err == nil && problem == nil {
		err = c.settle(ctx, object, f, plane)
	}
	if err == nil && problem == nil {
		err = c.resume(ctx, object, f)
	}
	if err == nil {
		err = errors.Join(c.hand(ctx, object, f, plane), c.handCA(ctx, object, f, plane))
	}
	if err != nil {
		return metav1.Condition{}, 0, also(problem, err)
	}
	if problem != nil { // what has served may serve still, and whoever needs it is to reach it
		object.Status.Members = c.askEach(ctx, plane)
		said, after := limping(plane.Address.String(), object.Status.Members, problem)
		return said, after, nil
	}
	if err := errors.Join(c.locate(ctx, object, plane), c.tell(ctx, object.Namespace, f, plane)); err != nil {
		return metav1.Condition{}, 0, err
	}
	object.Status.Version = version
	object.Status.Members = c.askEach(ctx, plane)
	object.Status.Versions = []infra.ServedVersion{{Version: version, Replicas: new(count(object.Status.Members))}}
	object.Status.Initialization = &infra.ControlPlaneInitialization{ControlPlaneInitialized: new(true)}
	available, after := available(plane.Address.String(), wanted(object), object.Status.Members)
	return available, after, nil
}

// renew has the certificates of what runs be valid.
func (c *planeController) renew(object *infra.HostedControlPlane, h local.Hosted) error {
	until, err := c.host.RenewPlane(h, c.now())
	if err != nil {
		return fmt.Errorf("renewing its certificates: %w", err)
	}
	object.Status.CertificatesExpire = expiry(until)
	return nil
}

// raise has the control plane run as it is to. What runs so already needs no build of its version: there may be none any more.
func (c *planeController) raise(ctx context.Context, object *infra.HostedControlPlane, h local.Hosted, plane local.Plane) (local.Plane, error) {
	if err := checkStep(cmp.Or(plane.Version, object.Status.Version), h.Version); err != nil {
		return plane, err
	}
	settled := plane.Settled(h.Members)
	if plane.Version == h.Version && c.raised.is(object.UID, settled) {
		return plane, nil
	}
	if plane.Version != h.Version || settled == "" {
		if err := checkVersion(h.Version, c.versions); err != nil {
			return plane, err
		}
	}
	raising, cancel := context.WithTimeout(ctx, raiseTime)
	defer cancel()
	fresh, err := c.host.RaisePlane(raising, h)
	if err != nil {
		return plane, err
	}
	c.raised.set(object.UID, fresh.Settled(h.Members))
	return fresh, nil
}

// askEach asks each member whether it serves. Of a control plane with one that has been asked already.
func (c *planeController) askEach(ctx context.Context, plane local.Plane) []infra.ControlPlaneMember {
	var all []infra.ControlPlaneMember
	for _, m := range plane.Members {
		said := infra.ControlPlaneMember{Name: m.Name, Address: m.URL, Ready: new(true)}
		if len(plane.Members) > 1 {
			if _, err := askAt(ctx, plane, m.URL); err != nil {
				said.Ready, said.Message = new(false), err.Error()
			}
		}
		all = append(all, said)
	}
	return all
}

// ask returns which version the API of a control plane says it is.
func ask(ctx context.Context, plane local.Plane) (string, error) {
	return askAt(ctx, plane, plane.ControlPlane.URL())
}

// askAt asks one of its members.
func askAt(ctx context.Context, plane local.Plane, url string) (string, error) {
	api, err := clientAt(plane, url)
	if err != nil {
		return "", err
	}
	answer, err := api.ServerVersion()
	if err != nil {
		return "", fmt.Errorf("asking its API at %s: %w", url, errors.Join(err, ctx.Err()))
	}
	return answer.GitVersion, nil
}

// ready says whether the API of a control plane is, with its etcd.
func ready(ctx context.Context, plane local.Plane) error {
	url := plane.ControlPlane.URL()
	api, err := clientAt(plane, url)
	if err != nil {
		return err
	}
	if _, err := api.RESTClient().Get().AbsPath("/readyz").DoRaw(ctx); err != nil {
		return fmt.Errorf("its API at %s is not ready: %w", url, err)
	}
	return nil
}

func clientAt(plane local.Plane, url string) (*discovery.DiscoveryClient, error) {
	config, err := plane.Client()
	if err != nil {
		return nil, err
	}
	config.Host, config.Timeout = url, lookTime
	return discovery.NewDiscoveryClientForConfig(config)
}

// locate writes where the API is into the spec, once.
func (c *planeController) locate(ctx context.Context, object *infra.HostedControlPlane, plane local.Plane) error {
	at := infra.Endpoint{Host: plane.Address.Addr().String(), Port: int32(plane.Address.Port())}
	if object.Spec.ControlPlaneEndpoint != nil && *object.Spec.ControlPlaneEndpoint == at {
		return nil
	}
	changed := object.DeepCopy()
	changed.Spec.ControlPlaneEndpoint = &at
	if err := c.client.Patch(ctx, changed, client.MergeFrom(object)); err != nil {
		return fmt.Errorf("writing where the API is: %w", err)
	}
	object.Spec, object.ObjectMeta = changed.Spec, changed.ObjectMeta
	return nil
}

// hand keeps the Secret by which Cluster API reaches the cluster.
func (c *planeController) hand(ctx context.Context, object *infra.HostedControlPlane, f family, plane local.Plane) error {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: object.Namespace, Name: f.name + kubeconfigSuffix}}
	err := c.client.Get(ctx, client.ObjectKeyFromObject(secret), secret)
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("reading the Secret %s: %w", secret.Name, err)
	}
	lost := err == nil && f.orphaned(secret)
	if err == nil && !lost && !metav1.IsControlledBy(secret, object) {
		return &refusal{fmt.Sprintf("the Secret %s is somebody else's: the control plane's kubeconfig is to be there", secret.Name)}
	}
	until, _ := time.Parse(time.RFC3339, secret.Annotations[validUntilAnnotation]) // zero for none: long over
	if !lost && until.Sub(c.now()) > kubeconfigLife/2 {
		return nil
	}
	content, err := plane.Kubeconfig(kubeconfigUser, kubeconfigLife)
	if err != nil {
		return err
	}
	fresh := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: secret.Namespace, Name: secret.Name, ResourceVersion: secret.ResourceVersion,
			Labels:          map[string]string{clusterLabel: f.name},
			Annotations:     map[string]string{validUntilAnnotation: c.now().Add(kubeconfigLife).UTC().Format(time.RFC3339)},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(object, infra.HostedControlPlaneKind)},
		},
		Type: secretType, Data: map[string][]byte{secretValue: content},
	}
	if fresh.ResourceVersion == "" {
		err = c.client.Create(ctx, fresh)
	} else {
		err = c.client.Update(ctx, fresh)
	}
	if err != nil {
		return fmt.Errorf("writing the Secret %s: %w", secret.Name, err)
	}
	return nil
}

// handCA keeps the Secret with the certificate by which machines that are made elsewhere know the cluster. The key stays where the control
// plane is: nobody needs it to have machines join, and Cluster API only looks whether there is something.
func (c *planeController) handCA(ctx context.Context, object *infra.HostedControlPlane, f family, plane local.Plane) error {
	if !f.elsewhere() {
		return nil
	}
	ca, err := plane.ControlPlane.CA()
	if err != nil {
		return err
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: object.Namespace, Name: f.name + caSuffix, Labels: map[string]string{clusterLabel: f.name},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(object, infra.HostedControlPlaneKind)},
		},
		Type: secretType, Data: map[string][]byte{corev1.TLSCertKey: ca.CertPEM(), corev1.TLSPrivateKeyKey: []byte(noKey)},
	}
	err = c.client.Create(ctx, secret)
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	there := &corev1.Secret{}
	if err := c.client.Get(ctx, client.ObjectKeyFromObject(secret), there); err != nil {
		return fmt.Errorf("reading the Secret %s: %w", secret.Name, err)
	}
	lost := f.orphaned(there)
	if !lost && !metav1.IsControlledBy(there, object) {
		return &refusal{fmt.Sprintf("the Secret %s is somebody else's: the certificate of the cluster's CA is to be there", secret.Name)}
	}
	if !lost && bytes.Equal(there.Data[corev1.TLSCertKey], ca.CertPEM()) {
		return nil
	}
	there.OwnerReferences, there.Data = secret.OwnerReferences, secret.Data // another CA is that of a cluster that was restored with keys of its own
	return c.client.Update(ctx, there)
}

// count says how many members there are: what Cluster API waits for before it scales machines.
func (c *planeController) count(object *infra.HostedControlPlane, serves bool) {
	s := &object.Status
	ready := count(s.Members)
	if !serves {
		ready = 0
	}
	there := max(ready, int32(len(s.Members)))
	s.Replicas, s.ReadyReplicas, s.AvailableReplicas, s.UpToDateReplicas = new(there), new(ready), new(ready), new(ready)
	s.ExternalManagedControlPlane = new(true)
}

// end ends the control plane.
func (c *planeController) end(ctx context.Context, object *infra.HostedControlPlane, f family) (ctrl.Result, error) {
	before := object.DeepCopy()
	c.raised.forget(object.UID)
	if f.name != "" {
		if err := c.take(ctx, object.Namespace, f); err != nil {
			if busy(err) {
				return ctrl.Result{RequeueAfter: soon}, nil
			}
			said, after := failure(fmt.Errorf("ending the control plane: %w", err))
			set(&object.Status.Conditions, infra.ConditionAvailable, said, object.Generation)
			return ctrl.Result{RequeueAfter: after}, c.say(ctx, before, object)
		}
	}
	return ctrl.Result{}, c.let(ctx, object)
}

// take ends the machines of a control plane, and gives its place back unless that is a HostedCluster's.
func (c *planeController) take(ctx context.Context, namespace string, f family) error {
	if err := c.host.EndPlane(ctx, f.hosted(namespace)); err != nil {
		return err
	}
	placed, err := c.hasPlace(ctx, namespace, f, func(infra.HostedCluster) bool { return true })
	if err != nil || placed {
		return err
	}
	return c.host.Release(ctx, f.hosted(namespace))
}
