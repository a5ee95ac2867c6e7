package apply

import (
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/apply/witness"
	"umbel.dev/umbel/internal/delivery/bundle"
)

// whose has a drift that was told be told again with the name of who did it, once the audit log says so.
func (e *Engine) whose(u *unit, c *clue) {
	if e.witness == nil || c.question.Noticed.IsZero() {
		return
	}
	e.witness.Ask(c.question, func(answer witness.Answer) {
		by := c.drift.By
		if !c.drift.Deleted && c.question.Manager == "" {
			by = answer.Manager // whose last trace in managed fields was of something else
		}
		u.named(c.id, answer.User, by)
		u.mu.Lock()
		u.standing.drifts = withName(u.standing.drifts, c.drift, func(d *wire.Drift) { d.User, d.By = answer.User, by })
		u.mu.Unlock()
		e.reports.drifted(u.key, e.needs.Now())
	})
}

// holds says whether an object is applied here, or of a kind of which some are when it has no name.
func (e *Engine) holds(p witness.Place) bool {
	if strings.HasPrefix(p.Name, guardPrefix) && (p.Resource == "validatingadmissionpolicies" || p.Resource == "validatingadmissionpolicybindings") {
		return true
	}
	kind := e.watches.kindOf(p.Group, p.Resource)
	return kind != "" && (p.Name == "" || e.index.get(bundle.Key{Group: p.Group, Kind: kind, Namespace: p.Namespace, Name: p.Name}) != nil)
}

// kindOf returns the kind of a resource that is watched, empty for one that is not.
func (w *watches) kindOf(group, resource string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for gvr, k := range w.running {
		if gvr.Group == group && gvr.Resource == resource {
			return k.gvk.Kind
		}
	}
	return ""
}

// placeOf is an object as an API server's audit log names it.
func placeOf(gvr schema.GroupVersionResource, key bundle.Key) witness.Place {
	return witness.Place{Group: gvr.Group, Resource: gvr.Resource, Namespace: key.Namespace, Name: key.Name}
}
