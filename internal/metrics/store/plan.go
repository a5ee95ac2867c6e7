package store

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"umbel.dev/umbel/internal/metrics/request"
)

// Limits are what one cluster may bring. Zero fields take the default.
type Limits struct {
	// Series is how many a cluster may have in memory: those with a sample in the last two to three hours. The default is 50,000.
	Series int
	// Rate is how many samples a cluster may send in a second, on average over a minute. The default is 5,000.
	Rate int
}

func (l Limits) withDefaults() Limits {
	if l.Series == 0 {
		l.Series = 50_000
	}
	if l.Rate == 0 {
		l.Rate = 5_000
	}
	return l
}

// burst is how many samples a cluster may send at once.
func (l Limits) burst() int { return 60 * l.Rate }

const (
	// Late is how much older than the newest sample of all one may be: so long may a cluster be away and fill in what it measured.
	Late = 24 * time.Hour
	// early is how much later than now: clocks differ.
	early = 10 * time.Minute
	// maxName and maxValue are how many bytes a label's name and value may have.
	maxName, maxValue = 256, 2048
)

// reason is why something is not kept.
type reason string

// The reasons, in the order in which an answer names them.
const (
	tooManySeries reason = "its cluster has too many series"
	tooEarly      reason = "it is of a later time than now"
	tooLate       reason = "it is too old"
	contradicts   reason = "there is another value of that time"
	noSeries      reason = "its labels are none"
	ofTheHub      reason = "its name is for what the hub says itself"
)

// reasons are all of them.
var reasons = []reason{tooManySeries, tooEarly, tooLate, contradicts, noSeries, ofTheHub}

// clusterLabel says whose a series is, and formerLabel what the series said itself.
const clusterLabel, formerLabel, nameLabel = "cluster", "exported_cluster", "__name__"

// reserved are how the names of series begin that the hub alone writes: an agent that could would say of its cluster that all is well with it,
// or raise alarms.
var reserved = []string{"umbel_cluster_", "umbel_package_", "umbel_rollout_", "umbel_rules_", "ALERTS"}

// Reserved says whether series of a name are the hub's own.
func Reserved(name string) bool {
	return slices.ContainsFunc(reserved, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// judge says why a series of an agent is not kept; empty when it may be.
func judge(s *request.Series) reason {
	named := false
	for _, l := range s.Labels {
		if l.Name == "" || len(l.Name) > maxName || len(l.Value) > maxValue {
			return noSeries
		}
		if l.Name == nameLabel && Reserved(l.Value) {
			return ofTheHub
		}
		named = named || l.Name == nameLabel && l.Value != ""
	}
	if !named || s.Invalid != "" {
		return noSeries
	}
	return ""
}

// timely says why a sample is not kept because of its time; empty when it may be. The database knows how old one may be.
func timely(millis int64, now time.Time) reason {
	switch {
	case millis > now.Add(early).UnixMilli():
		return tooEarly
	case millis < now.Add(-2*Late).UnixMilli():
		return tooLate
	}
	return ""
}

// outcome is what became of a request.
type outcome struct {
	kept    int
	refused map[reason]int
}

func (o *outcome) refuse(why reason, samples int) {
	if o.refused == nil {
		o.refused = map[reason]int{}
	}
	o.refused[why] += max(samples, 1)
}

// String says what was refused; empty when nothing was.
func (o *outcome) String() string {
	text := ""
	for _, why := range reasons {
		if n := o.refused[why]; n > 0 {
			text += fmt.Sprintf("; %d refused: %s", n, why)
		}
	}
	if text == "" {
		return ""
	}
	return fmt.Sprintf("%d samples were kept%s", o.kept, text)
}
