package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// Query says which events are asked for. An empty field restricts nothing.
type Query struct {
	// Clusters are members; an event is about one of them.
	Clusters []v1alpha1.ClusterName
	// User is who acted, by the name that the hub or the member has for them.
	User string
	// Verbs are Kubernetes' verbs and those of Deeds; an event has one of them.
	Verbs []string
	// Since and Until bound the time of an event's stage; Since is within, Until is not.
	Since, Until time.Time
	// Follow goes on with what happens from now on.
	Follow bool
	// Last is how many events an Endpoint answers at most: the newest, the oldest of them first. 0 are all.
	Last int
}

// maxLast is the most that Last may be: so many are held at once.
const maxLast = 10000

// The parameters of a Query in a URL.
const (
	clusterParameter = "cluster"
	userParameter    = "user"
	verbParameter    = "verb"
	sinceParameter   = "since"
	untilParameter   = "until"
	followParameter  = "follow"
	lastParameter    = "last"
)

// Values writes the query as parameters of a URL.
func (q Query) Values() url.Values {
	values := url.Values{}
	for _, cluster := range q.Clusters {
		values.Add(clusterParameter, string(cluster))
	}
	for _, verb := range q.Verbs {
		values.Add(verbParameter, verb)
	}
	if q.User != "" {
		values.Set(userParameter, q.User)
	}
	for name, at := range map[string]time.Time{sinceParameter: q.Since, untilParameter: q.Until} {
		if !at.IsZero() {
			values.Set(name, at.UTC().Format(time.RFC3339Nano))
		}
	}
	if q.Follow {
		values.Set(followParameter, "true")
	}
	if q.Last > 0 {
		values.Set(lastParameter, strconv.Itoa(q.Last))
	}
	return values
}

// ParseQuery reads what Values has written. An unknown parameter is an error: who misspells a filter gets no more than
// was asked for.
func ParseQuery(values url.Values) (Query, error) {
	var q Query
	for name, given := range values {
		if name != clusterParameter && name != verbParameter && len(given) > 1 {
			return q, fmt.Errorf("%s is given %d times", name, len(given))
		}
		var err error
		switch name {
		case clusterParameter:
			for _, cluster := range given {
				if !v1alpha1.ValidClusterName(v1alpha1.ClusterName(cluster)) {
					return q, fmt.Errorf("cluster: %.63q is no name of a cluster", cluster)
				}
				q.Clusters = append(q.Clusters, v1alpha1.ClusterName(cluster))
			}
		case verbParameter:
			q.Verbs = given
		case userParameter:
			q.User = given[0]
		case sinceParameter:
			q.Since, err = time.Parse(time.RFC3339Nano, given[0])
		case untilParameter:
			q.Until, err = time.Parse(time.RFC3339Nano, given[0])
		case followParameter:
			q.Follow, err = strconv.ParseBool(given[0])
		case lastParameter:
			if q.Last, err = strconv.Atoi(given[0]); err == nil && (q.Last < 1 || q.Last > maxLast) {
				err = fmt.Errorf("not between 1 and %d", maxLast)
			}
		default:
			return q, fmt.Errorf("%.63q is not one of cluster, user, verb, since, until, follow, last", name)
		}
		if err != nil {
			return q, fmt.Errorf("%s: %.63q: %w", name, given[0], err)
		}
	}
	if q.Follow && !q.Until.IsZero() {
		return q, errors.New("until and follow exclude each other")
	}
	if q.Follow && q.Last > 0 {
		return q, errors.New("last and follow exclude each other")
	}
	return q, nil
}

// line is as much of an event as a query asks about.
type line struct {
	Kind           string        `json:"kind"`
	Stage          auditv1.Stage `json:"stage"`
	Verb           string        `json:"verb"`
	StageTimestamp time.Time     `json:"stageTimestamp"`
	User           struct {
		Username string `json:"username"`
	} `json:"user"`
	Annotations map[string]string `json:"annotations"`
}

var errNoEvent = errors.New("not an audit event")

// Matches says whether an event, written as one line, is asked for. An error says that it is none.
func (q Query) Matches(text []byte) (bool, error) {
	if !q.mayMatch(text) {
		return false, nil
	}
	var event line
	if err := json.Unmarshal(text, &event); err != nil || event.Kind != "Event" || event.Stage == "" {
		return false, errNoEvent
	}
	at := event.StageTimestamp
	switch {
	case at.Before(q.Since), !q.Until.IsZero() && !at.Before(q.Until):
	case len(q.Clusters) > 0 && !slices.Contains(q.Clusters, v1alpha1.ClusterName(event.Annotations[ClusterAnnotation])):
	case q.User != "" && event.User.Username != q.User && event.Annotations[MemberUserAnnotation] != q.User:
	case len(q.Verbs) > 0 && !slices.Contains(q.Verbs, event.Verb):
	default:
		return true, nil
	}
	return false, nil
}

// mayMatch spares most lines the reading of their JSON: what is asked for by one plain word is somewhere in the line. What
// it turns away is not looked at for damage.
func (q Query) mayMatch(text []byte) bool {
	plain := func(word string) bool {
		for _, c := range []byte(word) {
			if c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
				return false // it may be written otherwise
			}
		}
		return true
	}
	has := func(word string) bool { return !plain(word) || bytes.Contains(text, []byte(word)) }
	return (q.User == "" || has(q.User)) &&
		(len(q.Clusters) == 0 || slices.ContainsFunc(q.Clusters, func(c v1alpha1.ClusterName) bool { return has(string(c)) })) &&
		(len(q.Verbs) == 0 || slices.ContainsFunc(q.Verbs, has))
}
