package console

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/view"
)

// Said is a condition, and what may be believed of it now.
type Said struct {
	Type    string      `json:"type"`
	Status  Word        `json:"status"`
	Reason  string      `json:"reason"`
	Message string      `json:"message"`
	Since   metav1.Time `json:"since"`
}

func conditions(of []metav1.Condition, believed func(metav1.Condition) output.Cell) []Said {
	said := []Said{}
	for _, c := range of {
		said = append(said, Said{c.Type, toned(believed(c)), c.Reason, c.Message, c.LastTransitionTime})
	}
	return said
}

// HeldPackage is a package on a cluster.
type HeldPackage struct {
	State   view.State             `json:"state"`
	Message string                 `json:"message,omitempty"`
	Package v1alpha1.MemberPackage `json:"package"`
}

// ClusterDetails is what is known of a cluster.
type ClusterDetails struct {
	Hub        HubState               `json:"hub"`
	Row        ClusterRow             `json:"row"`
	Cluster    v1alpha1.MemberCluster `json:"cluster"`
	Conditions []Said                 `json:"conditions"`
	Packages   []HeldPackage          `json:"packages"`
	// Next are the steps that its conditions suggest; commands are between backquotes.
	Next []string `json:"next"`
	// Reachable says whether its API can be asked now.
	Reachable bool   `json:"reachable"`
	Deeds     []Deed `json:"deeds"`
}

// object reads one object from the cache, of somebody who may get it.
func (c *Console) object(ctx context.Context, s *session, resource string, key client.ObjectKey, into client.Object) error {
	if err := c.must(ctx, s, "get", resource, key.Namespace, key.Name); err != nil {
		return err
	}
	err := c.cache.Get(ctx, key, into)
	if apierrors.IsNotFound(err) {
		return refused(http.StatusNotFound, "there is no %s %q on this hub (any more)", strings.TrimSuffix(resource, "s"), strings.TrimPrefix(key.String(), "/"))
	}
	into.SetManagedFields(nil)
	return err
}

func (c *Console) serveCluster(w http.ResponseWriter, r *http.Request, s *session) {
	details, err := c.clusterDetails(r.Context(), s, r.PathValue("name"))
	c.answer(w, r, details, err)
}

func (c *Console) clusterDetails(ctx context.Context, s *session, name string) (*ClusterDetails, error) {
	d := &ClusterDetails{Packages: []HeldPackage{}}
	if err := c.object(ctx, s, "memberclusters", client.ObjectKey{Name: name}, &d.Cluster); err != nil {
		return nil, err
	}
	m := c.moment(ctx)
	d.Hub, d.Row, d.Reachable = hubState(m), clusterRow(m, &d.Cluster), m.IsConnected(&d.Cluster)
	d.Conditions = conditions(d.Cluster.Status.Conditions, func(c metav1.Condition) output.Cell { return m.ClusterCondition(&d.Cluster, c) })
	for _, held := range d.Cluster.Status.Packages {
		state, message := m.HeldState(&d.Cluster, &held)
		d.Packages = append(d.Packages, HeldPackage{state, message, held})
	}
	d.Next = append([]string{}, m.ClusterSteps(&d.Cluster, "")...)
	var err error
	d.Deeds, err = c.clusterDeeds(ctx, s, &d.Cluster)
	return d, err
}

// PackageRow is a package in a list.
type PackageRow struct {
	Namespace string                 `json:"namespace"`
	Name      string                 `json:"name"`
	Ready     Word                   `json:"ready"`
	Since     *metav1.Time           `json:"since,omitempty"`
	Message   string                 `json:"message,omitempty"`
	Source    string                 `json:"source,omitempty"`
	Revision  string                 `json:"revision,omitempty"`
	Release   string                 `json:"release,omitempty"`
	Placement string                 `json:"placement"`
	Clusters  v1alpha1.ClusterCounts `json:"clusters"`
	Created   metav1.Time            `json:"created"`
}

func packageRow(m view.Moment, pkg *v1alpha1.Package) PackageRow {
	row := PackageRow{
		Namespace: pkg.Namespace, Name: pkg.Name, Ready: toned(m.PackageReady(pkg)), Message: view.Message(pkg.Status.Conditions),
		Source: view.SourceOf(pkg.Spec.Source).URL, Revision: view.Revision(pkg.Status.Revision), Release: pkg.Status.Release,
		Placement: pkg.Spec.PlacementRef.Name, Clusters: pkg.Status.Clusters, Created: pkg.CreationTimestamp,
	}
	if i := slices.IndexFunc(pkg.Status.Conditions, func(c metav1.Condition) bool { return c.Type == v1alpha1.ConditionReady }); i >= 0 {
		row.Since = &pkg.Status.Conditions[i].LastTransitionTime
	}
	return row
}

// PackagePage is a part of the packages that match.
type PackagePage struct {
	Hub   HubState     `json:"hub"`
	Rows  []PackageRow `json:"rows"`
	From  int          `json:"from"`
	Total int          `json:"total"`
	All   int          `json:"all"`
}

// visible keeps of objects in namespaces those that somebody may list: all of them, or those of some namespaces.
func visible[T any, P interface {
	*T
	client.Object
}](ctx context.Context, c *Console, s *session, resource string, all []T) ([]T, error) {
	everywhere, err := c.may(ctx, s, "list", resource, "", "")
	if err != nil || everywhere {
		return all, err
	}
	seen := map[string]bool{}
	var kept []T
	for i := range all {
		namespace := P(&all[i]).GetNamespace()
		if _, asked := seen[namespace]; !asked {
			if seen[namespace], err = c.may(ctx, s, "list", resource, namespace, ""); err != nil {
				return nil, err
			}
		}
		if seen[namespace] {
			kept = append(kept, all[i])
		}
	}
	if len(kept) == 0 {
		return nil, c.must(ctx, s, "list", resource, "", "")
	}
	return kept, nil
}

func (c *Console) packages(ctx context.Context, s *session) ([]v1alpha1.Package, error) {
	var list v1alpha1.PackageList
	if err := c.cache.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	return visible(ctx, c, s, "packages", list.Items)
}

func (c *Console) servePackages(w http.ResponseWriter, r *http.Request, s *session) {
	page, err := c.packagePage(r.Context(), s, r.URL.Query())
	c.answer(w, r, page, err)
}

func (c *Console) packagePage(ctx context.Context, s *session, query url.Values) (*PackagePage, error) {
	packages, err := c.packages(ctx, s)
	if err != nil {
		return nil, err
	}
	m := c.moment(ctx)
	words := strings.Fields(strings.ToLower(query.Get("q")))
	var rows []PackageRow
	for i := range packages {
		row := packageRow(m, &packages[i])
		text := strings.ToLower(strings.Join([]string{row.Namespace + "/" + row.Name, row.Source, row.Placement, row.Message, row.Revision}, " "))
		if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(text, word) }) {
			rows = append(rows, row)
		}
	}
	worst := map[string]int{"Bad": 0, "Doubtful": 1, "Good": 2}
	slices.SortFunc(rows, func(a, b PackageRow) int {
		byName := cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Namespace, b.Namespace))
		if query.Get("sort") == "name" {
			return byName
		}
		return cmp.Or(cmp.Compare(worst[a.Ready.Tone], worst[b.Ready.Tone]), byName)
	})
	from, to := window(query, len(rows))
	return &PackagePage{Hub: hubState(m), Rows: append([]PackageRow{}, rows[from:to]...), From: from, Total: len(rows), All: len(packages)}, nil
}

// RolloutSight is a rollout, and what is said of it.
type RolloutSight struct {
	Rollout v1alpha1.Rollout `json:"rollout"`
	Phase   Word             `json:"phase"`
	Message string           `json:"message"`
	Counts  string           `json:"counts"`
	// Handle is how `umbel rollout` knows it.
	Handle string `json:"handle"`
	Deeds  []Deed `json:"deeds"`
	// Picture are its stages, cluster by cluster: for each, in the order of the names, its place in rolloutCells. It is empty once it is complete.
	Picture []Group `json:"picture"`
}

// rolloutCells are what becomes of a cluster in a rollout: failed, not heard of, waiting, moving, moved. It is their order in a picture.
const (
	cellFailed byte = '0' + iota
	cellOffline
	cellWaiting
	cellMoving
	cellMoved
)

// pictureOf draws the stages of a rollout, of so many clusters at most. states are how far clusters are with the package.
func pictureOf(r *v1alpha1.Rollout, states []view.ClusterState) []Group {
	cells := map[v1alpha1.ClusterName]byte{}
	for _, state := range states {
		if state.State == view.Unknown {
			cells[state.Cluster] = cellOffline
		}
	}
	for _, moving := range r.Status.Moving {
		for _, name := range moving.Clusters {
			cells[name] = cellMoving
			if moving.Failing != nil {
				cells[name] = cellFailed
			}
		}
	}
	for _, failure := range r.Status.Failures {
		cells[failure.Cluster] = cellFailed
	}
	groups, shown := []Group{}, 0
	for _, stage := range r.Status.Stages {
		g := Group{Value: stage.Name, Names: []string{}}
		drawn := map[string]byte{}
		for _, name := range stage.Moved {
			drawn[string(name)] = cmp.Or(cells[name], cellMoved)
		}
		for _, name := range stage.Waiting {
			drawn[string(name)] = cellWaiting
			if cells[name] == cellOffline {
				drawn[string(name)] = cellOffline
			}
		}
		names := slices.Sorted(maps.Keys(drawn))
		for _, name := range names[:min(len(names), maxCells-shown)] {
			g.Names, g.Cells = append(g.Names, name), g.Cells+string(drawn[name])
		}
		if shown += len(g.Names); len(g.Names) > 0 {
			groups = append(groups, g)
		}
	}
	return groups
}

// ReleaseRow is a release of a package, and its rollout when it had one.
type ReleaseRow struct {
	Name     string            `json:"name"`
	Revision string            `json:"revision"`
	Created  metav1.Time       `json:"created"`
	Objects  int32             `json:"objects"`
	Changes  *v1alpha1.Changes `json:"changes,omitempty"`
	Rollout  string            `json:"rollout,omitempty"`
	Phase    Word              `json:"phase"`
}

// PackageDetails is what is known of a package.
type PackageDetails struct {
	Hub        HubState         `json:"hub"`
	Row        PackageRow       `json:"row"`
	Package    v1alpha1.Package `json:"package"`
	Conditions []Said           `json:"conditions"`
	// States are how far clusters are: a part of them, the worst first, from From of Total that match.
	States []view.ClusterState `json:"states"`
	From   int                 `json:"from"`
	Total  int                 `json:"total"`
	Counts []Count             `json:"counts"`
	// Rollout is the newest; nil when there is none.
	Rollout  *RolloutSight `json:"rollout,omitempty"`
	Releases []ReleaseRow  `json:"releases"`
	Next     []string      `json:"next"`
	Deeds    []Deed        `json:"deeds"`
}

func (c *Console) servePackage(w http.ResponseWriter, r *http.Request, s *session) {
	details, err := c.packageDetails(r.Context(), s, client.ObjectKey{Namespace: r.PathValue("ns"), Name: r.PathValue("name")}, r.URL.Query())
	c.answer(w, r, details, err)
}

func (c *Console) packageDetails(ctx context.Context, s *session, key client.ObjectKey, query url.Values) (*PackageDetails, error) {
	d := &PackageDetails{}
	if err := c.object(ctx, s, "packages", key, &d.Package); err != nil {
		return nil, err
	}
	m := c.moment(ctx)
	pkg := &d.Package
	d.Hub, d.Row = hubState(m), packageRow(m, pkg)
	d.Conditions = conditions(pkg.Status.Conditions, func(c metav1.Condition) output.Cell { return m.Condition(c, pkg.Generation) })
	states, err := c.states(ctx, s, m, pkg)
	if err != nil {
		return nil, err
	}
	d.Next = append([]string{}, m.PackageSteps(pkg, states)...)
	d.show(states, query)
	if err := c.history(ctx, s, m, d); err != nil {
		return nil, err
	}
	if d.Deeds, err = c.packageDeeds(ctx, s, pkg); err != nil {
		return nil, err
	}
	if d.Rollout != nil {
		d.Rollout.Picture = pictureOf(&d.Rollout.Rollout, states)
		d.Rollout.Deeds, err = c.rolloutDeeds(ctx, s, &d.Rollout.Rollout)
	}
	return d, err
}

// states is how far each cluster is with a package. Of clusters that somebody may not list nothing is shown.
func (c *Console) states(ctx context.Context, s *session, m view.Moment, pkg *v1alpha1.Package) ([]view.ClusterState, error) {
	of := view.Fleet{Package: pkg}
	may, err := c.may(ctx, s, "list", "memberclusters", "", "")
	if err != nil || !may {
		return nil, err
	}
	var list v1alpha1.MemberClusterList
	if err := c.cache.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	of.Clusters = list.Items
	if of.Placement, err = c.placementOf(ctx, pkg); err != nil {
		return nil, err
	}
	var release v1alpha1.Release
	switch err := c.cache.Get(ctx, client.ObjectKey{Namespace: pkg.Namespace, Name: pkg.Status.Release}, &release); {
	case err == nil:
		of.Release = &release
	case !apierrors.IsNotFound(err):
		return nil, err
	}
	return m.States(of), nil
}

// placementOf is the placement of a package; nil when there is none.
func (c *Console) placementOf(ctx context.Context, pkg *v1alpha1.Package) (*v1alpha1.Placement, error) {
	var placement v1alpha1.Placement
	err := c.cache.Get(ctx, client.ObjectKey{Namespace: pkg.Namespace, Name: pkg.Spec.PlacementRef.Name}, &placement)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return &placement, err
}

// stateOrder has the worst first.
var stateOrder = []view.State{view.Failing, view.Unknown, view.Progressing, view.Removing, view.Ready}

// show counts states, and keeps those that are asked for.
func (d *PackageDetails) show(states []view.ClusterState, query url.Values) {
	counts := map[view.State]int{}
	for _, state := range states {
		counts[state.State]++
	}
	for _, state := range stateOrder {
		d.Counts = append(d.Counts, Count{string(state), counts[state]})
	}
	chosen, words := query["state"], strings.ToLower(query.Get("q"))
	kept := []view.ClusterState{}
	for _, state := range states {
		if (len(chosen) == 0 || slices.Contains(chosen, string(state.State))) && strings.Contains(strings.ToLower(string(state.Cluster)+" "+state.Message), words) {
			kept = append(kept, state)
		}
	}
	slices.SortStableFunc(kept, func(a, b view.ClusterState) int {
		return cmp.Compare(slices.Index(stateOrder, a.State), slices.Index(stateOrder, b.State))
	})
	from, to := window(query, len(kept))
	d.States, d.From, d.Total = kept[from:to], from, len(kept)
}

// history adds the releases and the newest rollout, as far as somebody may see them.
func (c *Console) history(ctx context.Context, s *session, m view.Moment, d *PackageDetails) error {
	d.Releases = []ReleaseRow{}
	namespace := client.InNamespace(d.Package.Namespace)
	var rollouts v1alpha1.RolloutList
	if may, err := c.may(ctx, s, "list", "rollouts", d.Package.Namespace, ""); err != nil {
		return err
	} else if may {
		if err := c.cache.List(ctx, &rollouts, namespace, client.UnsafeDisableDeepCopy); err != nil {
			return err
		}
	}
	byRelease := map[string]*v1alpha1.Rollout{}
	var newest *v1alpha1.Rollout
	for i := range rollouts.Items {
		r := &rollouts.Items[i]
		if r.Spec.PackageRef.Name != d.Package.Name {
			continue
		}
		if newest == nil || r.Spec.Number > newest.Spec.Number {
			newest = r
		}
		if was := byRelease[r.Spec.Release]; was == nil || was.Spec.Number < r.Spec.Number {
			byRelease[r.Spec.Release] = r
		}
	}
	if newest != nil {
		d.Rollout = &RolloutSight{
			Rollout: *newest.DeepCopy(), Phase: toned(m.RolloutPhase(newest)), Message: view.RolloutMessage(newest),
			Counts: view.RolloutCounts(newest), Handle: view.RolloutHandle(newest),
		}
	}
	var releases v1alpha1.ReleaseList
	if may, err := c.may(ctx, s, "list", "releases", d.Package.Namespace, ""); err != nil || !may {
		return err
	}
	if err := c.cache.List(ctx, &releases, namespace, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	for i := range releases.Items {
		if release := &releases.Items[i]; release.Spec.PackageRef.Name == d.Package.Name {
			d.Releases = append(d.Releases, releaseRow(m, release, byRelease[release.Name]))
		}
	}
	slices.SortFunc(d.Releases, func(a, b ReleaseRow) int {
		return cmp.Or(b.Created.Compare(a.Created.Time), cmp.Compare(a.Name, b.Name))
	})
	d.Releases = d.Releases[:min(len(d.Releases), defaultPage)]
	return nil
}

func releaseRow(m view.Moment, release *v1alpha1.Release, rollout *v1alpha1.Rollout) ReleaseRow {
	row := ReleaseRow{Name: release.Name, Revision: view.Revision(release.Spec.Revision), Created: release.CreationTimestamp, Phase: Word{Tone: "Plain"}}
	for _, variant := range release.Spec.Variants {
		row.Objects = max(row.Objects, variant.Objects)
		if variant.Changes == nil {
			continue
		}
		if row.Changes == nil {
			row.Changes = &v1alpha1.Changes{}
		}
		row.Changes.Added = max(row.Changes.Added, variant.Changes.Added)
		row.Changes.Changed = max(row.Changes.Changed, variant.Changes.Changed)
		row.Changes.Deleted = max(row.Changes.Deleted, variant.Changes.Deleted)
	}
	if rollout != nil {
		row.Rollout, row.Phase = rollout.Name, toned(m.RolloutPhase(rollout))
	}
	return row
}
