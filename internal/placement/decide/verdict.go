package decide

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"umbel.dev/umbel/api/v1alpha1"
)

// why is what a cluster meets, or the first thing that it does not meet.
type why int

const (
	fits         why = iota
	isLeaving        // it is being deleted
	isOutside        // it was never let in
	notLabelled      // clusterSelector does not select it
	notSpread        // it lacks the label of spread
	evicted          // an Evict taint is not tolerated, or for a while
	fieldUnmet       // it does not meet fields[index]
	notTrue          // expressions[index] is false
	fieldUnknown     // fields[index] is not known of it
	notEvaluated     // expressions[index] errs
	notNewcomer      // a NoSelect taint keeps it from being selected anew
	isObserved       // nothing is written there, so that it is not selected anew
)

// verdict is what the spec says of one cluster.
type verdict struct {
	why   why
	index int // which of fields, expressions or the cluster's taints
	// seconds: an Evict taint is tolerated for so long; negative when it is not at all.
	seconds int64
}

// judge says what the spec says of a cluster by itself. Of several things that it does not meet the first in this order
// counts: what people say of it, what its agent says, what is not known. None at all is one that is gone.
func (p *Plan) judge(c *Cluster) verdict {
	switch {
	case c == nil || c.Standing == Leaving:
		return verdict{why: isLeaving}
	case c.Standing == Outside:
		return verdict{why: isOutside}
	case !p.selector.Matches(labels.Set(c.Labels)):
		return verdict{why: notLabelled}
	}
	if p.seats != nil && p.seats.spread != nil {
		if _, has := c.Labels[p.seats.spread.Label]; !has {
			return verdict{why: notSpread}
		}
	}
	eviction, newcomer := p.tainted(c)
	if eviction.why == evicted && eviction.seconds < 0 {
		return eviction
	}
	doubt, unmet := p.observed(c)
	switch {
	case unmet.why != fits:
		return unmet
	case eviction.why != fits:
		return eviction
	case doubt.why != fits:
		return doubt
	case c.Observed:
		return verdict{why: isObserved}
	}
	return newcomer
}

// observed says which field or expression a cluster does not meet, and of which it is not known.
func (p *Plan) observed(c *Cluster) (doubt, unmet verdict) {
	for i := range p.fields {
		switch p.fields[i].met(c) {
		case no:
			return doubt, verdict{why: fieldUnmet, index: i}
		case unknown:
			if doubt.why == fits {
				doubt = verdict{why: fieldUnknown, index: i}
			}
		case yes:
		}
	}
	for i, e := range p.expressions {
		is := unknown
		if !e.observed || c.heard() {
			is, _ = e.holds(c)
		}
		switch is {
		case no:
			return doubt, verdict{why: notTrue, index: i}
		case unknown:
			if doubt.why == fits {
				doubt = verdict{why: notEvaluated, index: i}
			}
		case yes:
		}
	}
	return doubt, verdict{}
}

// tainted says which Evict taint and which NoSelect taint are not tolerated, or for a while only.
func (p *Plan) tainted(c *Cluster) (eviction, newcomer verdict) {
	for i, taint := range c.Taints {
		seconds, tolerated := p.tolerates(taint)
		switch {
		case tolerated || taint.Effect == v1alpha1.TaintPreferNoSelect:
		case taint.Effect == v1alpha1.TaintNoSelect:
			if newcomer.why == fits {
				newcomer = verdict{why: notNewcomer, index: i}
			}
		case eviction.why == fits || seconds < eviction.seconds:
			eviction = verdict{why: evicted, index: i, seconds: seconds}
		}
	}
	return eviction, newcomer
}

// tolerates says whether a taint is tolerated for ever, or else for how many seconds; -1 when it is not at all. Of several
// tolerations that are meant for it the longest counts.
func (p *Plan) tolerates(taint v1alpha1.Taint) (seconds int64, forever bool) {
	seconds = -1
	for i := range p.tolerations {
		t := &p.tolerations[i]
		if !t.Tolerates(taint) {
			continue
		}
		if t.TolerationSeconds == nil {
			return 0, true
		}
		seconds = max(seconds, *t.TolerationSeconds)
	}
	return seconds, false
}

// avoided is how many PreferNoSelect taints of a cluster are not tolerated.
func (p *Plan) avoided(c *Cluster) (count int) {
	for _, taint := range c.Taints {
		if taint.Effect == v1alpha1.TaintPreferNoSelect {
			if _, tolerated := p.tolerates(taint); !tolerated {
				count++
			}
		}
	}
	return count
}

// doubtful says whether it cannot be told if the cluster meets the spec.
func (v verdict) doubtful() bool { return v.why == fieldUnknown || v.why == notEvaluated }

// stay says for how long a cluster that is selected stays so after the verdict was seen first: for ever, for a while, or
// not at all.
func (p *Plan) stay(v verdict, same sameSpec) (after time.Duration, forever bool) {
	switch v.why {
	case fits, notNewcomer, isObserved, fieldUnknown, notEvaluated:
		return 0, true
	case evicted:
		return time.Duration(max(v.seconds, 0)) * time.Second, false
	case fieldUnmet:
		if bool(same) && p.fields[v.index].Field != fieldName {
			return p.whenUnfit, false
		}
	case notTrue:
		if bool(same) && p.expressions[v.index].observed {
			return p.whenUnfit, false
		}
	case isLeaving, isOutside, notLabelled, notSpread:
	}
	return 0, false
}

// because says what a cluster does not meet, in words that are the same for every cluster with this verdict.
func (p *Plan) because(v verdict, c *Cluster) string {
	switch v.why {
	case fieldUnmet:
		return fmt.Sprintf("fields[%d]: %s", v.index, &p.fields[v.index])
	case notTrue:
		return fmt.Sprintf("expressions[%d] is false", v.index)
	case evicted:
		return fmt.Sprintf("the taint %s, which is tolerated for %ds", c.Taints[v.index], v.seconds)
	}
	return ""
}
