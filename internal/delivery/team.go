package delivery

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
)

// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch

// Team is what the Namespace of a Package says of whose it is. Nothing that the Package itself says can change it.
type Team struct {
	// ActsAs is whom its Packages act as on members; nil is the agent: they are the platform's.
	ActsAs *wire.ServiceAccount
	// Packages, Objects of one of them and Clusters of one of them are how many there may be; nil is without bound.
	Packages, Objects, Clusters *int
}

var accountForm = regexp.MustCompile(`^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)/([a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?)$`)

// teamIn is whom a Package acts as, by its status.
func teamIn(status *v1alpha1.PackageStatus) (team Team) {
	if namespace, name, acts := strings.Cut(status.ActsAs, "/"); acts {
		team.ActsAs = &wire.ServiceAccount{Namespace: namespace, Name: name}
	}
	return team
}

// TeamOf reads the annotations of a Namespace. What cannot be understood is an error: then nobody knows as whom to act.
func TeamOf(annotations map[string]string) (Team, error) {
	var team Team
	if text, there := annotations[v1alpha1.ActsAsAnnotation]; there {
		parts := accountForm.FindStringSubmatch(text)
		if parts == nil {
			return Team{}, fmt.Errorf("%s is %.80q, want NAMESPACE/NAME of a ServiceAccount of the clusters", v1alpha1.ActsAsAnnotation, text)
		}
		team.ActsAs = &wire.ServiceAccount{Namespace: parts[1], Name: parts[3]}
	}
	for _, each := range []struct {
		annotation string
		limit      **int
	}{
		{v1alpha1.MaxPackagesAnnotation, &team.Packages}, {v1alpha1.MaxObjectsAnnotation, &team.Objects}, {v1alpha1.MaxClustersAnnotation, &team.Clusters},
	} {
		text, there := annotations[each.annotation]
		if !there {
			continue
		}
		limit, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			return Team{}, fmt.Errorf("%s is %.80q, want a number", each.annotation, text)
		}
		*each.limit = new(int(limit))
	}
	return team, nil
}

// Bar is why a Package is not delivered at all. The zero value is no reason.
type Bar struct{ Reason, Message string }

// Bars says whether the Namespace keeps a Package from being delivered: peers are the Packages of it, the Package among them.
// Those that came first are within the quota.
func (t Team) Bars(pkg *v1alpha1.Package, peers []v1alpha1.Package, placement *v1alpha1.Placement) Bar {
	if t.Packages != nil {
		earlier := 0
		for i := range peers {
			if cameBefore(&peers[i], pkg) {
				earlier++
			}
		}
		if earlier >= *t.Packages {
			return Bar{v1alpha1.ReasonQuotaExceeded, fmt.Sprintf("namespace %s may have %s (%s), and %d %s made before this one: delete one, or ask whoever runs the hub for more",
				pkg.Namespace, v1alpha1.Counted(*t.Packages, "package"), v1alpha1.MaxPackagesAnnotation, earlier, v1alpha1.Agreeing(earlier, "was", "were"))}
		}
	}
	if t.Clusters != nil && decisionOf(placement) == decided && len(placement.Status.Clusters) > *t.Clusters {
		return Bar{v1alpha1.ReasonQuotaExceeded, fmt.Sprintf("placement %q selects %s, and a package of namespace %s may be on %d (%s): select fewer, or ask whoever runs the hub for more",
			placement.Name, v1alpha1.Counted(len(placement.Status.Clusters), "cluster"), pkg.Namespace, *t.Clusters, v1alpha1.MaxClustersAnnotation)}
	}
	return Bar{}
}

// cameBefore says which of two Packages was made first; of those of one second, it is the order of the names.
func cameBefore(a, b *v1alpha1.Package) bool {
	if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return a.CreationTimestamp.Before(&b.CreationTimestamp)
	}
	return a.Name < b.Name
}

// limit tells apart how many objects there may be.
func (t Team) limit() string {
	if t.Objects == nil {
		return ""
	}
	return strconv.Itoa(*t.Objects)
}

// errTooLarge says that a Release would be larger than the Namespace allows.
var errTooLarge = errors.New("too large")

// tooLarge says which of the variants of a Release has more objects than the Namespace allows.
func (t Team) tooLarge(namespace string, variants []v1alpha1.Variant) error {
	if t.Objects == nil {
		return nil
	}
	i := slices.IndexFunc(variants, func(v v1alpha1.Variant) bool { return int(v.Objects) > *t.Objects })
	if i < 0 {
		return nil
	}
	return fmt.Errorf("%w: it has %s, and a package of namespace %s may have %d (%s): make two of it, or ask whoever runs the hub for more",
		errTooLarge, v1alpha1.Counted(variants[i].Objects, "object"), namespace, *t.Objects, v1alpha1.MaxObjectsAnnotation)
}

// barredFor is how soon a Package is looked at again that was one too many: nobody tells it that another one went.
const barredFor = 10 * time.Second

// observeTeam finds out whose the Package is. While that is not known nothing is published, so that agents go on as they were
// told.
func (c *Controller) observeTeam(ctx context.Context, v *visit) error {
	namespace, err := c.namespaceOf(ctx, v)
	if err != nil {
		return err
	}
	v.team, err = TeamOf(namespace.Annotations)
	if err != nil {
		v.seen.Bar = Bar{v1alpha1.ReasonTeamInvalid, fmt.Sprintf("namespace %s of the hub: %s: whoever runs the hub has to put that right", v.pkg.Namespace, err)}
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
	if v.seen.Bar = v.team.Bars(v.pkg, peers.Items, v.seen.Placement); v.seen.Bar != (Bar{}) {
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
