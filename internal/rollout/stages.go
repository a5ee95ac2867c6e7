package rollout

import (
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"umbel.dev/umbel/api/v1alpha1"
)

// tenth is maxUnavailable where nobody says it.
var tenth = intstr.FromString("10%")

// advance lets the stages have their turn. Clusters of a stage that is done follow when they are back.
func (p *pass) advance() {
	for i := range p.status.Stages {
		s := &p.status.Stages[i]
		if s.Step == v1alpha1.StageDone {
			p.move(s, len(s.Waiting))
			continue
		}
		if !p.stage(s, i == 0) {
			return
		}
		s.Step, s.Passed, s.WellSince, s.ClosedSince = v1alpha1.StageDone, p.stamp(), nil, nil
		p.tell("StageDone", "Finished stage %s", s.Name)
	}
	p.complete()
}

// stage does what is due in the stage whose turn it is, and says whether it is done.
func (p *pass) stage(s *v1alpha1.StageStatus, first bool) bool {
	rule, promoted := p.spec.Strategy.Stage(s.Name), p.isPromoted(s.Name)
	if s.Step == v1alpha1.StageWaiting {
		if first && s.Clusters == 0 && !promoted {
			p.waits(v1alpha1.ReasonEmptyStage, "stage %s is the first and selects no cluster, so that nothing would be tried out: mind its clusterSelector, or `umbel rollout promote` goes past it", s.Name)
			return false
		}
		if len(s.Waiting) == 0 {
			return true // there is nobody to move, and nothing to agree to
		}
		if !promoted && !p.approved(rule, v1alpha1.ApproveBefore) {
			p.waits(v1alpha1.ReasonAwaitingApproval, "stage %s waits for somebody to approve that it begins: `umbel rollout approve`", s.Name)
			return false
		}
		s.Step, s.Began = v1alpha1.StageMoving, p.stamp()
		if rule.Canary != nil {
			s.Step = v1alpha1.StageCanary
		}
		p.tell("StageBegan", "Began stage %s of %s", s.Name, many(int(s.Clusters)))
	}
	if s.Step == v1alpha1.StageCanary {
		if !promoted && !p.canaries(s, rule) {
			return false
		}
		s.Step, s.Baked = v1alpha1.StageMoving, nil
	}
	open := p.passes(s) && p.move(s, len(s.Waiting))
	at := p.stand(s)
	if at.available == 0 {
		s.Baked = nil // whoever has shown that the release is good is not there any more
	}
	if at.underway > 0 || at.ready > 0 && s.Baked == nil {
		s.WellSince = nil
		if at.underway > 0 || open {
			p.atWork(s, at)
		}
		return false
	}
	if promoted {
		return true
	}
	if !p.baked(s, rule.Bake, at) {
		return false
	}
	if !p.approved(rule, v1alpha1.ApproveAfter) {
		p.waits(v1alpha1.ReasonAwaitingApproval, "stage %s is done, and waits for somebody to approve what comes after it: `umbel rollout approve`", s.Name)
		return false
	}
	return true
}

// canaries moves the first clusters of a stage, and says whether they were well for long enough.
func (p *pass) canaries(s *v1alpha1.StageStatus, rule v1alpha1.RolloutStage) bool {
	wanted := max(1, ceil(rule.Canary, int(s.Clusters)))
	at := p.stand(s)
	open := p.passes(s) && p.move(s, wanted-at.available-at.underway)
	at = p.stand(s)
	if at.underway > 0 || at.available < wanted && at.ready > 0 {
		s.WellSince = nil
		if at.underway > 0 || open {
			p.atWork(s, at)
		}
		return false
	}
	return p.baked(s, rule.Bake, at)
}

// atWork says which clusters of a stage move.
func (p *pass) atWork(s *v1alpha1.StageStatus, at stand) {
	text := fmt.Sprintf("stage %s: %d of %s moved, %d of those healthy", s.Name, len(s.Moved), v1alpha1.Counted(s.Clusters, "cluster"), at.available)
	var names []v1alpha1.ClusterName
	for _, name := range s.Moved {
		if m := p.moving[name]; m != nil && !m.over {
			names = append(names, name)
		}
	}
	if at.underway == 0 && at.failed > 0 {
		p.waits(v1alpha1.ReasonAwaitingClusters, "%s; %s failed, and takes the place that maxUnavailable leaves: mend it, excuse it, or go back", text, some(p.tired(s)))
		return
	}
	if len(names) > 0 {
		text += "; at work: " + some(names)
	} else if at.ready > 0 {
		text += fmt.Sprintf("; as many as maxUnavailable lets are not healthy, %d of those that wait among them", at.sick)
	}
	p.waits(v1alpha1.ReasonMoving, "%s", text)
	if at.underway == 0 { // those that were moved just now take no place
		p.within(time.Second)
	}
}

// baked says whether all that were moved are healthy, and were so for the bake time. Nobody is under way.
func (p *pass) baked(s *v1alpha1.StageStatus, bake *metav1.Duration, at stand) bool {
	if at.available == 0 {
		s.WellSince = nil
		over := p.tired(s)
		switch {
		case len(at.away) > 0:
			p.waits(v1alpha1.ReasonAwaitingClusters, "stage %s waits for a cluster that could show that the release is good: %s cannot be told now", s.Name, some(at.away))
			return false
		case len(over) > 0:
			p.waits(v1alpha1.ReasonAwaitingClusters, "no cluster of stage %s is healthy with the release: %s", s.Name, some(over))
			return false
		}
		return true // every cluster of it is gone, or excused
	}
	if !p.passes(s) {
		s.WellSince = nil
		return false
	}
	if s.WellSince == nil {
		s.WellSince = p.stamp()
	}
	left := p.leftToBake(s)
	if s.Baked == nil && left <= 0 {
		s.Baked = p.stamp()
	}
	if s.Baked != nil {
		return true
	}
	p.within(left)
	if len(p.spec.Strategy.Stage(s.Name).Gates) > 0 {
		p.within(min(left, recheck))
	}
	p.waits(v1alpha1.ReasonBaking, "stage %s bakes: %s healthy, for %s before it goes on", s.Name, many(at.available), bake.Duration)
	return false
}

// tired are the clusters of a stage that were moved and whose time is up.
func (p *pass) tired(s *v1alpha1.StageStatus) []v1alpha1.ClusterName {
	var names []v1alpha1.ClusterName
	for _, name := range s.Moved {
		if m := p.moving[name]; m != nil && m.over {
			names = append(names, name)
		}
	}
	return names
}

func (p *pass) approved(rule v1alpha1.RolloutStage, point v1alpha1.ApprovalPoint) bool {
	return !slices.Contains(rule.Approvals, point) ||
		slices.Contains(p.spec.Approvals, v1alpha1.RolloutApproval{Stage: rule.Name, Point: point})
}

// move tells clusters of a stage the release: at most so many, and no more than may be unavailable. It says whether they
// may move at this time at all.
func (p *pass) move(s *v1alpha1.StageStatus, limit int) (open bool) {
	rule, at := p.spec.Strategy.Stage(s.Name), p.stand(s)
	if at.ready == 0 || limit <= 0 {
		return true
	}
	back := p.spec.Purpose == v1alpha1.RolloutBack
	if !back && !p.isPromoted(s.Name) && !p.open(s, rule) {
		return false
	}
	unavailable := rule.MaxUnavailable
	if unavailable == nil {
		unavailable = &tenth
	}
	m := mover{
		room: max(1, share(unavailable, int(s.Clusters), 1)) - at.underway, sick: at.sick, limit: limit, back: back,
	}
	if !back {
		m.room -= at.failed
	}
	free, sick, others := p.candidates(s)
	if s.Step == v1alpha1.StageCanary {
		m.take(others, m.aWell)
		m.take(sick, m.aSick)
		m.take(free, m.aFree)
	} else {
		m.take(free, m.aFree)
		m.take(sick, m.aSick)
		m.take(others, m.aWell)
	}
	p.moved(s, m.taken)
	return true
}

// candidates are the clusters of a stage that can be moved: such as nothing changes for, or are excused; such as are not
// healthy as it is; and the others.
func (p *pass) candidates(s *v1alpha1.StageStatus) (free, sick, others []*Cluster) {
	for _, name := range s.Waiting {
		c := p.seen[name]
		switch {
		case c == nil || c.out():
		case c.State == Well && c.Content || p.isExcused(name):
			free = append(free, c)
		case c.sick():
			sick = append(sick, c)
		default:
			others = append(others, c)
		}
	}
	return free, sick, others
}

// mover takes clusters as long as the budget lasts. One that is not healthy as it is takes a place among those that move.
// One that is healthy takes one among all that are not: those that wait count as well.
type mover struct {
	room, sick, limit int
	back              bool
	taken             []*Cluster
}

func (m *mover) take(from []*Cluster, may func() bool) {
	for _, c := range from {
		if m.limit == 0 || !may() {
			return
		}
		m.limit--
		m.taken = append(m.taken, c)
	}
}

func (m *mover) aFree() bool { return true }

func (m *mover) aSick() bool {
	if m.room <= 0 && !m.back { // going back can only make it better
		return false
	}
	m.room--
	m.sick--
	return true
}

func (m *mover) aWell() bool {
	if m.room-max(0, m.sick) <= 0 {
		return false
	}
	m.room--
	return true
}

// moved writes down that clusters were told.
func (p *pass) moved(s *v1alpha1.StageStatus, clusters []*Cluster) {
	if len(clusters) == 0 {
		return
	}
	gone := make(map[v1alpha1.ClusterName]bool, len(clusters))
	var names []v1alpha1.ClusterName
	for _, c := range clusters {
		gone[c.Name] = true
		names = append(names, c.Name)
		if c.sick() {
			p.ailing[c.Name] = true
		}
		if !(c.State == Well && c.Content) && !p.isExcused(c.Name) {
			p.moving[c.Name] = &move{since: p.stamp().Time}
			p.within(p.deadline())
		}
	}
	is := func(name v1alpha1.ClusterName) bool { return gone[name] }
	s.Waiting = slices.DeleteFunc(s.Waiting, is)
	if p.status.Completed == nil {
		s.Moved = append(s.Moved, names...)
		slices.Sort(s.Moved)
	}
	for i := range p.status.From {
		p.status.From[i].Clusters = slices.DeleteFunc(p.status.From[i].Clusters, is)
	}
	p.status.From = slices.DeleteFunc(p.status.From, func(h v1alpha1.HeldRelease) bool { return len(h.Clusters) == 0 })
	p.tell("Moved", "Moved %s of stage %s to %s: %s", many(len(names)), s.Name, p.spec.Release, some(names))
}

// back moves every stage at once, with no gate but maxUnavailable: the release is known.
func (p *pass) back() {
	underway, ready := 0, 0
	for i := range p.status.Stages {
		s := &p.status.Stages[i]
		if s.Step == v1alpha1.StageWaiting {
			s.Step, s.Began = v1alpha1.StageMoving, p.stamp()
		}
		p.move(s, len(s.Waiting))
		at := p.stand(s)
		underway, ready = underway+at.underway, ready+at.ready
	}
	if underway+ready > 0 {
		p.waits(v1alpha1.ReasonMoving, "clusters go back: %d are at work, %d wait for their turn", underway, ready)
		return
	}
	for i := range p.status.Stages {
		p.status.Stages[i].Step, p.status.Stages[i].Passed = v1alpha1.StageDone, p.stamp()
	}
	p.complete()
}

// follow moves clusters that were away when their stage was done.
func (p *pass) follow() {
	waiting := 0
	for i := range p.status.Stages {
		s := &p.status.Stages[i]
		p.move(s, len(s.Waiting))
		waiting += len(s.Waiting)
	}
	switch {
	case waiting == 0 && len(p.moving) == 0:
		p.waits(v1alpha1.ReasonComplete, "every cluster has %s", p.spec.Release)
	case p.wait.Reason == "":
		p.waits(v1alpha1.ReasonFollowing, "it is complete; %s, and %d %s at work", following(waiting), len(p.moving), v1alpha1.Agreeing(len(p.moving), "is", "are"))
	}
}

func (p *pass) deadline() time.Duration {
	if d := p.spec.Strategy.ProgressDeadline; d != nil {
		return d.Duration
	}
	return defaultDeadline
}

// ceil is share, rounded up.
func ceil(value *intstr.IntOrString, whole int) int {
	n, err := intstr.GetScaledValueFromIntOrPercent(value, whole, true)
	if err != nil {
		return 1
	}
	return n
}
