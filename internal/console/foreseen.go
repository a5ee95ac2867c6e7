package console

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/explain"
	"umbel.dev/umbel/internal/cli/view"
)

const (
	// maxSelector and maxExpression are how long what is tried may be.
	maxSelector, maxExpression = 4096, 4096
	// triesAtOnce is how many selectors are tried at a time.
	triesAtOnce = 4
)

// ForeseenPage is which clusters a placement would select, and why not the others: a part of them, those that it would select first.
type ForeseenPage struct {
	// Problem says what of it cannot be read; then there is nothing else.
	Problem string        `json:"problem,omitempty"`
	Means   string        `json:"means"`
	Rows    []ForeseenRow `json:"rows"`
	From    int           `json:"from"`
	Total   int           `json:"total"`
	// Selected, Undecided and Not are how many there are of each.
	Selected  int `json:"selected"`
	Undecided int `json:"undecided"`
	Not       int `json:"not"`
	// Comes and Leaves are by how many that differs from what the placement selects now.
	Comes  int `json:"comes"`
	Leaves int `json:"leaves"`
	// Deeds has the one that makes a placement of it, once somebody has named it.
	Deeds []Deed `json:"deeds"`
}

// ForeseenRow is what a placement would say of a cluster.
type ForeseenRow struct {
	explain.Verdict
	// Change is Comes or Leaves, where it is not so now.
	Change string `json:"change,omitempty"`
}

func (c *Console) serveForeseen(w http.ResponseWriter, r *http.Request, s *session) {
	page, err := c.foresee(r, s)
	c.answer(w, r, page, err)
}

// foresee decides, with the code that the hub decides with, what a placement would select: a new one, or one that is there, with another selector.
func (c *Console) foresee(r *http.Request, s *session) (*ForeseenPage, error) {
	ctx, query := r.Context(), r.URL.Query()
	clusters, err := c.clusters(ctx, s)
	if err != nil {
		return nil, err
	}
	placement := &v1alpha1.Placement{}
	if namespace, name, of := strings.Cut(query.Get("of"), "/"); of {
		if err := c.object(ctx, s, "placements", client.ObjectKey{Namespace: namespace, Name: name}, placement); err != nil {
			return nil, err
		}
	}
	placement.Generation++ // a spec that is changed is a person's word: whoever does not meet it leaves at once
	page := &ForeseenPage{Rows: []ForeseenRow{}, Deeds: []Deed{}}
	if len(query.Get("labels")) > maxSelector || len(query.Get("expression")) > maxExpression {
		page.Problem = "it is longer than the page tries"
		return page, nil
	}
	selector, err := metav1.ParseToLabelSelector(query.Get("labels"))
	if err != nil {
		page.Problem = err.Error()
		return page, nil
	}
	placement.Spec.ClusterSelector = *selector
	if expression := query.Get("expression"); expression != "" {
		placement.Spec.Expressions = append(slices.Clone(placement.Spec.Expressions), expression)
	}
	end, err := c.tries.begin(ctx, "selectors")
	if err != nil {
		return nil, err
	}
	defer end()
	foresight, err := explain.Foresee(placement, clusters, c.Now())
	if err != nil {
		page.Problem = err.Error()
		return page, nil
	}
	if name := query.Get("as"); name != "" {
		deed, err := c.placing(ctx, s, client.ObjectKey{Namespace: cmp.Or(query.Get("in"), "default"), Name: name}, &placement.Spec)
		if err != nil {
			return nil, err
		}
		page.Deeds = append(page.Deeds, deed)
	}
	return page.of(placement, foresight, query.Get("state"), func(total int) (int, int) { return window(query, total) }), nil
}

// placing is the deed that makes a placement of what was tried. It is never one that is there: that one's packages would follow.
func (c *Console) placing(ctx context.Context, s *session, key client.ObjectKey, spec *v1alpha1.PlacementSpec) (Deed, error) {
	written, err := runtime.DefaultUnstructuredConverter.ToUnstructured(spec)
	if err != nil {
		return Deed{}, fmt.Errorf("writing placement %q: %w", key.Name, err)
	}
	if spec.Stay == (v1alpha1.Stay{}) {
		delete(written, "stay") // a struct is written even where nothing is in it
	}
	made := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": "Placement",
		"metadata": map[string]any{"namespace": key.Namespace, "name": key.Name}, "spec": written,
	}}
	kubectl, err := creating(made)
	if err != nil {
		return Deed{}, fmt.Errorf("writing placement %q: %w", key.Name, err)
	}
	return c.creates(ctx, s, "placements", made, Deed{
		Name: "place", Title: "Make the placement", Done: "made",
		Means:   fmt.Sprintf("It selects these clusters, and whichever are so later. Nothing is brought to them until a package of namespace %s names it in spec.placementRef.", key.Namespace),
		Kubectl: kubectl,
	})
}

// of fills the page. state is that of the clusters that are shown, where not all are.
func (p *ForeseenPage) of(placement *v1alpha1.Placement, foresight *explain.Foresight, state string, window func(total int) (from, to int)) *ForeseenPage {
	p.Means, p.Selected, p.Undecided = view.Means(&placement.Spec), foresight.Selected, foresight.Undecided
	p.Not = len(foresight.Verdicts) - p.Selected - p.Undecided
	rows := []ForeseenRow{}
	for _, verdict := range foresight.Verdicts {
		row := ForeseenRow{Verdict: verdict}
		_, selected := slices.BinarySearch(placement.Status.Clusters, verdict.Cluster)
		switch {
		case placement.Name == "": // a new one has none now
		case selected && verdict.State == explain.NotSelected:
			row.Change = "Leaves"
			p.Leaves++
		case !selected && verdict.State == explain.Selected:
			row.Change = "Comes"
			p.Comes++
		}
		if state == "" || state == string(verdict.State) {
			rows = append(rows, row)
		}
	}
	var to int
	p.Total = len(rows)
	p.From, to = window(p.Total)
	for _, row := range rows[p.From:to] {
		if row.State != explain.Selected {
			row.Because = foresight.Because(row.Cluster)
		}
		p.Rows = append(p.Rows, row)
	}
	return p
}
