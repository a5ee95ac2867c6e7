package apply

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/google/renameio/v2"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/apply/member"
	"umbel.dev/umbel/internal/delivery/apply/witness"
	"umbel.dev/umbel/internal/delivery/bundle"
)

// guards has all guards of the member written, put back when somebody changes or deletes one, and taken away.
type guards struct {
	api   *member.API
	file  string // what the API server made of them, so that a start writes nothing
	now   func() time.Time
	of    *roster
	known func() bool               // whether it is known what every package asks for
	told  func(v1alpha1.PackageKey) // what is said of a package's guard has changed
	kick  chan struct{}

	mu    sync.Mutex
	asked map[v1alpha1.PackageKey]*protection
	turn  int           // grows with every change of asked
	done  int           // the turn that was carried out, as far as it could be
	moved chan struct{} // closed when done grows
	wrong map[v1alpha1.PackageKey]string
	blind [2]error // by guardKinds: why it is not seen what others do to guards

	// Of run alone.
	self  string
	notes map[string][2]guardNote
	bout  bout
	watch func() // starts the watches, once
}

// guardNote is what the API server made of a policy or a binding.
type guardNote struct {
	Hash  uint64    `json:"h"` // of what was sent
	UID   types.UID `json:"u"`
	Owned uint64    `json:"o"` // of our entry in managedFields
	// Generation is of the object when it was written: what others add to it, such as a condition of their own, is no field of ours.
	Generation int64 `json:"g"`
}

// departed says whether an object is not what was written. A nil one is none at all.
func (n guardNote) departed(found metav1.Object) bool {
	if found == nil {
		return n != (guardNote{})
	}
	is := member.Observe(found)
	return is.UID != n.UID || is.Owned != n.Owned || found.GetGeneration() != n.Generation
}

// newGuards returns guards that keep their notes in dir. What is asked for at first is known before run.
func newGuards(e *Engine, dir string) *guards {
	return &guards{
		api: e.cast.own, file: filepath.Join(dir, "guards.json"), now: e.needs.Now, of: e.roster, known: e.allKnown, told: e.reports.changed,
		kick: make(chan struct{}, 1), asked: map[v1alpha1.PackageKey]*protection{}, turn: 1, moved: make(chan struct{}),
	}
}

// expect takes up what a package asks for whose order is about to be known: from then on guards are written anew, and its own, which may
// stand already, is to be among them. Whether it stands is for keep to say.
func (g *guards) expect(key v1alpha1.PackageKey, p *protection) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p == nil || g.asked[key].equal(p) {
		return
	}
	g.asked[key] = p
	g.turn++
}

// keep has the guards be as the package asks, nil for none, and returns when they are, or why they are not.
func (g *guards) keep(ctx context.Context, key v1alpha1.PackageKey, p *protection) error {
	g.mu.Lock()
	if !g.asked[key].equal(p) {
		if p == nil {
			delete(g.asked, key)
		} else {
			g.asked[key] = p
		}
		g.turn++
		poke(g.kick)
	}
	turn := g.turn
	for g.done < turn {
		moved := g.moved
		g.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		g.mu.Lock()
	}
	defer g.mu.Unlock()
	if why := g.wrong[key]; why != "" && why != tooOld {
		return fmt.Errorf("spec.drift.prevention: %s", why)
	}
	return nil
}

// tooOld is what is wrong where nothing can be done about it.
const tooOld = "spec.drift.prevention is Deny, and this cluster's API server has no ValidatingAdmissionPolicy (Kubernetes 1.30 has it)"

// failure is what the status says when there is no guard where one is asked for.
func (g *guards) failure(key v1alpha1.PackageKey) []*wire.Failure {
	g.mu.Lock()
	defer g.mu.Unlock()
	why := g.wrong[key]
	if blind := cmp.Or(g.blind[0], g.blind[1]); why == "" && blind != nil && g.asked[key] != nil {
		why = fmt.Sprintf("it is not seen what others do to the admission policy: %s", blind)
	} else if why != "" {
		why += "; changes are not refused, and put back"
	}
	if why == "" {
		return nil
	}
	return []*wire.Failure{{Object: "ValidatingAdmissionPolicy.admissionregistration.k8s.io", Message: why}}
}

// guardRetry is the longest time between two attempts.
const guardRetry = time.Minute

// run carries out what is asked for until the context ends.
func (g *guards) run(ctx context.Context) {
	g.notes = map[string][2]guardNote{}
	if raw, err := os.ReadFile(g.file); err == nil {
		_ = json.Unmarshal(raw, &g.notes) // what cannot be read is written anew
	}
	var watching sync.WaitGroup
	defer watching.Wait()
	g.watch = sync.OnceFunc(func() {
		for i := range guardKinds {
			watching.Go(func() { g.follow(ctx, i) })
		}
	})
	pause := time.Second
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-g.kick:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		if wait := g.bout.next(g.now()); wait > 0 {
			timer.Reset(wait)
			if !g.changed() { // a fight: what is asked for anew does not wait for it
				continue
			}
		}
		if g.pass(ctx) {
			pause = time.Second
		} else {
			timer.Reset(pause)
			pause = min(2*pause, guardRetry)
		}
	}
}

// changed says whether something is asked for that was not carried out.
func (g *guards) changed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.done < g.turn
}

// follow has the guards looked at when something happens to one. An event is an occasion to look, and decides nothing.
func (g *guards) follow(ctx context.Context, which int) {
	gvr, _, err := g.api.Resolve(guardKinds[which])
	if err != nil {
		_ = g.note(which, err) // it was there a moment ago; the status says so until the next start
		return
	}
	lw, sample := g.api.ListWatchGuards(gvr, func(err error) error { return g.note(which, err) })
	_, informer := cache.NewInformerWithOptions(cache.InformerOptions{ListerWatcher: lw, ObjectType: sample, Handler: cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { poke(g.kick) },
		UpdateFunc: func(any, any) { poke(g.kick) },
		DeleteFunc: func(any) { poke(g.kick) },
	}})
	informer.RunWithContext(ctx)
}

// note keeps whether the last list or watch of a kind went well.
func (g *guards) note(which int, err error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.blind[which] = err
	return err
}

// pass looks at all guards once and makes them what they are to be. It says whether they are.
//
// As long as it is not known what a package asks for, all stay as they are on the member: one guard is for many packages.
func (g *guards) pass(ctx context.Context) (ok bool) {
	known := g.known()
	g.mu.Lock()
	asked, turn, was := maps.Clone(g.asked), g.turn, g.wrong
	g.mu.Unlock()
	if !known {
		g.settle(turn, was)
		return false
	}
	wrong := map[v1alpha1.PackageKey]string{}
	all := func(why string) {
		for key := range asked {
			wrong[key] = why
		}
	}
	gvrs, served, err := g.resources()
	switch {
	case err != nil:
		all(err.Error())
	case !served:
		all(tooOld)
	default:
		if err = g.write(ctx, gvrs, asked, wrong); err != nil {
			all(member.Explain(err))
		}
	}
	if ctx.Err() != nil {
		return false
	}
	g.settle(turn, wrong)
	return err == nil && (len(wrong) == 0 || !served)
}

// settle says what came of a pass.
func (g *guards) settle(turn int, wrong map[v1alpha1.PackageKey]string) {
	g.mu.Lock()
	before := g.wrong
	g.wrong, g.done = wrong, turn
	close(g.moved)
	g.moved = make(chan struct{})
	g.mu.Unlock()
	for _, set := range []map[v1alpha1.PackageKey]string{before, wrong} {
		for key := range set {
			if before[key] != wrong[key] {
				g.told(key)
			}
		}
	}
}

// resources are those of guardKinds; not served by an API server that is older than they are.
func (g *guards) resources() (gvrs [2]schema.GroupVersionResource, served bool, err error) {
	for i, gvk := range guardKinds {
		gvrs[i], _, err = g.api.Resolve(gvk)
		if meta.IsNoMatchError(err) {
			return gvrs, false, nil
		}
		if err != nil {
			return gvrs, false, err
		}
	}
	return gvrs, true, nil
}

// write has the guards of these packages on the member, and no other. What is wrong with one of them is said of its packages.
func (g *guards) write(ctx context.Context, gvrs [2]schema.GroupVersionResource, asked map[v1alpha1.PackageKey]*protection, wrong map[v1alpha1.PackageKey]string) error {
	var are [2]map[string]metav1.Object
	for i, gvr := range gvrs {
		var err error
		if are[i], err = g.api.List(ctx, gvr, v1alpha1.PreventionLabel); err != nil {
			return fmt.Errorf("listing %s: %w", gvr.Resource, err)
		}
	}
	wanted, err := g.wanted(ctx, asked)
	if err != nil {
		return err
	}
	keep := map[string]bool{}
	for _, one := range wanted {
		keep[one.name] = true
		if err := g.see(ctx, gvrs, one, are); err != nil {
			for _, key := range one.packages {
				wrong[key] = member.Explain(err)
			}
		}
	}
	for i := len(gvrs) - 1; i >= 0; i-- { // the binding first
		for name := range are[i] {
			if keep[name] {
				continue
			}
			if err := g.api.Erase(ctx, gvrs[i], name); err != nil {
				return fmt.Errorf("taking away %s %s, which keeps others from changing what no package holds so any more: %w", guardKinds[i].Kind, name, err)
			}
		}
	}
	maps.DeleteFunc(g.notes, func(name string, _ [2]guardNote) bool { return !keep[name] })
	return g.keepNotes()
}

// wanted is what is to be.
func (g *guards) wanted(ctx context.Context, asked map[v1alpha1.PackageKey]*protection) (all []guard, err error) {
	if len(asked) == 0 {
		return nil, nil
	}
	g.watch()
	if g.self == "" {
		if g.self, err = g.api.WhoAmI(ctx); err != nil {
			return nil, err
		}
	}
	return guardsFor(asked, g.self)
}

// see writes a guard unless it stands as it was written, and tells what others had done to it.
func (g *guards) see(ctx context.Context, gvrs [2]schema.GroupVersionResource, one guard, are [2]map[string]metav1.Object) error {
	notes := g.notes[one.name]
	for i, gvk := range guardKinds { // the policy first: a binding without one is an error to the API server
		key, was := bundle.Key{Group: gvk.Group, Kind: gvk.Kind, Name: one.name}, notes[i]
		found, err := are[i][one.name], error(nil)
		if found == nil && was != (guardNote{}) { // or somebody took the label off
			if found, err = g.api.Metadata(ctx, gvrs[i], key); err != nil {
				return err
			}
		}
		departed := was.departed(found)
		if found != nil && !departed && was.Hash == xxhash.Sum64(one.bodies[i]) {
			continue
		}
		if found != nil && departed { // to apply it would leave what others added
			if err := g.api.Overwrite(ctx, gvrs[i], key, one.bodies[i], found); err != nil {
				return err
			}
		}
		got, err := g.api.Apply(ctx, gvrs[i], key, one.bodies[i], member.TakeOver)
		if err != nil {
			return err
		}
		notes[i] = guardNote{xxhash.Sum64(one.bodies[i]), got.UID, got.Owned, got.Generation}
		g.notes[one.name] = notes
		if departed && was != (guardNote{}) {
			g.putBack(one, key, found, witness.Question{Place: placeOf(gvrs[i], key), Deleted: found == nil, UID: was.UID, Noticed: g.now()})
		}
	}
	return nil
}

// putBack tells what others had done to a guard. One of its packages does, not each of a hundred.
func (g *guards) putBack(one guard, key bundle.Key, found metav1.Object, q witness.Question) {
	now, cause, drift := g.now(), "Deleted", &wire.Drift{Object: key.String(), Deleted: found == nil}
	if found != nil {
		drift.By, cause = member.Observe(found).By, "Changed"
	}
	if drift.By != "" {
		cause = "Changed by " + drift.By
	}
	drift.Time = now.Unix()
	g.bout = g.bout.repaired(now)
	if u := g.of.get(one.packages[0]); u != nil {
		u.putBack(&clue{drift: drift, question: q}, cause, g.bout.fighting(now), now)
	}
}

// keepNotes keeps what was learnt, so that the next start does not write what stands. Where there are no guards nothing is left.
func (g *guards) keepNotes() error {
	if len(g.notes) == 0 {
		if err := os.Remove(g.file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	raw, err := json.Marshal(g.notes)
	if err != nil {
		return err
	}
	if was, err := os.ReadFile(g.file); err == nil && string(was) == string(raw) {
		return nil
	}
	return renameio.WriteFile(g.file, raw, 0o600)
}
