package apply

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/apply/disk"
	"umbel.dev/umbel/internal/delivery/bundle"
)

// Two packages may want the same object. Of equals the one that has it keeps it; the platform's goes before a team's, whoever
// came first, and the object is applied over, never deleted on the way. When the platform's gives it up, the team's gets it
// back, as any object is handed over. Both are told, unless it is a team's that may not have the object anyway: whose it is, and
// that it is there, is not for that team to know.

// maxContests is how many of them a status names; MemberCluster.status allows no more.
const maxContests = 10

// contend claims an object that the release has, over a team's package if need be.
func (u *unit) contend(key bundle.Key, at kind) (r *record, holder *unit) {
	r, holder = u.hold(key, at.gvr)
	if holder == u || u.team() || !holder.team() {
		return r, holder
	}
	had := r.provenBy(holder)
	u.engine.index.give(key, holder, u)
	if had {
		r.taken(u, holder.key)
	}
	poke(holder.kick)
	return r, r.unit()
}

// taken refuses an object that another package holds.
func (u *unit) taken(key bundle.Key, o disk.Object, holder *unit, refused refusals) {
	why := fmt.Sprintf("it belongs to package %s already; an object has one package: take it out of one of the two", holder.key)
	switch {
	case u.team() && !holder.team():
		why = fmt.Sprintf("it belongs to package %s, which is the platform's and goes before a team's: take it out of this package, or ask for it", holder.key)
		u.cede(key, holder)
	case u.team():
		u.cede(key, holder)
	}
	refused.add(key, o, why)
	refused[key].holder = holder
}

// cede takes an object out of the inventory that somebody else has for certain. It is written with the next change of it.
func (u *unit) cede(key bundle.Key, holder *unit) {
	if !holder.remembers(key) {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.inventory, key)
}

// mayHave says whether whom the package acts as may write an object as the release has it: the API server is asked to, without
// doing it. The platform's may.
func (u *unit) mayHave(ctx context.Context, key bundle.Key, c *disk.Content, o disk.Object) (may bool, err error) {
	account := u.account()
	if account == nil {
		return true, nil
	}
	refusal, err := u.rehearse(ctx, key, c, o)
	return refusal == nil, err
}

// rehearse returns how the API server refuses to let whom the package acts as write an object; nil when it does not. An error
// says that it is not known.
func (u *unit) rehearse(ctx context.Context, key bundle.Key, c *disk.Content, o disk.Object) (refusal, err error) {
	api, err := u.api()
	if err != nil {
		return nil, err
	}
	gvr, _, err := api.Resolve(schema.FromAPIVersionAndKind(o.ID.APIVersion, o.ID.Kind))
	if err != nil {
		return nil, err
	}
	body, err := c.Body(o)
	if err != nil {
		return nil, err
	}
	switch err = api.Rehearse(ctx, gvr, key, body); {
	case apierrors.IsForbidden(err):
		return err, nil
	case err == nil, apierrors.IsConflict(err), apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		return nil, nil // what is wrong with it is another matter
	}
	return nil, err
}

// discreet takes out of refusals what a team is not to know: of an object that it may not have it is told that, and not whose it
// is.
func (u *unit) discreet(ctx context.Context, c *disk.Content, refused refusals) {
	if !u.team() {
		return
	}
	for key, f := range refused {
		if f.holder == nil {
			continue
		}
		o, _ := c.Find(key)
		refusal, err := u.rehearse(ctx, key, c, o)
		switch {
		case refusal != nil:
			f.holder, f.Message = nil, u.explain(refusal, wordingFor(o, refusal))
		case err != nil:
			f.holder, f.Message = nil, "it was not applied: whether the package may have it is not known: "+u.explain(err, wordingFor(o, err))
		}
	}
}

// refuse makes refusals those of the package, and tells those who hold what it wants.
func (u *unit) refuse(refused refusals) {
	u.mu.Lock()
	before := u.standing.refused
	u.standing.refused = refused // at once: a retry does not make the status flap
	u.mu.Unlock()
	told := map[*unit]bool{}
	for _, refusals := range []refusals{before, refused} {
		for _, f := range refusals {
			if f.holder != nil && !told[f.holder] {
				told[f.holder] = true
				u.engine.changed(f.holder)
			}
		}
	}
}

// contests are the objects of a package that others want as well.
func (e *Engine) contests(u *unit) (contests []*wire.Contest) {
	for _, other := range e.roster.all() {
		if other == u {
			continue
		}
		other.mu.Lock()
		for key, f := range other.standing.refused {
			if f.holder == u {
				contests = append(contests, &wire.Contest{Object: key.String(), Package: string(other.key)})
			}
		}
		other.mu.Unlock()
	}
	slices.SortFunc(contests, func(a, b *wire.Contest) int {
		return cmp.Or(strings.Compare(a.Object, b.Object), strings.Compare(a.Package, b.Package))
	})
	return contests[:min(len(contests), maxContests)]
}
