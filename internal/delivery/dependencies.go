package delivery

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/decide"
)

const packageByDependency = "spec.dependsOn"

// defaultDependencyTimeout is how long a cluster waits for a Package before the condition says that it takes too long.
const defaultDependencyTimeout = 30 * time.Minute

// dependenciesOf returns the keys of the Packages that a Package waits for.
func dependenciesOf(pkg *v1alpha1.Package) (keys []v1alpha1.PackageKey) {
	for _, d := range pkg.Spec.DependsOn {
		namespace := d.Namespace
		if namespace == "" {
			namespace = pkg.Namespace
		}
		keys = append(keys, v1alpha1.KeyOf(namespace, d.Name))
	}
	return keys
}

// observeDependencies finds out what is known of the Packages that are waited for.
func (c *Controller) observeDependencies(ctx context.Context, v *visit) error {
	v.dependencies = nil
	if len(v.pkg.Spec.DependsOn) == 0 {
		return nil
	}
	keys := dependenciesOf(v.pkg)
	for i, spec := range v.pkg.Spec.DependsOn {
		d := decide.Dependency{Key: keys[i], Timeout: defaultDependencyTimeout}
		if spec.Timeout != nil {
			d.Timeout = spec.Timeout.Duration
		}
		if spec.ClusterSelector != nil {
			selector, err := metav1.LabelSelectorAsSelector(spec.ClusterSelector)
			if err != nil {
				d.Wrong = fmt.Sprintf("spec.dependsOn[%d].clusterSelector cannot be read: %v", i, err)
			}
			d.Selector = selector
		}
		if err := c.observeDependency(ctx, &d); err != nil {
			return err
		}
		v.dependencies = append(v.dependencies, d)
	}
	if cycle := c.cycle(ctx, v); cycle != "" {
		for i := range v.dependencies {
			v.dependencies[i].Wrong = cycle
		}
	}
	return nil
}

// observeDependency reads what is known of a Package that is waited for.
func (c *Controller) observeDependency(ctx context.Context, d *decide.Dependency) error {
	namespace, name := d.Key.Split()
	var pkg v1alpha1.Package
	err := c.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &pkg)
	if apierrors.IsNotFound(err) {
		d.Wrong = fmt.Sprintf("there is no package %s (spec.dependsOn)", d.Key)
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading package %s, which is depended on: %w", d.Key, err)
	}
	v := &visit{key: d.Key, pkg: &pkg, memo: &memo{}} // its own pass has the last word on all of that
	if err := c.observePlacement(ctx, v); err != nil {
		return err
	}
	if err := c.observeRelease(ctx, v); err != nil {
		return err
	}
	if err := c.stage(ctx, v); err != nil {
		return err
	}
	d.Seen = v.seen
	d.Members, err = membersOf(ctx, c.client, v)
	return err
}

// cycle says by which way a Package waits for itself.
func (c *Controller) cycle(ctx context.Context, v *visit) string {
	way := decide.Cycle(v.key, func(key v1alpha1.PackageKey) []v1alpha1.PackageKey {
		if key == v.key {
			return dependenciesOf(v.pkg)
		}
		namespace, name := key.Split()
		var pkg v1alpha1.Package
		err := c.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &pkg, client.UnsafeDisableDeepCopy)
		if err != nil {
			return nil // what is not there waits for nothing
		}
		return dependenciesOf(&pkg)
	})
	if way == nil {
		return ""
	}
	return "the package waits for itself (spec.dependsOn): " + strings.Join(way, " → ")
}

// tellDependencies sets the condition of what is waited for. Without dependencies there is none.
func (c *Controller) tellDependencies(_ context.Context, v *visit) error {
	if len(v.dependencies) == 0 {
		meta.RemoveStatusCondition(&v.pkg.Status.Conditions, v1alpha1.ConditionDependencies)
		return nil
	}
	before := meta.FindStatusCondition(v.pkg.Status.Conditions, v1alpha1.ConditionDependencies)
	waits := map[v1alpha1.ClusterName]string{}
	for _, seen := range slices.Backward(v.sights) { // what a cluster is told goes before what it will be
		maps.Copy(waits, decide.Waits(v.dependencies, seen, v.members))
	}
	now, again := decide.Dependencies(v.dependencies, waits, before, c.now())
	if again > 0 {
		v.again(again)
	}
	if now.Reason == v1alpha1.ReasonDependencyTimeout && (before == nil || before.Reason != now.Reason) {
		v.happened(corev1.EventTypeWarning, now.Reason, "Wait", "%s", now.Message)
	}
	v.set(now)
	return nil
}

// ofDependency asks again for the Packages that wait for one that changed.
func (c *Controller) ofDependency(ctx context.Context, pkg client.Object) (requests []reconcile.Request) {
	for _, key := range c.dependents(ctx, v1alpha1.KeyOf(pkg.GetNamespace(), pkg.GetName())) {
		requests = append(requests, request(key))
	}
	return requests
}

// dependents returns the Packages that wait for another one.
func (c *Controller) dependents(ctx context.Context, key v1alpha1.PackageKey) (keys []v1alpha1.PackageKey) {
	var packages v1alpha1.PackageList
	if err := c.client.List(ctx, &packages, client.MatchingFields{packageByDependency: string(key)}, client.UnsafeDisableDeepCopy); err != nil {
		log.FromContext(ctx).Error(err, "listing the packages that depend on another", "package", key)
		return nil
	}
	for i := range packages.Items {
		keys = append(keys, v1alpha1.KeyOf(packages.Items[i].Namespace, packages.Items[i].Name))
	}
	return keys
}

// dependencyIndex lists what a Package waits for, for the index of the cache.
func dependencyIndex(o client.Object) (values []string) {
	pkg, ok := o.(*v1alpha1.Package)
	if !ok {
		return nil
	}
	for _, key := range dependenciesOf(pkg) {
		values = append(values, string(key))
	}
	return values
}
