package rollout

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

const (
	// heartbeat is how often it is written down that somebody looks, while a time is measured, and longest how much of the
	// time between two looks counts.
	heartbeat, longest = 30 * time.Second, time.Minute
	// stands is how long a cluster has to report a failure before it has failed: an agent tries again by itself.
	stands = 15 * time.Second
	// maxFailures is how many failures the status names.
	maxFailures = 10
)

// State is what is known of a Package on one cluster.
type State int

const (
	// Away: it is not connected, so that its last word may be out of date.
	Away State = iota
	// Unfit: the release has nothing for it, such as for want of a label that the manifests refer to.
	Unfit
	// Blocked: it would not take the release now, since it waits for another Package, a later agent or a Plan.
	Blocked
	// Absent: it is connected and holds nothing of the Package.
	Absent
	// Well: what it holds is applied, and healthy.
	Well
	// Unwell: it is at work, or what it holds is not healthy.
	Unwell
	// Failing: it says that something went wrong.
	Failing
)

// Cluster is what Next looks at of one cluster.
type Cluster struct {
	Name   v1alpha1.ClusterName
	Labels map[string]string
	State  State
	// Holds is the Release that it works on or holds, and Content whether that is what the rollout's release has for it, to
	// the byte.
	Holds   string
	Content bool
	// Message is what it says of what is wrong or, when it is Blocked, what it waits for.
	Message string
}

// out says that a rollout does nothing with a cluster for now: it is told nothing, takes nobody's place and proves nothing. It
// follows when that ends.
func (c *Cluster) out() bool { return c.State == Away || c.State == Unfit || c.State == Blocked }

// Seen is what Next looks at.
type Seen struct {
	// Clusters are those that the Placement selects and that do not leave the fleet.
	Clusters []Cluster
	// Decided: the Placement has a decision, or its last one stands.
	Decided bool
	// Answers are those of the gates that Asks names.
	Answers Answers
}

// News is what happened, once, in a sentence of the past.
type News struct{ Reason, Note string }

// Decision is what Next comes to.
type Decision struct {
	Status v1alpha1.RolloutStatus
	// Again is when to look again at the latest; zero means when something happens.
	Again time.Duration
	News  []News
}

// Next decides what a rollout that has begun does now. It is called as often as anybody likes: the same again changes
// nothing.
func Next(r *v1alpha1.Rollout, seen Seen, now time.Time) Decision {
	if over(&r.Status) {
		return Decision{Status: r.Status}
	}
	p := newPass(r, seen, now)
	if !seen.Decided { // then nobody knows which clusters there are, and this is no look
		p.waits(v1alpha1.ReasonPlacementUnsettled, "the placement is not decided: no cluster moves until it is")
		p.explain()
		return Decision{Status: p.status}
	}
	p.watch()
	p.retry()
	p.look()
	p.decide()
	p.count()
	p.conclude()
	return Decision{Status: p.status, Again: p.again, News: p.news}
}

func over(status *v1alpha1.RolloutStatus) bool { return (&v1alpha1.Rollout{Status: *status}).Over() }

// pass is one run of Next.
type pass struct {
	spec   *v1alpha1.RolloutSpec
	list   []Cluster
	seen   map[v1alpha1.ClusterName]*Cluster
	now    time.Time
	status v1alpha1.RolloutStatus
	moving map[v1alpha1.ClusterName]*move
	ailing map[v1alpha1.ClusterName]bool
	failed []v1alpha1.RolloutFailure
	// shut are the gates that do not hold for too long, in a sentence each.
	shut []string
	// closing: there is one that does not hold, and has time left.
	closing bool
	answers Answers
	wait    News
	again   time.Duration
	news    []News
}

// move is a cluster that was moved, is connected, and is not healthy with the release.
type move struct {
	since, failing time.Time
	// over: its time is up.
	over bool
}

func newPass(r *v1alpha1.Rollout, seen Seen, now time.Time) *pass {
	p := &pass{
		spec: &r.Spec, list: seen.Clusters, seen: make(map[v1alpha1.ClusterName]*Cluster, len(seen.Clusters)), now: now,
		status: *r.Status.DeepCopy(), moving: map[v1alpha1.ClusterName]*move{}, ailing: map[v1alpha1.ClusterName]bool{}, answers: seen.Answers,
	}
	p.status.ObservedGeneration = r.Generation
	for i := range seen.Clusters {
		p.seen[seen.Clusters[i].Name] = &p.list[i]
	}
	for _, name := range p.status.Ailing {
		p.ailing[name] = true
	}
	return p
}

// stamp is the time as the API stores it: in whole seconds, and never before it is so that nothing is measured short.
func (p *pass) stamp() *metav1.Time {
	at := p.now.Truncate(time.Second)
	if at.Before(p.now) {
		at = at.Add(time.Second)
	}
	return &metav1.Time{Time: at}
}

// watch takes the time out of what is measured in which nobody looked, and jumps of the clock with it.
func (p *pass) watch() {
	if p.status.Watched == nil {
		return
	}
	gap := p.now.Sub(p.status.Watched.Time)
	lost := gap - min(max(gap, 0), longest)
	if lost == 0 {
		return
	}
	measured := false
	shift := func(at *metav1.Time) {
		if at == nil {
			return
		}
		measured = true
		at.Time = at.Add(lost)
		if at.After(p.now) {
			*at = *p.stamp()
		}
	}
	for i := range p.status.Stages {
		shift(p.status.Stages[i].WellSince)
		shift(p.status.Stages[i].ClosedSince)
	}
	for i := range p.status.Moving {
		shift(&p.status.Moving[i].Since)
		shift(p.status.Moving[i].Failing)
	}
	if measured { // at rest nobody writes that somebody looked
		p.status.Watched = p.stamp()
	}
}

// retry lets clusters that failed try again when somebody asks for it.
func (p *pass) retry() {
	if p.spec.Attempt <= p.status.Attempt {
		return
	}
	p.status.Attempt = p.spec.Attempt
	for i := range p.status.Moving {
		p.status.Moving[i].Since, p.status.Moving[i].Failing = *p.stamp(), nil
	}
	for i := range p.status.Stages {
		p.status.Stages[i].ClosedSince = nil
	}
	if p.status.Phase == v1alpha1.RolloutHalted {
		p.status.Phase = v1alpha1.RolloutRunning
		p.tell("Resumed", "Resumed: clusters that failed try again")
	}
}

// decide does what is due.
func (p *pass) decide() {
	completed := p.status.Completed != nil
	switch {
	case p.spec.Intent == v1alpha1.IntentAbort:
		p.end(v1alpha1.RolloutAborted, v1alpha1.ReasonAborted, "it was aborted: every cluster keeps what it was told")
	case p.spec.Intent == v1alpha1.IntentBack && p.goBack("somebody asked for it"):
	case p.spec.Intent == v1alpha1.IntentPause:
		if !completed {
			p.status.Phase = v1alpha1.RolloutPaused
		}
		p.waits(v1alpha1.ReasonPaused, "it is paused: no further cluster moves until `umbel rollout resume`")
	case completed:
		p.follow()
	case p.spec.Purpose == v1alpha1.RolloutBack:
		p.status.Phase = v1alpha1.RolloutRunning
		p.back()
	case p.halts():
	default:
		p.status.Phase = v1alpha1.RolloutRunning
		p.join()
		p.advance()
	}
}

// halts says whether too many clusters failed, or a gate does not hold for too long. Once it halts, it does until somebody decides.
func (p *pass) halts() bool {
	allowed := share(p.spec.Strategy.MaxFailures, int(p.status.Clusters), 0)
	if (len(p.failed) > allowed || len(p.shut) > 0) && p.status.Phase != v1alpha1.RolloutHalted {
		why := p.wrong()
		if p.spec.Strategy.OnFailure == v1alpha1.FailureRollback && p.goBack(why) {
			return true
		}
		p.status.Phase = v1alpha1.RolloutHalted
		p.tell("Halted", "Halted, since %s", why)
	}
	if p.status.Phase != v1alpha1.RolloutHalted {
		return false
	}
	why := p.wrong()
	out := "`umbel rollout back` brings all back"
	if p.spec.Kubernetes != nil { // which does not go back
		out = "with --excuse it goes on without"
	}
	p.waits(v1alpha1.ReasonHalted, "halted, since %s; `umbel rollout resume` tries again, %s", why, out)
	return true
}

// wrong says what halts the rollout.
func (p *pass) wrong() string {
	switch {
	case len(p.failed) > 0:
		return fmt.Sprintf("%s failed: %s", some(failures(p.failed)), p.failed[0].Message)
	case len(p.shut) > 0:
		return p.shut[0]
	}
	return "too many clusters failed, or a gate did not hold; that came right by now"
}

// goBack ends the rollout for one that brings the clusters back; false when there is nothing to go back to.
func (p *pass) goBack(why string) bool {
	to := p.spec.BackTo
	if p.spec.Intent != v1alpha1.IntentBack || to == "" {
		to = p.spec.Previous
	}
	if to == "" || to == p.spec.Release {
		if p.spec.Intent == v1alpha1.IntentBack {
			p.waits(v1alpha1.ReasonHalted, "there is no earlier release that is known to be good: name one (`umbel rollout back --to RELEASE`), or `umbel rollout resume`")
			if p.status.Completed == nil {
				p.status.Phase = v1alpha1.RolloutPaused
			}
			return true
		}
		return false
	}
	p.end(v1alpha1.RolloutRolledBack, v1alpha1.ReasonRolledBack, fmt.Sprintf("the clusters go back to %s, since %s", to, why))
	return true
}

// end is the last thing that a rollout does.
func (p *pass) end(phase v1alpha1.RolloutPhase, reason, message string) {
	p.status.Phase, p.status.Ended = phase, p.stamp()
	if phase == v1alpha1.RolloutRolledBack {
		p.status.Successor = v1alpha1.RolloutName(p.spec.PackageRef.Name, p.spec.Number+1)
	}
	p.waits(reason, "%s", message)
	p.tell(reason, "%s", strings.ToUpper(message[:1])+message[1:])
}

func (p *pass) waits(reason, format string, args ...any) {
	p.wait = News{reason, fmt.Sprintf(format, args...)}
}

func (p *pass) tell(reason, format string, args ...any) {
	p.news = append(p.news, News{reason, fmt.Sprintf(format, args...)})
}

// within asks for another look.
func (p *pass) within(after time.Duration) {
	after = max(after, time.Second)
	if p.again == 0 || after < p.again {
		p.again = after
	}
}

func failures(failed []v1alpha1.RolloutFailure) []v1alpha1.ClusterName {
	names := make([]v1alpha1.ClusterName, 0, len(failed))
	for _, f := range failed {
		names = append(names, f.Cluster)
	}
	return names
}

// many says how many clusters.
func many(clusters int) string { return v1alpha1.Counted(clusters, "cluster") }

// following says how many clusters get the release when the rollout is complete.
func following(clusters int) string {
	return fmt.Sprintf("%s that could not be told or joined later %s", many(clusters), v1alpha1.Agreeing(clusters, "follows", "follow"))
}

// few is how many of several things a sentence names.
const few = 5

// some lists a few names, and counts the others.
func some(names []v1alpha1.ClusterName) string { return v1alpha1.Few(names, few) }

func (p *pass) isPromoted(stage string) bool { return slices.Contains(p.spec.Promoted, stage) }

func (p *pass) isExcused(name v1alpha1.ClusterName) bool {
	return slices.Contains(p.spec.Excused, name)
}
