package decide

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
)

// Team is what the Namespace of a Package says of whose it is. Nothing that the Package itself says can change it.
type Team struct {
	// ActsAs is whom its Packages act as on members; nil is the agent: they are the platform's.
	ActsAs *wire.ServiceAccount
	// Packages, Objects of one of them and Clusters of one of them are how many there may be; nil is without bound.
	Packages, Objects, Clusters *int
}

var accountForm = regexp.MustCompile(`^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)/([a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?)$`)

// TeamIn is whom a Package acts as, by its status.
func TeamIn(status *v1alpha1.PackageStatus) (team Team) {
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

// ErrTooLarge says that a Release would be larger than the Namespace allows.
var ErrTooLarge = errors.New("too large")

// TooLarge says which of the variants of a Release has more objects than the Namespace allows.
func (t Team) TooLarge(namespace string, variants []v1alpha1.Variant) error {
	if t.Objects == nil {
		return nil
	}
	i := slices.IndexFunc(variants, func(v v1alpha1.Variant) bool { return int(v.Objects) > *t.Objects })
	if i < 0 {
		return nil
	}
	return fmt.Errorf("%w: it has %s, and a package of namespace %s may have %d (%s): make two of it, or ask whoever runs the hub for more",
		ErrTooLarge, v1alpha1.Counted(variants[i].Objects, "object"), namespace, *t.Objects, v1alpha1.MaxObjectsAnnotation)
}
