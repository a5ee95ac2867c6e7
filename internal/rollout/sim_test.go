package rollout

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"umbel.dev/umbel/api/v1alpha1"
)

// Simulated schedules in a normal run; ROLLOUT_SCHEDULES is another number (`make simulate` plays 100,000), ROLLOUT_SEED plays
// one and shows its log.
const schedules = 5_000

// TestSimulation plays random schedules: clusters fail, leave, join, go away, and wait for something else, some for ever; releases come while others are under way;
// people pause, abort, promote, approve and go back; the hub dies between any two writes, and loses writes to another one; what
// clusters measure is bad, comes and goes, or is not known; its cache is behind; clocks jump. Every write is checked (see checker), and afterwards, when all is calm, every rollout
// ends or waits for somebody who is named; and when they answer, it ends.
func TestSimulation(t *testing.T) {
	if text := os.Getenv("ROLLOUT_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		s := simulate(seed, nil)
		t.Logf("seed %d:\n%s\n%s", seed, s.log.String(), s.wrong)
		if s.wrong != "" {
			t.Fail()
		}
		return
	}
	count := uint64(schedules)
	if text := os.Getenv("ROLLOUT_SCHEDULES"); text != "" {
		var err error
		if count, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	var next atomic.Uint64
	var failed atomic.Bool
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for seed := next.Add(1); seed <= count && !failed.Load(); seed = next.Add(1) {
				if s := simulate(seed, nil); s.wrong != "" && !failed.Swap(true) {
					t.Errorf("%s\nROLLOUT_SEED=%d plays it again", shrink(s), seed)
				}
			}
		})
	}
	workers.Wait()
}

// TestSimulationIsDeterministic: the same seed gives the same history, to every status that is written.
func TestSimulationIsDeterministic(t *testing.T) {
	for seed := range uint64(1000) {
		if a, b := history(t, seed), history(t, seed); a != b {
			t.Fatalf("seed %d: two histories", seed)
		}
	}
}

// history is what happens by a seed, with every status that is written.
func history(t *testing.T, seed uint64) uint64 {
	t.Helper()
	hash := fnv.New64a() // whose Write never fails
	s := newSim(seed, nil)
	checks := s.wrote
	s.wrote = func(r *v1alpha1.Rollout, before, after *v1alpha1.RolloutStatus, seen []Cluster) {
		checks(r, before, after, seen)
		written, err := json.Marshal(after)
		if err != nil {
			t.Fatal(err)
		}
		hash.Write(written)
	}
	s.plays()
	hash.Write([]byte(s.log.String()))
	return hash.Sum64()
}

// sim is one schedule.
type sim struct {
	checker
	seed  uint64
	skip  map[int]bool // turns in which nothing happens
	rng   *rand.Rand
	log   strings.Builder
	bad   map[string]State
	blind bool // nobody knows what clusters measure
	quiet bool // what comes and goes has come to stay
	sound bool // and it is good, whatever is released
	count int  // of releases
	old   map[string][]Cluster
}

const turns = 24

// simulate plays a schedule. Turns that are skipped keep their time, and what happens in the others is the same.
func simulate(seed uint64, skip map[int]bool) *sim {
	s := newSim(seed, skip)
	s.plays()
	return s
}

func newSim(seed uint64, skip map[int]bool) *sim {
	s := &sim{seed: seed, skip: skip, rng: rand.New(rand.NewPCG(seed, 1<<32)), bad: map[string]State{}, old: map[string][]Cluster{}}
	s.checker = checker{world: newWorld(s.strategy()), story: map[string]bool{}, bakes: map[string]*bakeTrack{}}
	s.wrote = func(r *v1alpha1.Rollout, before, after *v1alpha1.RolloutStatus, seen []Cluster) {
		s.checks(r, before, after, seen)
	}
	s.news = func(rollout string, n News) { s.note("%s %s", rollout, n.Note) }
	s.outcome = s.fate
	s.takes = time.Duration(5+s.rng.IntN(40)) * time.Second
	s.same, s.answers = s.alike, s.measured
	for i := range 2 + s.rng.IntN(6) {
		s.add(fmt.Sprintf("c%d", i), map[string]string{"env": []string{"dev", "eu", "us"}[s.rng.IntN(3)]})
	}
	s.release()
	return s
}

func (s *sim) plays() {
	for turn := range turns {
		s.rng = rand.New(rand.NewPCG(s.seed, uint64(turn)))
		s.turn(!s.skip[turn])
		if s.wrong != "" {
			return
		}
	}
	s.rng = rand.New(rand.NewPCG(s.seed, 1<<33))
	s.calm()
}

func (s *sim) note(format string, args ...any) {
	fmt.Fprintf(&s.log, "%s %s\n", s.wall.Format("02 15:04:05"), fmt.Sprintf(format, args...))
}

func (s *sim) chance(percent int) bool { return s.rng.IntN(100) < percent }

// strategy draws one.
func (s *sim) strategy() *v1alpha1.RolloutStrategy {
	strategy := &v1alpha1.RolloutStrategy{
		ProgressDeadline: lasts(time.Duration(1+s.rng.IntN(5)) * time.Minute), MaxFailures: number(s.rng.IntN(2)),
		OnFailure: v1alpha1.FailurePause, LateJoiners: v1alpha1.JoinLast,
	}
	if s.chance(50) {
		strategy.OnFailure = v1alpha1.FailureRollback
	}
	if s.chance(50) {
		strategy.LateJoiners = v1alpha1.JoinInStage
	}
	for i := range 1 + s.rng.IntN(3) {
		stage := v1alpha1.RolloutStage{Name: fmt.Sprintf("s%d", i), ClusterSelector: env([]string{"dev", "eu", "us"}[i]), MaxUnavailable: number(1 + s.rng.IntN(3))}
		if s.chance(40) {
			stage.Canary = number(1 + s.rng.IntN(2))
		}
		if s.chance(60) {
			stage.Bake = lasts(time.Duration(10+s.rng.IntN(180)) * time.Second)
		}
		if s.chance(20) {
			stage.Approvals = append(stage.Approvals, v1alpha1.ApproveBefore)
		}
		if s.chance(20) {
			stage.Approvals = append(stage.Approvals, v1alpha1.ApproveAfter)
		}
		if s.chance(15) {
			stage.Windows = []v1alpha1.MaintenanceWindow{{From: "10:00", To: fmt.Sprintf("10:%02d", 2+s.rng.IntN(30))}}
		}
		if s.chance(30) {
			stage.MaxUnavailable = part("50%")
		}
		for i := range s.rng.IntN(3) * s.rng.IntN(2) {
			stage.Gates = append(stage.Gates, v1alpha1.MetricGate{Name: fmt.Sprintf("g%d", i), Query: "errors < 1"})
		}
		strategy.Stages = append(strategy.Stages, stage)
	}
	return strategy
}

// fate is how a cluster gets on with a release: some are bad everywhere, some here and there, and some clusters are ill.
func (s *sim) fate(release string, cluster v1alpha1.ClusterName) State {
	if state, healed := s.bad[string(cluster)]; healed {
		return state
	}
	hash := fnv.New32a()
	fmt.Fprintf(hash, "%d %s", s.seed, release)
	badness := hash.Sum32() % 10
	fmt.Fprintf(hash, " %s", cluster)
	one := hash.Sum32() % 10
	switch {
	case badness < 6 && one < 9, badness < 8 && one < 6:
		return Well
	case one%2 == 0:
		return Failing
	}
	return Unwell
}

// measured is what metrics say of a gate: of some releases it does not hold, of some it comes and goes.
func (s *sim) measured(release string, q Question) Answer {
	if s.blind {
		return Answer{Unknown: "nothing was measured"}
	}
	hash := fnv.New32a()
	fmt.Fprintf(hash, "%d %s %s %s", s.seed, release, q.Stage, q.Gate.Name)
	switch bad := hash.Sum32() % 12; {
	case s.sound:
	case bad == 0:
		return Answer{}
	case bad == 1 && !s.quiet:
		return Answer{Holds: int(s.elapsed/time.Minute)%3 > 0}
	}
	return Answer{Holds: true}
}

// alike: now and then two releases are the same for a cluster.
func (s *sim) alike(a, b string, cluster v1alpha1.ClusterName) bool {
	if a == b {
		return true
	}
	hash := fnv.New32a()
	fmt.Fprintf(hash, "%d %s %s %s", s.seed, min(a, b), max(a, b), cluster)
	return hash.Sum32()%12 == 0
}

func (s *sim) release() {
	s.count++
	s.pkg.Status.Release = "r" + strconv.Itoa(s.count)
	s.story[s.pkg.Status.Release] = true
	s.note("released %s", s.pkg.Status.Release)
}

// turn is some time in which something happens, or not, and the hub may look.
func (s *sim) turn(happens bool) {
	s.passes(time.Duration(1+s.rng.IntN(60)) * time.Second)
	events := s.rng.IntN(3)
	for range events {
		if event := s.rng.IntN(100); happens {
			s.event(event)
		}
	}
	s.work()
	lost, stale, steps := s.chance(8), s.chance(10), 1+s.rng.IntN(6)
	if happens {
		s.conflict = func() bool { return lost }
		s.lag = nil
		if stale {
			s.lag = func(release string) []Cluster {
				if s.old[release] != nil {
					return s.old[release]
				}
				return s.clustersNow(release)
			}
		}
		if s.chance(90) {
			s.looks(steps)
		}
		s.lag, s.conflict = nil, nil
	} else {
		s.looks(10)
	}
	if r := s.newest(); r != nil {
		s.old = map[string][]Cluster{r.Spec.Release: s.clustersNow(r.Spec.Release)}
	}
	s.deliver()
}

func (s *sim) event(event int) {
	n := s.nodes[s.rng.IntN(len(s.nodes))]
	switch {
	case event < 12:
		s.release()
	case event < 24:
		n.online = !n.online
		s.note("%s is online: %v", n.Name, n.online)
	case event < 30:
		n.selected = !n.selected
		if !n.selected {
			n.Holds, n.told, n.State = "", "", Absent
		}
		s.note("%s is selected: %v", n.Name, n.selected)
	case event < 33:
		n.fit = !n.fit
		s.note("%s has what it needs: %v", n.Name, n.fit)
	case event < 38:
		joined := s.add(fmt.Sprintf("j%d", len(s.nodes)), map[string]string{"env": []string{"dev", "eu", "us", "other"}[s.rng.IntN(4)]})
		s.note("%s joined", joined.Name)
	case event < 43:
		s.bad[string(n.Name)] = []State{Well, Unwell, Failing}[s.rng.IntN(3)]
		s.note("%s is %d whatever it holds", n.Name, s.bad[string(n.Name)])
	case event < 48:
		jump := time.Duration(s.rng.IntN(8*3600)-4*3600) * time.Second
		s.wall, s.jumps = s.wall.Add(jump), s.jumps+1
		s.note("the clock jumped by %s", jump)
	case event < 52:
		down := time.Duration(s.rng.IntN(3600)) * time.Second
		s.passes(down)
		s.note("no hub ran for %s", down)
	case event < 56:
		s.undecided = !s.undecided
		s.note("the placement is undecided: %v", s.undecided)
	case event < 58:
		s.pkg.Spec.Rollout = s.strategy()
		s.note("the strategy was changed")
	case event < 90:
		s.person(event)
	case event < 97:
		s.blocks(n)
	default:
		s.blind = !s.blind
		s.note("nobody knows what clusters measure: %v", s.blind)
	}
}

// blocks has a cluster wait for something else, or not any more.
func (s *sim) blocks(n *node) {
	if n.blockedBy == "" {
		n.blockedBy = []string{"package default/db is not healthy on this cluster", "its agent does not know plans"}[s.rng.IntN(2)]
	} else {
		n.blockedBy = ""
	}
	s.note("%s waits for: %q", n.Name, n.blockedBy)
}

// person does something with the rollout.
func (s *sim) person(event int) {
	r := s.newest()
	if r == nil || r.Status.Successor != "" {
		return
	}
	spec := &r.Spec
	switch {
	case event < 62:
		spec.Intent = v1alpha1.IntentPause
	case event < 68:
		spec.Intent, spec.Attempt = v1alpha1.IntentRun, spec.Attempt+1
	case event < 69:
		spec.Intent = v1alpha1.IntentAbort
	case event < 71:
		spec.Intent, spec.BackTo = v1alpha1.IntentBack, ""
		if s.chance(30) {
			spec.BackTo = fmt.Sprintf("r%d", 1+s.rng.IntN(s.count))
		}
	case event < 74:
		if len(r.Status.Stages) > 0 {
			spec.Promoted = append(spec.Promoted, r.Status.Stages[s.rng.IntN(len(r.Status.Stages))].Name)
		}
	case event < 76:
		spec.Excused = append(spec.Excused, s.nodes[s.rng.IntN(len(s.nodes))].Name)
	default:
		s.approve(r)
	}
	s.note("somebody: %s, attempt %d, promoted %v, excused %v", spec.Intent, spec.Attempt, spec.Promoted, spec.Excused)
}

func (s *sim) approve(r *v1alpha1.Rollout) {
	for _, stage := range r.Status.Stages {
		for _, point := range r.Spec.Strategy.Stage(stage.Name).Approvals {
			agreed := v1alpha1.RolloutApproval{Stage: stage.Name, Point: point}
			if !slices.Contains(r.Spec.Approvals, agreed) {
				r.Spec.Approvals = append(r.Spec.Approvals, agreed)
				return
			}
		}
	}
}

// calm lets everything come to rest: clusters are back, the hub runs, people approve. Then nothing is due any more. Whoever it waits for
// then answers, until it has ended.
func (s *sim) calm() {
	s.undecided, s.blind, s.quiet = false, false, true
	for _, n := range s.nodes {
		n.online, n.fit = true, true
		if s.chance(70) { // and the others wait for somebody
			n.blockedBy = ""
		}
	}
	s.note("all is calm")
	if !s.rests() {
		return
	}
	s.rested()
	const answers = 20
	for range answers {
		if s.wrong != "" || s.over() {
			return
		}
		s.answer(s.newest())
		if !s.rests() {
			return
		}
	}
	r := s.newest()
	s.fails("%d answers did not end it: %s is %s: %s", answers, r.Name, r.Status.Phase, r.Status.Conditions[0].Message)
}

// rests goes on until nothing is due any more, and says whether that came to be.
func (s *sim) rests() bool {
	for range 2000 {
		s.work()
		again := s.looks(10)
		s.deliver()
		r := s.newest()
		if s.wrong != "" {
			return false
		}
		if r.Status.Phase == v1alpha1.RolloutRunning && r.Status.Conditions[0].Reason == v1alpha1.ReasonAwaitingApproval {
			s.approve(r)
			again = time.Second
		}
		if again == 0 && !s.atWork() {
			return true
		}
		if again == 0 || s.atWork() && again > s.takes {
			again = s.takes
		}
		s.passes(again)
	}
	r := s.newest()
	s.fails("it does not come to rest: %s is %s: %s", r.Name, r.Status.Phase, r.Status.Conditions[0].Message)
	return false
}

// answer is what somebody does who is told that it is waited for them: what is ill is mended, what clusters wait for comes, and the
// rollout goes on, or past a stage that selects nobody. After an abort there is another release.
func (s *sim) answer(r *v1alpha1.Rollout) {
	for _, n := range s.nodes {
		n.blockedBy, s.bad[string(n.Name)] = "", Well
	}
	s.sound = true
	switch spec := &r.Spec; {
	case r.Status.Phase == v1alpha1.RolloutAborted:
		s.release()
	case spec.Intent != v1alpha1.IntentRun || r.Status.Phase != v1alpha1.RolloutRunning:
		spec.Intent, spec.Attempt = v1alpha1.IntentRun, spec.Attempt+1
	case r.Status.Conditions[0].Reason == v1alpha1.ReasonEmptyStage:
		at := slices.IndexFunc(r.Status.Stages, func(st v1alpha1.StageStatus) bool {
			return st.Step != v1alpha1.StageDone && !slices.Contains(spec.Promoted, st.Name)
		})
		spec.Promoted = append(spec.Promoted, r.Status.Stages[max(0, at)].Name)
	}
	s.note("somebody answers: %s, attempt %d, promoted %v", r.Spec.Intent, r.Spec.Attempt, r.Spec.Promoted)
}

// over says whether every cluster has what it is to have, and is well with it.
func (s *sim) over() bool {
	r := s.newest()
	return r.Status.Phase == v1alpha1.RolloutCompleted && r.Spec.Intent == v1alpha1.IntentRun && !slices.ContainsFunc(s.nodes, func(n *node) bool {
		return n.selected && (n.Holds != r.Spec.Release || n.State != Well)
	})
}

// atWork says whether an agent has not come to an end with what it was told.
func (s *sim) atWork() bool {
	for _, n := range s.nodes {
		if n.selected && n.told != "" && n.State != s.outcome(n.told, n.Name) {
			return true
		}
	}
	return false
}

// rested checks what it is at rest.
func (s *sim) rested() {
	r := s.newest()
	status, reason := &r.Status, r.Status.Conditions[0].Reason
	s.note("%s is %s, %s: %s", r.Name, status.Phase, reason, r.Status.Conditions[0].Message)
	switch status.Phase {
	case v1alpha1.RolloutPaused, v1alpha1.RolloutHalted, v1alpha1.RolloutAborted:
		return // it waits for somebody, who is told why
	case v1alpha1.RolloutRunning:
		if reason != v1alpha1.ReasonAwaitingClusters && reason != v1alpha1.ReasonEmptyStage {
			s.fails("%s rests, and waits for nobody: %s: %s", r.Name, reason, r.Status.Conditions[0].Message)
		}
		return
	case v1alpha1.RolloutCompleted:
	default:
		s.fails("%s rests in phase %s", r.Name, status.Phase)
		return
	}
	if r.Spec.Intent != v1alpha1.IntentRun {
		return // somebody paused it, or wants to go back to what there is not, and is told so
	}
	orders := r.Orders()
	for _, n := range s.nodes {
		if !n.selected {
			continue
		}
		if n.blockedBy != "" && !s.has(n, r.Spec.Release) { // it keeps what it holds
			if _, listed := stagesOf(status)[n.Name]; listed && status.BlockedBy(n.Name) != n.blockedBy {
				s.fails("%s is complete, and does not say that %s waits for %s", r.Name, n.Name, n.blockedBy)
			}
			continue
		}
		if orders.For(n.Name) != r.Spec.Release || n.told != r.Spec.Release {
			s.fails("%s is complete, and %s is told %s and not %s", r.Name, n.Name, n.told, r.Spec.Release)
		}
		if n.Holds != r.Spec.Release || n.State != s.outcome(r.Spec.Release, n.Name) {
			s.fails("%s is complete, and %s holds %s (%d)", r.Name, n.Name, n.Holds, n.State)
		}
	}
}

// shrink takes turns away as long as the same goes wrong, and returns the log of what is left.
func shrink(s *sim) string {
	kind := func(wrong string) string {
		return strings.Map(func(r rune) rune {
			if r >= '0' && r <= '9' {
				return -1
			}
			return r
		}, wrong)
	}
	skip := map[int]bool{}
	for turn := range turns {
		skip[turn] = true
		if again := simulate(s.seed, skip); kind(again.wrong) == kind(s.wrong) {
			s = again
			continue
		}
		delete(skip, turn)
	}
	last := simulate(s.seed, skip)
	return fmt.Sprintf("seed %d, without turns %v: %s\n%s", s.seed, skip, last.wrong, last.log.String())
}
