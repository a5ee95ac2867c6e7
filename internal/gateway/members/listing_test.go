package members

import (
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/session"
)

// world is a hub, one member and the line between them, of which each can be cut or die after every step.
type world struct {
	t       *testing.T
	stored  []v1alpha1.MemberPackage // status.packages in the hub's API
	desired session.DesiredSet

	// The hub, in memory.
	registry *Registry
	planned  *v1alpha1.MemberClusterStatus // by a reconcile that has not written yet
	presence *Presence                     // nil without a session
	held     session.Holdings
	inFlight *wire.DesiredState
	release  int

	// The line, in both directions.
	down []*wire.DesiredState
	up   []any // *wire.Ack or *wire.StatusReport

	// The agent, on its disk, and what it has not reported yet.
	disk map[string]*wire.PackageStatus
	news wire.StatusReport
}

var twoPackages = []v1alpha1.PackageKey{"a/one", "b/two"}

func newWorld(t *testing.T) *world {
	w := &world{t: t, disk: map[string]*wire.PackageStatus{}}
	w.startHub()
	return w
}

func (w *world) startHub() {
	w.cut()
	w.planned = nil
	w.registry = NewRegistry(RegistryConfig{
		Replicas: crew{},
		Desired:  func(v1alpha1.ClusterName) (session.DesiredSet, bool) { return w.desired, true },
		Now:      func() time.Time { return start }, Log: slog.New(slog.DiscardHandler),
	})
}

func (w *world) cut() {
	if w.presence != nil {
		w.presence.Over(errors.New("cut"))
	}
	w.presence, w.inFlight, w.down, w.up = nil, nil, nil, nil
}

// connect opens a session: the agent says what it holds.
func (w *world) connect() {
	w.cut()
	hello := &wire.Hello{Packages: slices.Collect(maps.Values(w.disk))}
	w.news = wire.StatusReport{}
	w.presence = w.registry.Begin(Session{Cluster: "eu", End: func(error) {}})
	w.held = session.HoldingsOf(hello)
	w.presence.Opened(hello)
	w.update()
}

// update is what a session does when it may have something to tell.
func (w *world) update() {
	if w.presence == nil || w.inFlight != nil {
		return
	}
	set, known := w.presence.Desired()
	if !known {
		return
	}
	if change, differs := session.Diff(w.held, set); differs {
		w.inFlight = change
		w.down = append(w.down, change)
	}
}

// decide decides anew what becomes of a package.
func (w *world) decide(key v1alpha1.PackageKey, what int) {
	w.release++
	next := session.DesiredSet{Assign: maps.Clone(w.desired.Assign), Remove: slices.Clone(w.desired.Remove)}
	if next.Assign == nil {
		next.Assign = map[v1alpha1.PackageKey]*wire.Assignment{}
	}
	delete(next.Assign, key)
	next.Remove = slices.DeleteFunc(next.Remove, func(k v1alpha1.PackageKey) bool { return k == key })
	switch what {
	case 0:
		next.Assign[key] = &wire.Assignment{Package: string(key), Release: string(rune('0' + w.release%10))}
	case 1:
		next.Remove = append(next.Remove, key)
	}
	w.desired = next
	w.update()
}

// plan is the first half of a reconcile, write the second; what comes between them is not known to it.
func (w *world) plan() {
	w.registry.found("eu", w.stored)
	member := joinedMember()
	member.Status.Packages = w.stored
	status, _ := Plan(member, w.registry.snapshot("eu"), Desired{w.desired, true}, at(time.Hour))
	w.planned = &status
}

// write ends as the API has it: with an answer, without one, or not at all.
func (w *world) write(stores, answers bool) {
	if w.planned == nil {
		return
	}
	planned := w.planned.Packages
	w.planned = nil
	if !w.registry.unlist("eu", planned) {
		return
	}
	if stores {
		w.stored = planned
	}
	if stores && answers {
		w.registry.list("eu", planned)
		w.update()
	}
}

// receive lets the agent store the next change: all of it, or only a part when its disk fails.
func (w *world) receive(breaks bool) {
	if len(w.down) == 0 {
		return
	}
	change := w.down[0]
	w.down = w.down[1:]
	ack := &wire.Ack{Version: change.GetVersion()}
	for i, a := range change.GetAssign() {
		if breaks && i == len(change.GetAssign())-1 {
			ack.Error = "no space left on device"
			break
		}
		p := &wire.PackageStatus{Package: a.GetPackage(), Release: a.GetRelease(), Phase: wire.PackageStatus_APPLIED}
		w.disk[a.GetPackage()] = p
		w.news.Packages = append(w.news.Packages, p)
		w.news.Removed = slices.DeleteFunc(w.news.Removed, func(name string) bool { return name == p.GetPackage() })
	}
	for _, name := range change.GetRemove() {
		if p := w.disk[name]; p != nil && ack.GetError() == "" {
			w.disk[name] = &wire.PackageStatus{Package: name, Release: p.GetRelease(), Phase: wire.PackageStatus_REMOVING}
		}
	}
	w.up = append(w.up, ack)
}

// prune ends the removals that are under way.
func (w *world) prune() {
	for name, p := range w.disk {
		if p.GetPhase() != wire.PackageStatus_REMOVING {
			continue
		}
		delete(w.disk, name)
		w.news.Removed = append(w.news.Removed, name)
		w.news.Packages = slices.DeleteFunc(w.news.Packages, func(p *wire.PackageStatus) bool { return p.GetPackage() == name })
	}
}

func (w *world) report() {
	if w.presence == nil || len(w.news.Packages)+len(w.news.Removed) == 0 {
		return
	}
	w.up = append(w.up, &wire.StatusReport{Packages: w.news.Packages, Removed: w.news.Removed})
	w.news = wire.StatusReport{}
}

// hear lets the hub hear the agent's next message, as a session does.
func (w *world) hear() {
	if len(w.up) == 0 {
		return
	}
	message := w.up[0]
	w.up = w.up[1:]
	switch m := message.(type) {
	case *wire.Ack:
		change := w.inFlight
		w.inFlight = nil
		w.presence.Acknowledged(change, m.GetError())
		if m.GetError() != "" {
			w.held.Doubt(change)
			return // until the next change
		}
		w.held.Acknowledge(change)
	case *wire.StatusReport:
		for _, name := range m.GetRemoved() {
			delete(w.held, v1alpha1.PackageKey(name))
		}
		w.presence.Reported(m)
	}
	w.update()
}

// step does one of everything that can happen.
func (w *world) step(what byte) {
	switch what % 20 {
	case 0, 1:
		w.plan()
	case 2, 3:
		w.write(true, true)
	case 4:
		w.write(true, false)
	case 5:
		w.write(false, false)
	case 6, 7:
		w.receive(false)
	case 8:
		w.receive(true)
	case 9:
		w.prune()
	case 10:
		w.report()
	case 11, 12, 13:
		w.hear()
	case 14:
		w.cut()
	case 15:
		w.connect()
	case 16:
		w.startHub()
	default:
		w.decide(twoPackages[what/20%2], int(what%20-17))
	}
}

// mayHold is what the agent holds, or would once it has received what is under way to it.
func (w *world) mayHold() map[v1alpha1.PackageKey]bool {
	may := map[v1alpha1.PackageKey]bool{}
	for name := range w.disk {
		may[v1alpha1.PackageKey(name)] = true
	}
	for _, change := range w.down {
		for _, a := range change.GetAssign() {
			may[v1alpha1.PackageKey(a.GetPackage())] = true
		}
	}
	return may
}

func (w *world) check(history []byte) {
	w.t.Helper()
	listed := keys(w.stored)
	for key := range w.mayHold() {
		if !listed[key] {
			w.t.Fatalf("after %v the member may hold %s, and its status lists %v", history, key, w.stored)
		}
	}
}

// settle lets everything end well: the packages are removed by decision, the line holds, and nobody dies.
func (w *world) settle() {
	for _, key := range twoPackages {
		w.decide(key, 1)
	}
	w.connect()
	for range 10 {
		w.plan()
		w.write(true, true)
		w.receive(false)
		w.prune()
		w.report()
		for range 4 {
			w.hear()
		}
	}
}

// FuzzTheStatusListsWhoMayHold kills, cuts, breaks and changes its mind at every point, and looks whether the stored
// status ever misses a package that the member has or is about to get. Laws 1, 7 and 9. In the end nothing stays listed
// that the member does not hold.
func FuzzTheStatusListsWhoMayHold(f *testing.F) {
	f.Add([]byte{17, 15, 0, 2, 6, 14})        // stored, and the line is cut before the report
	f.Add([]byte{17, 15, 0, 2, 16})           // told, and the hub dies
	f.Add([]byte{17, 15, 0, 2, 0, 18, 6, 2})  // a reconcile is overtaken
	f.Add([]byte{17, 37, 15, 0, 2, 8, 11, 0}) // one of two stored
	// A plan leaves a package out that is told, acknowledged and not wanted any more by the time it is written.
	f.Add([]byte{15, 17, 0, 19, 2, 0, 17, 6, 11, 19, 2})
	f.Fuzz(func(t *testing.T, history []byte) { live(t, history) })
}

func live(t *testing.T, history []byte) {
	w := newWorld(t)
	for i, what := range history {
		w.step(what)
		w.check(history[:i+1])
	}
	w.settle()
	if len(w.disk)+len(w.stored) > 0 {
		t.Fatalf("after %v and everything ended well the member holds %v and its status lists %v", history, w.disk, w.stored)
	}
}

func TestTheStatusListsWhoMayHoldInManyHistories(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		history := make([]byte, 10+random.IntN(60))
		for i := range history {
			history[i] = byte(random.Uint32())
		}
		live(t, history)
	}
}

func TestAPackageIsListedBeforeItsAgentHearsOfIt(t *testing.T) {
	w := newWorld(t)
	w.connect()
	w.decide("a/one", 0)
	if len(w.down) > 0 {
		t.Errorf("the agent was told %v before its status lists anything", w.down)
	}
	w.plan()
	w.write(true, true)
	if len(w.down) != 1 || len(w.stored) != 1 || w.stored[0].Phase != v1alpha1.PackageApplying {
		t.Errorf("the agent was told %v and its status lists %v, want one package in both", w.down, w.stored)
	}
	w.receive(false)
	w.cut() // before the agent could report
	w.decide("a/one", 2)
	w.plan()
	if len(w.planned.Packages) != 1 {
		t.Error("a package is not listed any more that was under way when the line was cut")
	}
}
