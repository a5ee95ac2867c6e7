package hosted

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infra "umbel.dev/umbel/api/infrastructure/v1alpha1"
)

// bootstrapController says which cluster a machine joins.
type bootstrapController struct{ frame }

func (c *bootstrapController) setup(m ctrl.Manager) error {
	kind := &infra.LocalBootstrap{TypeMeta: metav1.TypeMeta{APIVersion: infra.GroupVersion.String(), Kind: "LocalBootstrap"}}
	return c.watching(m, "localbootstrap", kind, clusterKind, machineKind).Complete(c)
}

// Reconcile writes the bootstrap data. What there is of it goes with its owner: it needs no finalizer.
func (c *bootstrapController) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	object := &infra.LocalBootstrap{}
	if err := c.client.Get(ctx, req.NamespacedName, object); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !object.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil
	}
	f, err := familyOf(ctx, c.client, object)
	if err != nil {
		return ctrl.Result{}, err
	}
	before := object.DeepCopy()
	if f.paused(object) {
		setPaused(&object.Status.Conditions, object.Generation)
		return ctrl.Result{}, c.say(ctx, before, object)
	}
	ready, after := waiting(f.waits(needMachine, needCluster, needPlace, needAPI)), time.Duration(0)
	if ready.Message == "" {
		ready, after = c.write(ctx, object, f)
	}
	set(&object.Status.Conditions, infra.ConditionReady, ready, object.Generation)
	return ctrl.Result{RequeueAfter: after}, c.say(ctx, before, object)
}

// write has the data be there, and says where.
func (c *bootstrapController) write(ctx context.Context, object *infra.LocalBootstrap, f family) (metav1.Condition, time.Duration) {
	if err := c.keepData(ctx, object, f); err != nil {
		return failure(err)
	}
	object.Status.DataSecretName = object.Name
	object.Status.Initialization = &infra.BootstrapInitialization{DataSecretCreated: new(true)}
	return serving("what the machine is told is in the Secret " + object.Name), 0
}

// keepData keeps the Secret with the data, which is the same whenever it is made.
func (c *bootstrapController) keepData(ctx context.Context, object *infra.LocalBootstrap, f family) error {
	data, err := json.Marshal(map[string]string{"cluster": f.name})
	if err != nil {
		return err
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: object.Namespace, Name: object.Name, Labels: map[string]string{clusterLabel: f.name},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(object, infra.GroupVersion.WithKind("LocalBootstrap"))},
		},
		Type: secretType, Data: map[string][]byte{secretValue: data, secretFormat: []byte(bootstrapFormat)},
	}
	there := &corev1.Secret{}
	err = c.client.Get(ctx, client.ObjectKeyFromObject(secret), there)
	switch {
	case apierrors.IsNotFound(err):
		err = c.client.Create(ctx, secret)
	case err != nil:
		return fmt.Errorf("reading the Secret %s: %w", secret.Name, err)
	case f.orphaned(there):
		secret.ResourceVersion = there.ResourceVersion
		err = c.client.Update(ctx, secret)
	case !metav1.IsControlledBy(there, object):
		return &refusal{fmt.Sprintf("the Secret %s is somebody else's: what the machine is told is to be there", secret.Name)}
	}
	if err != nil {
		return fmt.Errorf("writing the Secret %s: %w", secret.Name, err)
	}
	return nil
}
