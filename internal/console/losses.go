package console

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/view"
	"umbel.dev/umbel/internal/cli/word"
)

// DriftRow is what somebody else did to an object of a package.
type DriftRow struct {
	Cluster v1alpha1.ClusterName `json:"cluster"`
	Drift   v1alpha1.Drift       `json:"drift"`
}

// DriftPage is a part of what drifted of a package: the latest ten of each cluster, as its agent says.
type DriftPage struct {
	Rows  []DriftRow `json:"rows"`
	From  int        `json:"from"`
	Total int        `json:"total"`
	// Left is on how many clusters objects are left as others made them, and Away how many are not connected.
	Left int `json:"left"`
	Away int `json:"away"`
}

// LossRow is what a cluster lost of a package.
type LossRow struct {
	Cluster  v1alpha1.ClusterName    `json:"cluster"`
	Deletion v1alpha1.MemberDeletion `json:"deletion"`
	// Deeds are those that bring it back.
	Deeds []Deed `json:"deeds"`
}

// LossPage is a part of what was deleted of a package.
type LossPage struct {
	Rows  []LossRow `json:"rows"`
	From  int       `json:"from"`
	Total int       `json:"total"`
}

func (c *Console) serveDrift(w http.ResponseWriter, r *http.Request, s *session) {
	page, err := c.driftPage(r.Context(), s, client.ObjectKey{Namespace: r.PathValue("ns"), Name: r.PathValue("name")}, r.URL.Query())
	c.answer(w, r, page, err)
}

func (c *Console) driftPage(ctx context.Context, s *session, key client.ObjectKey, query url.Values) (*DriftPage, error) {
	if err := c.object(ctx, s, "packages", key, &v1alpha1.Package{}); err != nil {
		return nil, err
	}
	clusters, err := c.clusters(ctx, s)
	if err != nil {
		return nil, err
	}
	m, words := c.moment(ctx), strings.Fields(strings.ToLower(query.Get("q")))
	page := &DriftPage{Rows: []DriftRow{}}
	var rows []DriftRow
	for i := range clusters {
		for _, held := range clusters[i].Status.Packages {
			if held.Package != v1alpha1.KeyOf(key.Namespace, key.Name) {
				continue
			}
			if held.Drifting > 0 {
				page.Left++
			}
			if !m.IsConnected(&clusters[i]) {
				page.Away++
			}
			for _, drift := range held.Drifts {
				row := DriftRow{v1alpha1.ClusterName(clusters[i].Name), drift}
				text := strings.ToLower(strings.Join(append([]string{string(row.Cluster), drift.Object, string(drift.Action), drift.By, drift.User}, drift.Fields...), " "))
				if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(text, word) }) {
					rows = append(rows, row)
				}
			}
		}
	}
	slices.SortStableFunc(rows, func(a, b DriftRow) int {
		return cmp.Or(b.Drift.Time.Compare(a.Drift.Time.Time), cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Drift.Object, b.Drift.Object))
	})
	from, to := window(query, len(rows))
	page.Rows, page.From, page.Total = append(page.Rows, rows[from:to]...), from, len(rows)
	return page, nil
}

func (c *Console) serveLosses(w http.ResponseWriter, r *http.Request, s *session) {
	page, err := c.lossPage(r.Context(), s, client.ObjectKey{Namespace: r.PathValue("ns"), Name: r.PathValue("name")}, r.URL.Query())
	c.answer(w, r, page, err)
}

func (c *Console) lossPage(ctx context.Context, s *session, key client.ObjectKey, query url.Values) (*LossPage, error) {
	if err := c.object(ctx, s, "packages", key, &v1alpha1.Package{}); err != nil {
		return nil, err
	}
	clusters, err := c.clusters(ctx, s)
	if err != nil {
		return nil, err
	}
	type loss struct {
		member   *v1alpha1.MemberCluster
		deletion v1alpha1.MemberDeletion
	}
	var all []loss
	for i := range clusters {
		for _, d := range word.Deletions(&clusters[i]) {
			if d.Package == v1alpha1.KeyOf(key.Namespace, key.Name) {
				all = append(all, loss{&clusters[i], d})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b loss) int {
		return cmp.Or(b.deletion.Time.Compare(a.deletion.Time.Time), cmp.Compare(a.member.Name, b.member.Name))
	})
	page := &LossPage{Rows: []LossRow{}, Total: len(all)}
	var to int
	page.From, to = window(query, len(all))
	for _, one := range all[page.From:to] {
		row := LossRow{Cluster: v1alpha1.ClusterName(one.member.Name), Deletion: one.deletion, Deeds: []Deed{}}
		if one.deletion.State == v1alpha1.DeletionKept {
			if row.Deeds, err = deeds(ctx, c, s, "memberclusters", one.member, []saying[*v1alpha1.MemberCluster]{{
				name: "undo", title: "Bring back", umbel: fmt.Sprintf("umbel undo %s --cluster %s%s", one.deletion.ID, one.member.Name, view.InNamespace(key.Namespace)),
				means: fmt.Sprintf("%s come back on cluster %s as they were, and stay: no release deletes them until somebody approves that.",
					v1alpha1.Counted(one.deletion.Objects, "object"), one.member.Name),
				details: one.deletion.Names,
				change:  func(m *v1alpha1.MemberCluster) (string, error) { return word.Undo(m, one.deletion.ID) },
			}}); err != nil {
				return nil, err
			}
		}
		page.Rows = append(page.Rows, row)
	}
	return page, nil
}

// deleteDeeds let a release delete what the budget of its package does not allow, or clusters lose the package.
func (c *Console) deleteDeeds(ctx context.Context, s *session, pkg *v1alpha1.Package) ([]saying[*v1alpha1.Package], error) {
	var list v1alpha1.MemberClusterList
	if may, err := c.may(ctx, s, "list", "memberclusters", "", ""); err != nil || !may { // who does not see them approves nothing of theirs
		return nil, err
	}
	if err := c.cache.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	at, n := metav1.NewMicroTime(c.Now()), view.InNamespace(pkg.Namespace)
	var sayings []saying[*v1alpha1.Package]
	byRelease := map[string][]word.Waiting{}
	for _, w := range word.Held(v1alpha1.KeyOf(pkg.Namespace, pkg.Name), list.Items) {
		byRelease[w.Release] = append(byRelease[w.Release], w)
	}
	for _, release := range slices.Sorted(maps.Keys(byRelease)) {
		held := byRelease[release]
		sayings = append(sayings, saying[*v1alpha1.Package]{
			name: "approve-deletes", title: "Approve deletes", umbel: fmt.Sprintf("umbel approve deletes %s --release %s%s", pkg.Name, release, n),
			means: fmt.Sprintf("Release %s deletes the objects below, and no more of them on any cluster. `umbel undo` brings back what it can: Namespaces, CustomResourceDefinitions and "+
				"PersistentVolumeClaims take along what is in them, and that does not come back.", release),
			details: heldLines(held),
			change:  func(p *v1alpha1.Package) (string, error) { return word.ApproveDeletes(p, held, false, at) },
		})
	}
	placement, err := c.placementOf(ctx, pkg)
	if err != nil {
		return nil, err
	}
	if leaving := word.Leaving(pkg, placement, list.Items); len(leaving) > 0 {
		sayings = append(sayings, saying[*v1alpha1.Package]{
			name: "approve-removal", title: "Approve removal", umbel: "umbel approve deletes " + pkg.Name + n,
			means:   fmt.Sprintf("Placement %s does not select %s any more, which lose all of the package.", placement.Name, v1alpha1.Counted(len(leaving), "cluster")),
			details: fewOf(leaving), change: func(p *v1alpha1.Package) (string, error) { return word.ApproveRemoval(p, placement, leaving, at) },
		})
	}
	return sayings, nil
}

// maxDetails is how many lines a question shows.
const maxDetails = 20

func heldLines(held []word.Waiting) (lines []string) {
	for _, w := range held[:min(len(held), maxDetails)] {
		line := fmt.Sprintf("%s: %d of %d objects", w.Cluster, w.Held.Objects, w.Held.Holds)
		if w.Held.Protected > 0 {
			line += fmt.Sprintf(", %d of them protected", w.Held.Protected)
		}
		line += ": " + strings.Join(w.Held.Names, ", ")
		if more := int(w.Held.Objects) - len(w.Held.Names); more > 0 {
			line += fmt.Sprintf(" and %d more", more)
		}
		lines = append(lines, line)
	}
	if more := len(held) - len(lines); more > 0 {
		lines = append(lines, fmt.Sprintf("and on %d more clusters", more))
	}
	return lines
}

func fewOf(names []v1alpha1.ClusterName) (lines []string) {
	for _, name := range names[:min(len(names), maxDetails)] {
		lines = append(lines, string(name))
	}
	if more := len(names) - len(lines); more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return lines
}
