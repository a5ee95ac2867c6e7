package apply

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/apply/disk"
	"umbel.dev/umbel/internal/delivery/apply/member"
	"umbel.dev/umbel/internal/delivery/bundle"
)

// kindTimeout is how long a new CustomResourceDefinition may take until its kind is served.
const kindTimeout = 30 * time.Second

// errIncomplete says that objects failed; the status names them.
var errIncomplete = errors.New("not everything could be applied, so nothing was pruned")

// claimed is the objects of one stage that are the package's to write, and where their kinds are.
type claimed struct {
	records []*record
	kinds   map[schema.GroupVersionKind]kind
}

// kind is where the objects of a kind are reached.
type kind struct {
	gvr   schema.GroupVersionResource
	scope meta.RESTScopeName
}

// applyAll applies the content stage by stage. A failed object does not stop the others, but it makes the whole fail.
func (u *unit) applyAll(ctx context.Context, c *disk.Content) error {
	failures, refused := 0, refusals{}
	u.takeUp()
	u.queue.lineUp(c)
	for s := range stageCount {
		if s == stageGates && failures+len(refused) > 0 {
			break // a gate whose own server could not be applied would keep everybody out
		}
		stage := u.claim(c, s, refused)
		stage.records = u.spare(ctx, stage.records, refused)
		failed, err := u.applyInOrder(ctx, c, stage, refused)
		if err != nil {
			return err
		}
		failures += failed
	}
	u.discreet(ctx, c, refused)
	u.refuse(refused)
	failures += len(refused)
	if failures > 0 {
		return fmt.Errorf("%d of %s: %w", failures, v1alpha1.Counted(len(c.Objects), "object"), errIncomplete)
	}
	return ctx.Err()
}

// applyStage writes what differs and has it watched from then on. A kind that nothing of is watched yet is not watched
// while its first objects are written: one list at the end costs the API server much less than an event for each, and
// tells the same.
func (u *unit) applyStage(ctx context.Context, stage claimed) (failed int, err error) {
	if err := u.remember(stage.records); err != nil {
		return 0, err
	}
	for _, r := range stage.records {
		u.engine.watches.introduce(r)
	}
	failed, err = u.settleAll(ctx, stage.records)
	u.watch(ctx, stage)
	if failed == 0 && err == nil {
		u.awaitKinds(ctx, stage.records)
	}
	return failed, err
}

// watch has the objects watched, and returns when what is on the member now is known.
func (u *unit) watch(ctx context.Context, stage claimed) {
	for gvk, kind := range stage.kinds {
		u.engine.watches.ensure(gvk, kind.gvr)
	}
	for _, kind := range stage.kinds {
		u.engine.watches.await(ctx, kind.gvr)
	}
	for _, r := range stage.records {
		u.engine.watches.introduce(r)
	}
}

// claim brings the objects of a stage into the index, as this package's. Objects of unknown kinds and those that another
// package holds are refused.
func (u *unit) claim(c *disk.Content, s stage, refused refusals) claimed {
	stage := claimed{kinds: map[schema.GroupVersionKind]kind{}}
	unknown := map[schema.GroupVersionKind]error{}
	for _, o := range c.Objects {
		gvk := schema.FromAPIVersionAndKind(o.ID.APIVersion, o.ID.Kind)
		if stageOf(gvk.GroupKind()) != s {
			continue
		}
		at, known := stage.kinds[gvk]
		if !known && unknown[gvk] == nil {
			var err error
			if at.gvr, at.scope, err = u.engine.cast.own.Resolve(gvk); err != nil {
				unknown[gvk] = err
			} else {
				stage.kinds[gvk] = at
			}
		}
		if err := unknown[gvk]; err != nil {
			refused.add(o.ID.Key(), o, member.Explain(err))
			continue
		}
		if r := u.claimOne(c, o, at, refused); r != nil {
			stage.records = append(stage.records, r)
		}
	}
	return stage
}

func (u *unit) claimOne(c *disk.Content, o disk.Object, at kind, refused refusals) *record {
	key := o.ID.Key()
	if at.scope == meta.RESTScopeNameRoot {
		key.Namespace = ""
	} else if key.Namespace == "" {
		key.Namespace = "default"
	}
	if reserved(key) {
		refused.add(key, o, "it belongs to Umbel's own agent; take it out of the package")
		return nil
	}
	r, holder := u.contend(key, at)
	if holder != u {
		u.taken(key, o, holder, refused)
		return nil
	}
	if twin, twice := r.twin(c, o); twice {
		refused.add(key, o, fmt.Sprintf("the package has this object twice: also in %s, where its namespace is written differently", twin))
		return nil
	}
	if o.Wrong != nil {
		refused.add(key, o, o.Wrong.Error())
		return nil
	}
	if holder = r.desire(u, at.gvr, c, o, u.rules.Load().of(key, o.Asks)); holder != u {
		u.taken(key, o, holder, refused)
		return nil
	}
	u.wants(key)
	return r
}

// wants notes that the release has an object: whoever brought it back had it for that long.
func (u *unit) wants(key bundle.Key) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if it, there := u.inventory[key]; there && it.Kept {
		it.Kept, it.Despite = false, ""
		u.inventory[key] = it
	}
}

// twin returns the file of another object of the content that is the same one on the member.
func (r *record) twin(c *disk.Content, o disk.Object) (file string, twice bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.source.Source, r.content == c && r.source.ID != o.ID
}

// reserved says whether an object is the agent's own, which a package could break it with.
func reserved(key bundle.Key) bool {
	switch {
	case key.Namespace == v1alpha1.AgentNamespace, key.Kind == "Namespace" && key.Name == v1alpha1.AgentNamespace:
		return true
	case key.Group == "about.k8s.io":
		return key.Name == v1alpha1.RecipientsProperty // whoever could write it could have secrets encrypted for themselves
	case key.Group == "rbac.authorization.k8s.io" && key.Namespace == "":
		return key.Name == "umbel-agent" || key.Name == "umbel-hub-admins"
	}
	return false
}

// refusals are objects that are not even tried: of an unknown kind, or another package's.
type refusals map[bundle.Key]*refusal

// refusal is why one is not.
type refusal struct {
	*wire.Failure
	holder *unit // has the object, when that is why
}

func (f refusals) add(key bundle.Key, o disk.Object, why string) {
	f[key] = &refusal{Failure: &wire.Failure{Object: key.String(), File: o.Source, Message: why}}
}

// remember puts objects into the inventory on disk before any of them is written to the member.
func (u *unit) remember(records []*record) error {
	var added []*record
	for _, r := range records {
		if !u.remembers(r.key) || u.opensFirst(r) {
			added = append(added, r)
		}
	}
	if len(added) == 0 {
		return nil
	}
	var grown disk.Inventory
	u.folder.Lock()
	defer u.folder.Unlock()
	err := u.folder.WriteInventory(func() disk.Inventory {
		grown = u.snapshot()
		for _, r := range added {
			grown[r.key] = r.item()
		}
		return grown
	})
	if err != nil {
		return fmt.Errorf("storing the inventory: %w", err)
	}
	u.mu.Lock()
	u.inventory = grown
	u.mu.Unlock()
	u.engine.wake(u)
	return nil
}

// settleAll writes the objects that need it and counts those that could not be written.
func (u *unit) settleAll(ctx context.Context, records []*record) (failed int, err error) {
	var todo []*record
	for _, r := range records {
		if t := r.task(); t.do != actNothing || t.holder != u { // what has changed hands meanwhile is not written
			todo = append(todo, r)
		}
	}
	if len(todo) == 0 {
		return 0, nil
	}
	u.begin(len(todo))
	results := make([]bool, len(todo))
	var group errgroup.Group
	group.SetLimit(member.Writers)
	for i, r := range todo {
		group.Go(func() error {
			_, err := u.engine.writer.settle(ctx, r)
			results[i] = err != nil || !r.heldBy(u)
			u.engine.reports.progressed(u.key)
			return nil // one failed object does not stop the others
		})
	}
	_ = group.Wait() // the functions above never fail
	for _, bad := range results {
		if bad {
			failed++
		}
	}
	return failed, ctx.Err()
}

// awaitKinds waits until the CustomResourceDefinitions among the records are established, or the time is over: what
// is not served by then fails by itself and is tried again.
func (u *unit) awaitKinds(ctx context.Context, records []*record) {
	ctx, cancel := context.WithTimeout(ctx, kindTimeout)
	defer cancel()
	for _, r := range records {
		for foundation(r.key) && r.key.Kind == definition && !r.healthy() {
			select {
			case <-u.moved:
			case <-ctx.Done():
				return
			}
		}
	}
}
