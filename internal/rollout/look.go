package rollout

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"umbel.dev/umbel/api/v1alpha1"
)

const defaultDeadline = 10 * time.Minute

// look finds out what became of the clusters that were moved.
func (p *pass) look() {
	before := map[v1alpha1.ClusterName]move{}
	var names []v1alpha1.ClusterName
	for _, group := range p.status.Moving {
		for _, name := range group.Clusters {
			m := move{since: group.Since.Time}
			if group.Failing != nil {
				m.failing = group.Failing.Time
			}
			before[name] = m
			if p.status.Completed != nil { // then nobody else is listed
				names = append(names, name)
			}
		}
	}
	for i := range p.status.Stages {
		names = append(names, p.status.Stages[i].Moved...)
	}
	for _, name := range names {
		p.lookAt(name, before)
	}
	p.judge()
	for i := range p.status.Stages {
		p.guard(&p.status.Stages[i])
		p.bakes(&p.status.Stages[i])
	}
}

// bakes measures how long the clusters of a stage are well, also while the rollout is paused.
func (p *pass) bakes(s *v1alpha1.StageStatus) {
	if s.WellSince == nil || s.Step == v1alpha1.StageDone {
		return
	}
	if at := p.stand(s); at.underway > 0 || at.available == 0 {
		s.WellSince = nil
		return
	}
	if s.Baked == nil && p.leftToBake(s) <= 0 {
		s.Baked = p.stamp()
	}
}

func (p *pass) leftToBake(s *v1alpha1.StageStatus) time.Duration {
	bake := p.spec.Strategy.Stage(s.Name).Bake
	if bake == nil {
		return 0
	}
	return bake.Duration - p.now.Sub(s.WellSince.Time)
}

// lookAt finds out what became of one. One that is gone, away, lacks a label, or waits for something else is in nobody's way.
func (p *pass) lookAt(name v1alpha1.ClusterName, before map[v1alpha1.ClusterName]move) {
	c := p.seen[name]
	switch {
	case c == nil || c.out() || p.isExcused(name):
		return
	case c.State == Well && c.Content:
		delete(p.ailing, name)
		return
	}
	m, known := before[name]
	if !known {
		m.since = p.stamp().Time
	}
	switch fails := c.State == Failing && c.Holds == p.spec.Release; {
	case !fails:
		m.failing = time.Time{}
	case m.failing.IsZero():
		m.failing = p.stamp().Time
	}
	p.moving[name] = &m
}

// judge finds those whose time is up.
func (p *pass) judge() {
	deadline := p.deadline()
	for _, name := range slices.Sorted(maps.Keys(p.moving)) {
		m := p.moving[name]
		left := deadline - p.now.Sub(m.since)
		if !m.failing.IsZero() {
			left = min(left, stands-p.now.Sub(m.failing))
		}
		if left > 0 {
			p.within(left)
			continue
		}
		m.over = true
		if p.ailing[name] {
			continue
		}
		p.failed = append(p.failed, v1alpha1.RolloutFailure{
			Cluster: name, Message: cmp.Or(p.seen[name].Message, fmt.Sprintf("it is not healthy %s after it was moved", deadline)),
		})
	}
}

// stand is how the clusters of a stage are.
type stand struct {
	// of those that were moved: healthy with the release, not so yet, and failed, who keep their place.
	available, underway, failed int
	// of those that were not: such as can be, and among them not healthy.
	ready, sick int
	// away are those, moved or not, that cannot be told now.
	away []v1alpha1.ClusterName
}

func (p *pass) stand(s *v1alpha1.StageStatus) stand {
	var at stand
	for _, name := range s.Moved {
		c, m := p.seen[name], p.moving[name]
		switch {
		case c == nil:
		case c.out():
			at.away = append(at.away, name)
		case m != nil && !m.over:
			at.underway++
		case m != nil && !p.isExcused(name):
			at.failed++
		case m == nil && c.State == Well && c.Content:
			at.available++
		}
	}
	if p.status.Completed != nil {
		for name, m := range p.moving {
			if !m.over && p.stageOf(p.seen[name]) == s.Name {
				at.underway++
			}
		}
	}
	for _, name := range s.Waiting {
		c := p.seen[name]
		switch {
		case c == nil:
		case c.out():
			at.away = append(at.away, name)
		default:
			at.ready++
			if c.sick() && !p.isExcused(name) {
				at.sick++
			}
		}
	}
	return at
}

// sick says that a cluster is connected and not healthy with whatever it holds.
func (c *Cluster) sick() bool { return c.State == Unwell || c.State == Failing }

// share is a number, or a part of a whole rounded down; the default when there is none.
func share(value *intstr.IntOrString, whole, otherwise int) int {
	if value == nil {
		return otherwise
	}
	n, err := intstr.GetScaledValueFromIntOrPercent(value, whole, false)
	if err != nil {
		return otherwise // the schema lets none through that cannot be read
	}
	return n
}

// count writes down how far it is.
func (p *pass) count() {
	s := &p.status
	s.Clusters, s.Moved = 0, 0
	for i := range s.Stages {
		stage := &s.Stages[i]
		stage.Done = stage.Clusters - int32(len(stage.Waiting))
		s.Clusters += stage.Clusters
		s.Moved += stage.Done
	}
	s.Failed, s.Failures = int32(len(p.failed)), nil
	s.Failures = append(s.Failures, p.failed[:min(len(p.failed), maxFailures)]...)
	s.Unavailable = int32(len(p.moving))
	told := p.block()
	if s.Completed != nil { // who was moved is not listed any more, and a cluster that blinks costs no write
		s.Available = max(0, s.Moved-s.Unavailable-s.Offline-told)
		return
	}
	s.Available, s.Offline = 0, 0
	for i := range s.Stages {
		for _, name := range s.Stages[i].Moved {
			switch c := p.seen[name]; {
			case c == nil:
			case c.State == Away || c.State == Unfit:
				s.Offline++
			case c.State == Well && c.Content:
				s.Available++
			}
		}
	}
}

// block writes down which clusters wait for something else, and says how many of them were moved before they did.
func (p *pass) block() (told int32) {
	s := &p.status
	waiting, all := map[v1alpha1.ClusterName]bool{}, map[v1alpha1.ClusterName]bool{}
	for i := range s.Stages {
		for _, name := range s.Stages[i].Waiting {
			waiting[name], all[name] = true, true
		}
		for _, name := range s.Stages[i].Moved {
			all[name] = true
		}
	}
	if s.Completed != nil { // then those that were moved are not listed anywhere else
		for _, group := range s.Blocked {
			for _, name := range group.Clusters {
				all[name] = true
			}
		}
	}
	groups := map[string][]v1alpha1.ClusterName{}
	for name := range all {
		c := p.seen[name]
		if c == nil || c.State != Blocked {
			continue
		}
		groups[c.Message] = append(groups[c.Message], name)
		if !waiting[name] {
			told++
		}
	}
	s.Blocked = nil
	for _, why := range slices.Sorted(maps.Keys(groups)) {
		s.Blocked = append(s.Blocked, v1alpha1.BlockedClusters{Message: why, Clusters: slices.Sorted(slices.Values(groups[why]))})
	}
	return told
}

// blocked names the clusters that wait for something else.
func (p *pass) blocked() string {
	text := ""
	for i, group := range p.status.Blocked {
		if i == few {
			return text + "; and others for other things"
		}
		text += fmt.Sprintf("; %s %s: %s (%s)", many(len(group.Clusters)), v1alpha1.Agreeing(len(group.Clusters), "waits", "wait"), some(group.Clusters), group.Message)
	}
	return text
}

// conclude writes down what is remembered.
func (p *pass) conclude() {
	p.remember()
	if p.measures() {
		p.within(heartbeat)
		if w := p.status.Watched; w == nil || p.now.Sub(w.Time) >= heartbeat || p.now.Before(w.Add(-time.Second)) {
			p.status.Watched = p.stamp()
		}
	}
	p.explain()
}

// explain says in the conditions what happens, and what it waits for.
func (p *pass) explain() {
	if !over(&p.status) {
		p.wait.Note += p.blocked()
	}
	progressing := metav1.Condition{
		Type: v1alpha1.ConditionProgressing, Status: metav1.ConditionFalse, Reason: p.wait.Reason, Message: p.wait.Note,
	}
	switch p.wait.Reason {
	case v1alpha1.ReasonMoving, v1alpha1.ReasonBaking, v1alpha1.ReasonFollowing:
		progressing.Status = metav1.ConditionTrue
	}
	done := metav1.Condition{
		Type: v1alpha1.ConditionRolledOut, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonIncomplete,
		Message: fmt.Sprintf("%d of %s %s %s: %s", p.status.Moved, v1alpha1.Counted(p.status.Clusters, "cluster"), v1alpha1.Agreeing(p.status.Moved, "has", "have"), p.spec.Release, p.wait.Note),
	}
	if p.status.Completed != nil {
		done.Status, done.Reason = metav1.ConditionTrue, v1alpha1.ReasonComplete
		done.Message = fmt.Sprintf("%d of %s %s %s", p.status.Moved, v1alpha1.Counted(p.status.Clusters, "cluster"), v1alpha1.Agreeing(p.status.Moved, "has", "have"), p.spec.Release)
	}
	for _, c := range []metav1.Condition{progressing, done} {
		c.ObservedGeneration, c.LastTransitionTime = p.status.ObservedGeneration, *p.stamp()
		meta.SetStatusCondition(&p.status.Conditions, c)
	}
}

// measures says whether a time is being measured, for which somebody has to look now and then.
func (p *pass) measures() bool {
	if over(&p.status) {
		return false
	}
	for _, m := range p.moving {
		if !m.over {
			return true
		}
	}
	return p.closing || slices.ContainsFunc(p.status.Stages, func(s v1alpha1.StageStatus) bool {
		return s.Step != v1alpha1.StageDone && s.WellSince != nil && s.Baked == nil
	})
}

// remember writes down the clusters that are under way: those of the same times together.
func (p *pass) remember() {
	type times struct{ since, failing int64 } // in seconds, as they are stored
	groups := map[times][]v1alpha1.ClusterName{}
	for name, m := range p.moving {
		key := times{since: m.since.Unix()}
		if !m.failing.IsZero() {
			key.failing = m.failing.Unix()
		}
		groups[key] = append(groups[key], name)
	}
	p.status.Moving = nil
	for _, key := range slices.SortedFunc(maps.Keys(groups), func(a, b times) int {
		return cmp.Or(cmp.Compare(a.since, b.since), cmp.Compare(a.failing, b.failing))
	}) {
		group := v1alpha1.MovingClusters{Since: metav1.Unix(key.since, 0), Clusters: slices.Sorted(slices.Values(groups[key]))}
		if key.failing != 0 {
			group.Failing = new(metav1.Unix(key.failing, 0))
		}
		p.status.Moving = append(p.status.Moving, group)
	}
	p.status.Ailing = nil
	for _, name := range slices.Sorted(maps.Keys(p.ailing)) {
		if p.seen[name] != nil { // who is gone starts anew
			p.status.Ailing = append(p.status.Ailing, name)
		}
	}
}
