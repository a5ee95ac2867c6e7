package decide

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"umbel.dev/umbel/api/v1alpha1"
)

// Result is how a step of a trace ended.
type Result string

// The results.
const (
	Pass    Result = "Pass"
	Fail    Result = "Fail"
	Unknown Result = "Unknown"
	// Ignored: it says something, and nothing depends on it.
	Ignored Result = "Ignored"
)

// Step is one thing that a decision about a cluster depends on.
type Step struct {
	// Check is what was asked: a field of the spec, such as spec.expressions[0].
	Check string `json:"check"`
	// Result says how it ended.
	Result Result `json:"result"`
	// Message says why, with the values of the cluster.
	Message string `json:"message"`
}

// Trace says step by step what the spec says of one cluster. Unlike a decision it goes on after the first thing that the
// cluster does not meet: whoever asks wants to know all of them.
func (p *Plan) Trace(c *Cluster, before Before) []Step {
	held := slices.Contains(before.Clusters, c.Name)
	steps := []Step{p.traceMember(c), p.traceSelector(c)}
	if c.Observed {
		steps = append(steps, traceLevel(held))
	}
	for i := range p.fields {
		steps = append(steps, p.traceField(i, c))
	}
	for i := range p.expressions {
		steps = append(steps, p.traceExpression(i, c))
	}
	for _, taint := range c.Taints {
		steps = append(steps, p.traceTaint(taint, held))
	}
	if len(c.Taints) == 0 {
		steps = append(steps, Step{"taints", Pass, "the cluster has none"})
	}
	if p.seats != nil {
		steps = append(steps, p.traceSeats(c, before, held)...)
	}
	for _, group := range before.Leaving {
		if slices.Contains(group.Clusters, c.Name) {
			steps = append(steps, Step{"stay", Unknown, fmt.Sprintf("it stays until %s, and longer if it meets the spec again by then: %s",
				group.Until.UTC().Format(time.RFC3339), group.Because)})
		}
	}
	return steps
}

func (p *Plan) traceMember(c *Cluster) Step {
	switch c.Standing {
	case Leaving:
		return Step{"membership", Fail, "the cluster is being deleted"}
	case Outside:
		return Step{"membership", Fail, "the cluster was never let in: `umbel approve " + string(c.Name) + "` does"}
	}
	return Step{"membership", Pass, "the cluster is a member"}
}

// CheckLevel is the check of a step about the cluster's level.
const CheckLevel = "level"

func traceLevel(held bool) Step {
	if held {
		return Step{CheckLevel, Ignored, "the cluster is observed, which keeps it from being selected anew; it is selected already, and stays"}
	}
	return Step{CheckLevel, Fail, "the cluster is observed: nothing is written there, so it is not selected anew"}
}

func (p *Plan) traceSelector(c *Cluster) Step {
	const check = "spec.clusterSelector"
	requirements, _ := p.selector.Requirements()
	var unmet []string
	for i := range requirements {
		if requirements[i].Matches(labels.Set(c.Labels)) {
			continue
		}
		has := "no such label"
		if value, ok := c.Labels[requirements[i].Key()]; ok {
			has = requirements[i].Key() + "=" + value
		}
		unmet = append(unmet, fmt.Sprintf("%s: the cluster has %s", &requirements[i], has))
	}
	switch {
	case len(unmet) > 0:
		return Step{check, Fail, strings.Join(unmet, "; ")}
	case len(requirements) == 0:
		return Step{check, Pass, "selects every cluster"}
	}
	return Step{check, Pass, p.selector.String()}
}

func (p *Plan) traceField(i int, c *Cluster) Step {
	r := &p.fields[i]
	step := Step{Check: fmt.Sprintf("spec.fields[%d]", i)}
	value, has, known := r.value(c)
	switch {
	case !known:
		value = "the cluster's agent has not said it yet"
	case !has:
		value = "the cluster has none"
	default:
		value = "the cluster has " + value
	}
	step.Message = r.String() + ": " + value
	switch r.met(c) {
	case yes:
		step.Result = Pass
	case no:
		step.Result = Fail
	case unknown:
		step.Result = Unknown
		if known {
			step.Message += ", which cannot be compared"
		}
	}
	return step
}

func (p *Plan) traceExpression(i int, c *Cluster) Step {
	e := p.expressions[i]
	step := Step{Check: fmt.Sprintf("spec.expressions[%d]", i), Message: shorten(e.text)}
	if e.observed && !c.heard() {
		step.Result = Unknown
		step.Message += ": the cluster's agent has not said anything yet"
		return step
	}
	is, err := e.holds(c)
	switch is {
	case yes:
		step.Result = Pass
	case no:
		step.Result = Fail
		step.Message += ": is false"
	case unknown:
		step.Result = Unknown
		step.Message += fmt.Sprintf(": %v; so nothing is decided by it", err)
	}
	return step
}

// shorten puts an expression into one line that is not too long.
func shorten(text string) string {
	const most = 80
	line := strings.Join(strings.Fields(text), " ")
	if runes := []rune(line); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return line
}

func (p *Plan) traceTaint(taint v1alpha1.Taint, held bool) Step {
	step := Step{Check: "taint " + taint.String()}
	seconds, tolerated := p.tolerates(taint)
	switch {
	case tolerated:
		step.Result, step.Message = Pass, "is tolerated"
	case taint.Effect == v1alpha1.TaintPreferNoSelect:
		step.Result, step.Message = Ignored, "others are taken first, where a number of clusters is asked for"
	case taint.Effect == v1alpha1.TaintNoSelect && held:
		step.Result, step.Message = Ignored, "keeps the cluster from being selected anew; it is selected already, and stays"
	case taint.Effect == v1alpha1.TaintNoSelect:
		step.Result, step.Message = Fail, "is not tolerated (spec.tolerations), so the cluster is not selected anew"
	case seconds >= 0 && held:
		step.Result, step.Message = Unknown, fmt.Sprintf("is tolerated for %ds", seconds)
	case seconds >= 0:
		step.Result, step.Message = Fail, "is tolerated for a while where the cluster is selected already, and keeps it from being selected anew"
	default:
		step.Result, step.Message = Fail, "is not tolerated (spec.tolerations)"
	}
	return step
}

// traceSeats says how the cluster stands among those that could have a seat.
func (p *Plan) traceSeats(c *Cluster, before Before, held bool) []Step {
	var steps []Step
	if spread := p.seats.spread; spread != nil {
		step := Step{"spec.spread", Pass, "it lies in " + spread.Label + " " + c.Labels[spread.Label]}
		if _, has := c.Labels[spread.Label]; !has {
			step.Result, step.Message = Fail, "the cluster has no label "+spread.Label
		}
		steps = append(steps, step)
	}
	for i := range p.seats.scores {
		points, err := p.seats.scores[i].points(c)
		step := Step{fmt.Sprintf("spec.scores[%d]", i), Ignored, fmt.Sprintf("%s, times %d", v1alpha1.Counted(points, "point"), p.seats.scores[i].weight)}
		if err != nil {
			step.Result, step.Message = Unknown, fmt.Sprintf("no points: %v", err)
		}
		steps = append(steps, step)
	}
	seat := Step{"spec.numberOfClusters", Pass, "it has one of " + v1alpha1.Counted(p.seats.number, "seat")}
	switch {
	case !held && p.judge(c).why != fits:
		seat.Result, seat.Message = Ignored, "it does not meet the spec, so that it gets no seat"
	case !held && len(before.Clusters) >= p.seats.number:
		seat.Result, seat.Message = Fail, fmt.Sprintf("%s taken, all by %s; who has one keeps it", v1alpha1.Counted(p.seats.number, "seat"), v1alpha1.Few(before.Clusters, 5))
	case !held:
		seat.Result, seat.Message = Fail, fmt.Sprintf("%d of %s %s taken, and it got none of the others", len(before.Clusters), v1alpha1.Counted(p.seats.number, "seat"), v1alpha1.Agreeing(len(before.Clusters), "is", "are"))
	}
	return append(steps, seat)
}
