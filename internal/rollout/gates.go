package rollout

import (
	"fmt"
	"time"

	"umbel.dev/umbel/api/v1alpha1"
)

// recheck is how often the gates of a stage are asked again while nothing else happens.
const recheck = 15 * time.Second

// Answer is what metrics say of a gate.
type Answer struct {
	// Holds says that it does. Unknown says why nobody knows; then it does not hold, and that is no failure.
	Holds   bool
	Unknown string
}

// Answers are those of the gates of stages, by the names of both. What is not among them is not known yet.
type Answers map[string]map[string]Answer

// Asks returns the gates that a rollout waits for now, with the clusters that each is about: those of its stage that were moved.
func Asks(r *v1alpha1.Rollout) []Question {
	if over(&r.Status) || r.Status.Completed != nil || r.Spec.Purpose == v1alpha1.RolloutBack {
		return nil
	}
	var all []Question
	for i := range r.Status.Stages {
		s := &r.Status.Stages[i]
		if len(s.Moved) == 0 || !underway(s) {
			continue
		}
		for _, gate := range r.Spec.Strategy.Stage(s.Name).Gates {
			all = append(all, Question{Stage: s.Name, Gate: gate, Clusters: s.Moved})
		}
	}
	return all
}

// Question is a gate that is to be asked about clusters.
type Question struct {
	Stage    string
	Gate     v1alpha1.MetricGate
	Clusters []v1alpha1.ClusterName
}

// underway says that the stage has its turn.
func underway(s *v1alpha1.StageStatus) bool {
	return s.Step == v1alpha1.StageCanary || s.Step == v1alpha1.StageMoving
}

// gate is what all gates of a stage say together. shut is one that does not hold; doubt is one of which nobody knows.
type gate struct{ shut, doubt string }

func (g gate) open() bool { return g.shut == "" && g.doubt == "" }

// gateOf puts together what the gates of a stage say. One that does not hold counts before one of which that is not known.
func (p *pass) gateOf(s *v1alpha1.StageStatus) (g gate) {
	if p.spec.Purpose == v1alpha1.RolloutBack || p.isPromoted(s.Name) {
		return g
	}
	for _, each := range p.spec.Strategy.Stage(s.Name).Gates {
		answer, asked := p.answers[s.Name][each.Name]
		switch {
		case !asked && g.doubt == "":
			g.doubt = fmt.Sprintf("gate %s of stage %s has not been asked yet", each.Name, s.Name)
		case answer.Unknown != "" && g.doubt == "":
			g.doubt = fmt.Sprintf("whether gate %s of stage %s holds is not known: %s", each.Name, s.Name, answer.Unknown)
		case asked && answer.Unknown == "" && !answer.Holds && g.shut == "":
			g.shut = fmt.Sprintf("gate %s of stage %s does not hold: %s", each.Name, s.Name, each.Query)
		}
	}
	return g
}

// guard measures for how long a gate of a stage does not hold of clusters that are well. While it does not, or nobody knows, no bake time
// passes.
func (p *pass) guard(s *v1alpha1.StageStatus) {
	g := p.gateOf(s)
	if !underway(s) || p.status.Completed != nil || g.shut == "" || p.stand(s).available == 0 {
		s.ClosedSince = nil
	} else if s.ClosedSince == nil {
		s.ClosedSince = p.stamp()
	}
	if !underway(s) || g.open() {
		return
	}
	s.WellSince = nil
	if s.ClosedSince == nil {
		return
	}
	left := p.deadline() - p.now.Sub(s.ClosedSince.Time)
	if left <= 0 {
		p.shut = append(p.shut, fmt.Sprintf("%s, for %s", g.shut, p.deadline()))
		return
	}
	p.closing = true
	p.within(left)
}

// passes says whether the gates of a stage let it go on, for whose clusters that were moved something is measured: none is well before
// the first is.
func (p *pass) passes(s *v1alpha1.StageStatus) bool {
	if p.stand(s).available == 0 {
		return true
	}
	g := p.gateOf(s)
	if g.open() {
		return true
	}
	again := recheck
	why := g.shut
	if why == "" {
		why = g.doubt
		if p.answers[s.Name] == nil { // whoever was moved was moved just now
			again = time.Second
		}
	}
	p.within(again)
	p.waits(v1alpha1.ReasonAwaitingGate, "%s", why)
	return false
}
