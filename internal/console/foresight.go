package console

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/plan"
	"umbel.dev/umbel/internal/cli/view"
	"umbel.dev/umbel/internal/delivery/preview"
)

const (
	// maxAsked is how many clusters the page has asked of a plan: `umbel plan` asks all. planFor is how long they may take together, and
	// answerFor each of them.
	maxAsked           = 200
	planFor, answerFor = 2 * time.Minute, 30 * time.Second
	// plansAtOnce is how many plans the console makes at a time: each is a dry run of every object on every cluster.
	plansAtOnce = 2
	// maxChanges is how many changes of a group are shown, maxDiffs how many bytes of differences in all, and maxNames how many clusters of a group.
	maxChanges, maxDiffs, maxNames = 200, 1 << 20, 50
)

// PlanSight is what a release would do.
type PlanSight struct {
	Release string `json:"release"`
	Source  string `json:"source"`
	// Asked is how many of the clusters that it is for were asked.
	Asked  int         `json:"asked"`
	Of     int         `json:"of"`
	Groups []PlanGroup `json:"groups"`
	// Without are clusters that there is no content for, and Unasked those that could not be asked.
	Without []plan.Unasked `json:"without"`
	Unasked []plan.Unasked `json:"unasked"`
	// Lacks says what keeps it from being whole.
	Lacks []string `json:"lacks"`
	// Deeds are those that save it, as it is here; Unsaved says why there is none.
	Deeds   []Deed `json:"deeds"`
	Unsaved string `json:"unsaved,omitempty"`
}

// PlanGroup is clusters for which the changes are the same.
type PlanGroup struct {
	Summary  string                 `json:"summary"`
	Count    int                    `json:"count"`
	Clusters []v1alpha1.ClusterName `json:"clusters"`
	Changes  []preview.Change       `json:"changes"`
	// More is how many changes are not shown.
	More    int      `json:"more,omitempty"`
	Same    int      `json:"same"`
	Unknown []string `json:"unknown"`
}

func (c *Console) servePlan(w http.ResponseWriter, r *http.Request, s *session) {
	sight, err := c.plan(r, s, client.ObjectKey{Namespace: r.PathValue("ns"), Name: r.PathValue("name")})
	c.answer(w, r, sight, err)
}

func (c *Console) plan(r *http.Request, s *session, key client.ObjectKey) (*PlanSight, error) {
	var pkg v1alpha1.Package
	if err := c.object(r.Context(), s, "packages", key, &pkg); err != nil {
		return nil, err
	}
	release := cmp.Or(r.URL.Query().Get("release"), pkg.Status.Release)
	if release == "" {
		return nil, refused(http.StatusNotFound, "package %q has no release yet, so there is nothing to plan; `umbel plan %s` plans files of yours", key.Name, key.Name)
	}
	ctx, cancel := context.WithTimeout(r.Context(), planFor)
	defer cancel()
	end, err := c.plans.begin(ctx, "plans")
	if err != nil {
		return nil, err
	}
	defer end()
	made, err := plan.Released(ctx, c.desk(r, s, key.Namespace), key.Name, release, maxAsked, answerFor)
	if err != nil {
		return nil, ofHub(err)
	}
	sight := sightOf(made, release)
	kept, err := made.Keep()
	if err != nil {
		sight.Unsaved = err.Error()
		return sight, nil
	}
	save, err := c.saving(r.Context(), s, &pkg, sight, kept, made.Notes(&pkg))
	if err != nil {
		return nil, err
	}
	sight.Deeds = append(sight.Deeds, save)
	return sight, nil
}

// saving is the deed that keeps a plan on the hub, as `umbel plan --save` does. What was seen is what is saved: no cluster is asked anew.
func (c *Console) saving(ctx context.Context, s *session, pkg *v1alpha1.Package, sight *PlanSight, kept *v1alpha1.Plan, notes []string) (Deed, error) {
	plan.Beside(pkg, kept)
	means := fmt.Sprintf("What it says of %s is what may change there, where the package requires a plan, and nothing else.", v1alpha1.Counted(kept.Spec.Clusters, "cluster"))
	if sight.Asked < sight.Of {
		means += fmt.Sprintf(" %s were not asked, and wait for another plan: the command asks all.", v1alpha1.Counted(sight.Of-sight.Asked, "cluster"))
	}
	for _, g := range sight.Groups {
		if g.More > 0 {
			means += fmt.Sprintf(" Of %s it holds changes that are not shown here: `umbel plan` shows all.", v1alpha1.Counted(g.Count, "cluster"))
		}
	}
	kubectl, err := creating(kept)
	if err != nil {
		return Deed{}, fmt.Errorf("writing the plan of package %q: %w", pkg.Name, err)
	}
	return c.creates(ctx, s, "plans", kept, Deed{
		Name: "save", Title: "Save", Done: "saved", Means: strings.Join(append([]string{means}, notes...), " "),
		Umbel:   fmt.Sprintf("umbel plan %s --release %s --save%s", pkg.Name, sight.Release, view.InNamespace(pkg.Namespace)),
		Kubectl: kubectl,
	})
}

// sightOf is as much of a plan as a page shows.
func sightOf(made *plan.Plan, release string) *PlanSight {
	s := &PlanSight{
		Release: release, Source: made.Source, Of: made.Of(), Asked: min(made.Of(), maxAsked), Groups: []PlanGroup{}, Deeds: []Deed{}, Lacks: append([]string{}, made.Lacks()...),
		Without: append([]plan.Unasked{}, made.Without[:min(len(made.Without), maxNames)]...), Unasked: append([]plan.Unasked{}, made.Unasked[:min(len(made.Unasked), maxNames)]...),
	}
	room := maxDiffs
	for _, g := range made.Groups {
		one := PlanGroup{
			Summary: g.Summary(), Count: len(g.Clusters), Clusters: g.Clusters[:min(len(g.Clusters), maxNames)], Same: g.Same, Unknown: append([]string{}, g.Unknown...),
			Changes: append([]preview.Change{}, g.Changes[:min(len(g.Changes), maxChanges)]...), More: max(0, len(g.Changes)-maxChanges),
		}
		for i := range one.Changes {
			change := &one.Changes[i]
			if shown := whole(change.Diff, room); len(shown) < len(change.Diff) {
				change.Note = strings.TrimPrefix(fmt.Sprintf("%s; the difference is longer than the page shows: `umbel plan` has all of it", change.Note), "; ")
				change.Diff = shown
			}
			room -= len(change.Diff)
		}
		s.Groups = append(s.Groups, one)
	}
	return s
}

// whole is as many whole lines of a text as have room.
func whole(text string, room int) string {
	if len(text) <= room {
		return text
	}
	return text[:strings.LastIndexByte(text[:max(room, 0)], '\n')+1]
}
