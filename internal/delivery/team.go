package delivery

import (
	"context"
	"fmt"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/decide"
)

// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch

// barredFor is how soon a Package is looked at again that was one too many: nobody tells it that another one went.
const barredFor = 10 * time.Second

// observeTeam finds out whose the Package is. While that is not known nothing is published, so that agents go on as they were
// told.
func (c *Controller) observeTeam(ctx context.Context, v *visit) error {
	namespace, err := c.namespaceOf(ctx, v)
	if err != nil {
		return err
	}
	v.team, err = decide.TeamOf(namespace.Annotations)
	if err != nil {
		v.seen.Bar = decide.Bar{Reason: v1alpha1.ReasonTeamInvalid, Message: fmt.Sprintf("namespace %s of the hub: %s: whoever runs the hub has to put that right", v.pkg.Namespace, err)}
		return nil
	}
	v.pkg.Status.ActsAs = ""
	if as := v.team.ActsAs; as != nil {
		v.pkg.Status.ActsAs = as.GetNamespace() + "/" + as.GetName()
	}
	var peers v1alpha1.PackageList
	if v.team.Packages != nil {
		if err := c.client.List(ctx, &peers, client.InNamespace(v.pkg.Namespace), client.UnsafeDisableDeepCopy); err != nil {
			return fmt.Errorf("counting the packages of namespace %s: %w", v.pkg.Namespace, err)
		}
	}
	if v.seen.Bar = v.team.Bars(v.pkg, peers.Items, v.seen.Placement); v.seen.Bar != (decide.Bar{}) {
		v.again(barredFor)
	}
	return nil
}

// namespaceOf reads the Namespace. The cache may be late: a Package that it takes for the platform's may be the first of a
// Namespace that was given to a team a moment before, so that is asked of the API itself, once for each spec.
func (c *Controller) namespaceOf(ctx context.Context, v *visit) (*corev1.Namespace, error) {
	var namespace corev1.Namespace
	name := types.NamespacedName{Name: v.pkg.Namespace}
	err := c.client.Get(ctx, name, &namespace)
	_, teams := namespace.Annotations[v1alpha1.ActsAsAnnotation]
	if apierrors.IsNotFound(err) || err == nil && !teams && v.memo.platforms != v.pkg.Generation {
		err = c.live.Get(ctx, name, &namespace)
	}
	if err != nil {
		return nil, fmt.Errorf("reading whose namespace %s is: %w", v.pkg.Namespace, err)
	}
	v.memo.platforms = v.pkg.Generation
	return &namespace, nil
}

// ofNamespace asks again for the Packages of a Namespace.
func (c *Controller) ofNamespace(ctx context.Context, namespace client.Object) []reconcile.Request {
	var packages v1alpha1.PackageList
	if err := c.client.List(ctx, &packages, client.InNamespace(namespace.GetName()), client.UnsafeDisableDeepCopy); err != nil {
		log.FromContext(ctx).Error(err, "listing the packages of a namespace", "namespace", namespace.GetName())
		return nil
	}
	var requests []reconcile.Request
	for i := range packages.Items {
		requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&packages.Items[i])})
	}
	return requests
}

// limitOf tells apart how many objects there may be.
func limitOf(team decide.Team) string {
	if team.Objects == nil {
		return ""
	}
	return strconv.Itoa(*team.Objects)
}
