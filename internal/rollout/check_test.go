package rollout

import (
	"fmt"
	"slices"
	"time"

	"umbel.dev/umbel/api/v1alpha1"
)

// checker looks at every write of a status, with what was seen when it was decided, and says what is wrong with it. It
// knows the strategy and keeps its own time; of the planner it uses the arithmetic of shares and windows, and the list
// of who is under way where time counts.
type checker struct {
	*world
	story map[string]bool // the releases that there ever were
	jumps int             // of the clock, so far
	bakes map[string]*bakeTrack
	wrong string
}

// bakeTrack is how long the clusters of a stage were seen to be well, for real.
type bakeTrack struct {
	well    bool
	at, sum time.Duration
}

func (c *checker) fails(format string, args ...any) {
	if c.wrong == "" {
		c.wrong = fmt.Sprintf(format, args...)
	}
}

// checks is called with each write.
func (c *checker) checks(r *v1alpha1.Rollout, before, after *v1alpha1.RolloutStatus, seen []Cluster) {
	if before.Phase == "" || seen == nil {
		return
	}
	was, is := (&v1alpha1.Rollout{Spec: r.Spec, Status: *before}).Orders(), r.Orders()
	moved := map[string][]Cluster{} // by stage
	stages, err := sorter(&r.Spec.Strategy)
	if err != nil {
		c.fails("%v", err)
		return
	}
	for i := range seen {
		from, to := was.For(seen[i].Name), is.For(seen[i].Name)
		switch {
		case from == to:
		case to != r.Spec.Release:
			c.fails("%s: %s was told %q and is now told %q, which is not the release", r.Name, seen[i].Name, from, to)
		default:
			stage := stages(&seen[i])
			moved[stage] = append(moved[stage], seen[i])
		}
	}
	for _, release := range is.Releases() {
		if !c.story[release] {
			c.fails("%s: a cluster is told %q, which nobody released", r.Name, release)
		}
	}
	c.blocked(r, after, seen)
	c.frozen(r, before, after)
	c.late(r, before, after, seen)
	if len(moved) > 0 {
		c.stopped(r, before, after, seen)
	}
	for i := range after.Stages {
		name := after.Stages[i].Name
		c.bake(r, before, after, i, seen)
		c.goesOn(r, before, after, i, seen)
		c.metrics(r, before, after, i, len(moved[name]) > 0, seen)
		if len(moved[name]) > 0 {
			c.budget(r, &after.Stages[i], moved[name], seen)
			c.gates(r, before, after, i, seen)
		}
	}
}

// blocked: who waits for something else is named with it, has not failed, and is not under way.
func (c *checker) blocked(r *v1alpha1.Rollout, after *v1alpha1.RolloutStatus, seen []Cluster) {
	if c.undecided {
		return // that was no look
	}
	listed := stagesOf(after)
	for i := range seen {
		one := &seen[i]
		why := after.BlockedBy(one.Name)
		_, known := listed[one.Name]
		switch {
		case why != "" && (one.State != Blocked || why != one.Message):
			c.fails("%s: %s is said to wait for %q, and does not", r.Name, one.Name, why)
		case one.State == Blocked && known && why == "":
			c.fails("%s: %s waits for %q, and that is not said", r.Name, one.Name, one.Message)
		case one.State != Blocked:
		case slices.ContainsFunc(after.Moving, func(g v1alpha1.MovingClusters) bool { return slices.Contains(g.Clusters, one.Name) }):
			c.fails("%s: %s waits for %q, and counts as one that is under way", r.Name, one.Name, one.Message)
		case slices.ContainsFunc(after.Failures, func(f v1alpha1.RolloutFailure) bool { return f.Cluster == one.Name }):
			c.fails("%s: %s waits for %q, and counts as one that failed", r.Name, one.Name, one.Message)
		}
	}
}

// frozen: who was of a stage stays of it while the rollout goes on.
func (c *checker) frozen(r *v1alpha1.Rollout, before, after *v1alpha1.RolloutStatus) {
	if after.Completed != nil {
		return
	}
	for i, s := range before.Stages {
		for _, name := range slices.Concat(s.Waiting, s.Moved) {
			if now := after.Stages[i]; !slices.Contains(now.Waiting, name) && !slices.Contains(now.Moved, name) {
				c.fails("%s: cluster %s was of stage %s and is not any more", r.Name, name, s.Name)
			}
		}
	}
}

// late: who was not there when the rollout began is of no stage before it is complete, or at once of the stage that selects
// him, as the strategy says.
func (c *checker) late(r *v1alpha1.Rollout, before, after *v1alpha1.RolloutStatus, seen []Cluster) {
	if before.Completed != nil {
		return
	}
	stages, _ := sorter(&r.Spec.Strategy)
	was, is := stagesOf(before), stagesOf(after)
	inStage := r.Spec.Strategy.LateJoiners == v1alpha1.JoinInStage
	for _, one := range seen {
		stage, listed := is[one.Name]
		_, known := was[one.Name]
		switch {
		case known || after.Completed != nil:
		case listed && !inStage:
			c.fails("%s: %s joined late and is of stage %s before the end", r.Name, one.Name, stage)
		case listed && stage != stages(&one):
			c.fails("%s: %s joined and is of stage %s, it should be of %s", r.Name, one.Name, stage, stages(&one))
		case !listed && inStage && !c.undecided && after.Phase == v1alpha1.RolloutRunning && r.Spec.Purpose == v1alpha1.RolloutForward:
			c.fails("%s: %s joined and is not of stage %s", r.Name, one.Name, stages(&one))
		}
	}
}

// stagesOf says of which stage each cluster is that a status lists.
func stagesOf(status *v1alpha1.RolloutStatus) map[v1alpha1.ClusterName]string {
	of := map[v1alpha1.ClusterName]string{}
	for _, s := range status.Stages {
		for _, name := range slices.Concat(s.Waiting, s.Moved) {
			of[name] = s.Name
		}
	}
	return of
}

// stopped: nobody moves while somebody paused it, ended it, or wants to go back; nor once too many clusters failed, before
// somebody lets them try again.
func (c *checker) stopped(r *v1alpha1.Rollout, before, after *v1alpha1.RolloutStatus, seen []Cluster) {
	if r.Spec.Intent != v1alpha1.IntentRun {
		c.fails("%s: clusters move, and somebody wants it to %s", r.Name, r.Spec.Intent)
	}
	if before.Completed != nil || r.Spec.Purpose == v1alpha1.RolloutBack {
		return
	}
	if before.Phase == v1alpha1.RolloutHalted && r.Spec.Attempt <= before.Attempt {
		c.fails("%s: clusters move, and it was halted", r.Name)
	}
	failed := 0
	for _, one := range seen {
		healthy, asked := one.State == Well && one.Content, !one.out()
		if asked && !healthy && !slices.Contains(r.Spec.Excused, one.Name) && !slices.Contains(before.Ailing, one.Name) && !c.hasTime(r, after, one.Name) {
			failed++
		}
	}
	if allowed := share(r.Spec.Strategy.MaxFailures, int(before.Clusters), 0); failed > allowed {
		c.fails("%s: clusters move, and %d failed, %d may", r.Name, failed, allowed)
	}
}

// goesOn: a stage that nobody promoted is done, or goes on from its canaries, when clusters are well with the release: one at
// the least, and as many canaries as there should be and can be. It is done when somebody approved what comes after it.
func (c *checker) goesOn(r *v1alpha1.Rollout, before, after *v1alpha1.RolloutStatus, i int, seen []Cluster) {
	is, was := after.Stages[i], v1alpha1.StageStatus{Step: v1alpha1.StageWaiting}
	if i < len(before.Stages) {
		was = before.Stages[i]
	}
	rule := r.Spec.Strategy.Stage(is.Name)
	done := was.Step != v1alpha1.StageDone && is.Step == v1alpha1.StageDone
	tried := rule.Canary != nil && (was.Step == v1alpha1.StageWaiting || was.Step == v1alpha1.StageCanary) &&
		(is.Step == v1alpha1.StageMoving || is.Step == v1alpha1.StageDone)
	if !done && !tried || is.Began == nil || r.Spec.Purpose == v1alpha1.RolloutBack || slices.Contains(r.Spec.Promoted, is.Name) {
		return // where nobody had to move, nothing began
	}
	agreed := v1alpha1.RolloutApproval{Stage: is.Name, Point: v1alpha1.ApproveAfter}
	if done && slices.Contains(rule.Approvals, v1alpha1.ApproveAfter) && !slices.Contains(r.Spec.Approvals, agreed) {
		c.fails("%s: stage %s is done and nobody approved what comes after it", r.Name, is.Name)
	}
	well, others, untried := 0, 0, 0
	listed := stagesOf(&v1alpha1.RolloutStatus{Stages: []v1alpha1.StageStatus{was, is}})
	if after.Completed != nil && r.Spec.Strategy.LateJoiners != v1alpha1.JoinInStage { // those that joined are listed now
		listed = stagesOf(&v1alpha1.RolloutStatus{Stages: []v1alpha1.StageStatus{was}})
	}
	for _, one := range seen {
		_, ours := listed[one.Name]
		switch {
		case !ours:
		case one.State == Well && one.Content:
			well++
		case slices.Contains(r.Spec.Excused, one.Name):
		default:
			others++
			if !one.out() && !slices.Contains(was.Moved, one.Name) {
				untried++
			}
		}
	}
	if well == 0 && others > 0 {
		c.fails("%s: stage %s goes on and none of its clusters is well with the release", r.Name, is.Name)
	}
	if wanted := max(1, ceil(rule.Canary, int(is.Clusters))); tried && well < wanted && untried > 0 {
		c.fails("%s: stage %s goes on and %d canaries are well, %d are wanted", r.Name, is.Name, well, wanted)
	}
}

// metrics: once clusters of a stage are well, no other one of it moves while a gate does not hold or nobody knows, and the stage is not
// done, nor are its canaries.
func (c *checker) metrics(r *v1alpha1.Rollout, before, after *v1alpha1.RolloutStatus, i int, moves bool, seen []Cluster) {
	is, was := after.Stages[i], v1alpha1.StageStatus{Step: v1alpha1.StageWaiting}
	if i < len(before.Stages) {
		was = before.Stages[i]
	}
	goesOn := was.Step == v1alpha1.StageCanary && is.Step == v1alpha1.StageMoving || is.Step == v1alpha1.StageDone
	if r.Spec.Purpose == v1alpha1.RolloutBack || was.Step == v1alpha1.StageDone || is.Began == nil || slices.Contains(r.Spec.Promoted, is.Name) || !moves && !goesOn {
		return
	}
	told := was.Moved
	if goesOn {
		told = slices.Concat(was.Moved, is.Moved)
	}
	well := slices.ContainsFunc(seen, func(one Cluster) bool {
		return one.State == Well && one.Content && slices.Contains(told, one.Name)
	})
	for _, gate := range r.Spec.Strategy.Stage(is.Name).Gates {
		if answer := c.answers(r.Spec.Release, Question{Stage: is.Name, Gate: gate}); well && !answer.Holds {
			c.fails("%s: stage %s goes on, and its gate %s does not hold (%q)", r.Name, is.Name, gate.Name, answer.Unknown)
		}
	}
}

// underway counts clusters of a stage that are down since they were moved, and have time left.
func (c *checker) underway(r *v1alpha1.Rollout, s *v1alpha1.StageStatus, seen []Cluster) int {
	stages, _ := sorter(&r.Spec.Strategy)
	n := 0
	for _, group := range r.Status.Moving {
		late := c.wall.Sub(group.Since.Time) >= r.Spec.Strategy.ProgressDeadline.Duration
		failed := group.Failing != nil && c.wall.Sub(group.Failing.Time) >= stands
		for _, name := range group.Clusters {
			at := slices.IndexFunc(seen, func(one Cluster) bool { return one.Name == name })
			if !late && !failed && at >= 0 && stages(&seen[at]) == s.Name {
				n++
			}
		}
	}
	return n
}

// seenDown counts, by what is seen and by no list of the planner, who of a stage is down since it was moved: those that had been
// ill before, or are excused, are not.
func (c *checker) seenDown(r *v1alpha1.Rollout, s *v1alpha1.StageStatus, moved, seen []Cluster) int {
	n := 0
	for _, one := range seen {
		now := slices.ContainsFunc(moved, func(m Cluster) bool { return m.Name == one.Name })
		if slices.Contains(s.Moved, one.Name) && !now && one.sick() && !slices.Contains(r.Spec.Excused, one.Name) && !slices.Contains(r.Status.Ailing, one.Name) {
			n++
		}
	}
	return n
}

// budget: whoever is moved leaves no more clusters down than may be.
func (c *checker) budget(r *v1alpha1.Rollout, s *v1alpha1.StageStatus, moved, seen []Cluster) {
	sick, well := 0, 0
	for _, one := range moved {
		switch {
		case one.State == Well && one.Content || slices.Contains(r.Spec.Excused, one.Name):
		case one.State == Unwell || one.State == Failing:
			sick++
		case one.out():
			c.fails("%s: %s is not connected, has nothing to get, or waits for something else, and was moved", r.Name, one.Name)
		default:
			well++
		}
	}
	waitingSick := 0
	for _, one := range seen {
		if slices.Contains(s.Waiting, one.Name) && (one.State == Unwell || one.State == Failing) && !slices.Contains(r.Spec.Excused, one.Name) {
			waitingSick++
		}
	}
	down, may := c.underway(r, s, seen), max(1, share(r.Spec.Strategy.Stage(s.Name).MaxUnavailable, int(s.Clusters), 1))
	if seenDown := well + c.seenDown(r, s, moved, seen); well > 0 && r.Spec.Purpose == v1alpha1.RolloutForward && r.Status.Completed == nil && seenDown > may {
		c.fails("%s: stage %s: %d clusters were moved that serve, and then %d are seen to be down for it, at most %d may be", r.Name, s.Name, well, seenDown, may)
	}
	if well > 0 && down+waitingSick > may {
		c.fails("%s: stage %s: %d clusters were moved that serve, and then %d are down, at most %d may be", r.Name, s.Name, well, down+waitingSick, may)
	}
	if sick > 0 && down > may && r.Spec.Purpose == v1alpha1.RolloutForward {
		c.fails("%s: stage %s: %d clusters were moved that are down, and then %d are at work, at most %d may be", r.Name, s.Name, sick, down, may)
	}
}

// gates: nobody moves before the stages before are done, without approval, outside of the window, or before the canaries.
func (c *checker) gates(r *v1alpha1.Rollout, before, after *v1alpha1.RolloutStatus, i int, seen []Cluster) {
	s, rule := &after.Stages[i], r.Spec.Strategy.Stage(after.Stages[i].Name)
	promoted := slices.Contains(r.Spec.Promoted, s.Name)
	if r.Spec.Purpose == v1alpha1.RolloutBack {
		return
	}
	for _, earlier := range after.Stages[:i] {
		if earlier.Step != v1alpha1.StageDone {
			c.fails("%s: stage %s moves before stage %s is done", r.Name, s.Name, earlier.Name)
		}
	}
	if promoted {
		return
	}
	agreed := v1alpha1.RolloutApproval{Stage: s.Name, Point: v1alpha1.ApproveBefore}
	followed := before.Completed != nil || i < len(before.Stages) && before.Stages[i].Step == v1alpha1.StageDone // who was away or joined later needs nobody to agree once more
	if !followed && slices.Contains(rule.Approvals, v1alpha1.ApproveBefore) && !slices.Contains(r.Spec.Approvals, agreed) {
		c.fails("%s: stage %s moves and nobody approved", r.Name, s.Name)
	}
	open := len(rule.Windows) == 0
	for _, each := range rule.Windows {
		w, err := parse(each)
		open = open || err == nil && w.open(c.wall)
	}
	if !open {
		c.fails("%s: stage %s moves outside of its window", r.Name, s.Name)
	}
	if s.Step != v1alpha1.StageCanary {
		return
	}
	canaries := 0
	for _, one := range seen {
		if slices.Contains(s.Moved, one.Name) && !one.out() {
			canaries++
		}
	}
	tired := canaries - c.underway(r, s, seen) // well, or given up: those are replaced
	if wanted := max(1, ceil(rule.Canary, int(s.Clusters))); canaries > wanted && tired == 0 {
		c.fails("%s: stage %s: %d canaries, %d are wanted", r.Name, s.Name, canaries, wanted)
	}
}

// bake: nobody goes on before those that were moved were seen to be well for as long as is asked for, for real. A clock
// that jumps may cost a minute each time.
func (c *checker) bake(r *v1alpha1.Rollout, before, after *v1alpha1.RolloutStatus, i int, seen []Cluster) {
	if c.undecided || r.Spec.Purpose == v1alpha1.RolloutBack || i >= len(before.Stages) || after.Completed != nil && before.Completed != nil {
		return
	}
	was, is := before.Stages[i], after.Stages[i]
	key := r.Name + "/" + was.Name
	track := c.bakes[key]
	if track == nil {
		track = &bakeTrack{}
		c.bakes[key] = track
	}
	present, available, down := 0, 0, 0
	for _, one := range seen {
		told := slices.Contains(was.Moved, one.Name) ||
			slices.Contains(is.Moved, one.Name) && one.State == Well && one.Content // nothing changed for it
		if !told || one.out() {
			continue
		}
		excused := slices.Contains(r.Spec.Excused, one.Name)
		if !excused {
			present++
		}
		switch {
		case one.State == Well && one.Content:
			available++
		case !excused && c.hasTime(r, after, one.Name):
			down++
		}
	}
	well := down == 0 && available > 0
	switch {
	case !well:
		track.sum = 0
	case track.well:
		track.sum += c.elapsed - track.at
	}
	track.well, track.at = well, c.elapsed
	passed := was.Baked == nil && (was.Step == v1alpha1.StageCanary && is.Step != v1alpha1.StageCanary || is.Baked != nil)
	rule := r.Spec.Strategy.Stage(was.Name)
	if !passed || present == 0 || slices.Contains(r.Spec.Promoted, was.Name) || rule.Bake == nil {
		return
	}
	if unearned := time.Duration(c.jumps) * longest; track.sum+unearned+time.Second < rule.Bake.Duration {
		c.fails("%s: stage %s goes on after %s of being well, %s are wanted", r.Name, was.Name, track.sum, rule.Bake.Duration)
	}
}

// hasTime says whether a cluster that is down has not failed yet.
func (c *checker) hasTime(r *v1alpha1.Rollout, status *v1alpha1.RolloutStatus, name v1alpha1.ClusterName) bool {
	for _, group := range status.Moving {
		if slices.Contains(group.Clusters, name) {
			return c.wall.Sub(group.Since.Time) < r.Spec.Strategy.ProgressDeadline.Duration &&
				(group.Failing == nil || c.wall.Sub(group.Failing.Time) < stands)
		}
	}
	return true
}
