package audit

import (
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// leftOut is the rule by which changes of the hub to its own API are not recorded. Everything else is.
var leftOut = []struct {
	group, resource, subresource string // a resource of "*" is every one of the group
	because                      string
}{
	{"coordination.k8s.io", "leases", "", "the hub's pulse and the election of a leader: one every few seconds, and it changes nothing"},
	{"", "events", "", "they tell of changes, which are recorded themselves"},
	{"events.k8s.io", "events", "", "as above"},
	{"authentication.k8s.io", "*", "", "questions, in the form of objects that nobody stores"},
	{"authorization.k8s.io", "*", "", "as above"},
	{v1alpha1.GroupVersion.Group, "memberclusters", "status", "what members report; what the hub did to them is recorded as deeds"},
	{v1alpha1.GroupVersion.Group, "packages", "status", "counts of what members report"},
	{"multicluster.x-k8s.io", "clusterprofiles", "status", "what members report, as other tools read it"},
	{"multicluster.x-k8s.io", "placementdecisions", "", "what a Placement selects, as other tools read it; its status is recorded itself"},
}

func recorded(ref *auditv1.ObjectReference) bool {
	for _, out := range leftOut {
		if out.group == ref.APIGroup && (out.resource == "*" || out.resource == ref.Resource && out.subresource == ref.Subresource) {
			return false
		}
	}
	return true
}

// Transport records each change that goes through next to the hub's own API: who wraps the configuration that all of the
// hub's clients are made of forgets none. With a nil Log it is next.
func (l *Log) Transport(next http.RoundTripper) http.RoundTripper {
	if l == nil {
		return next
	}
	return changes{l, next}
}

// impersonation is the header by which a request acts as somebody else.
const impersonation = "Impersonate-User"

type changes struct {
	log  *Log
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (c changes) RoundTrip(r *http.Request) (*http.Response, error) {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return c.next.RoundTrip(r)
	}
	if r.Header.Get(impersonation) != "" {
		return c.next.RoundTrip(r) // a person's, who is recorded at the door
	}
	event := c.log.change(r)
	if event == nil {
		return c.next.RoundTrip(r)
	}
	r = r.Clone(r.Context())
	r.Header.Set(auditv1.HeaderAuditID, string(event.AuditID))
	response, err := c.next.RoundTrip(r)
	event.StageTimestamp = metav1.NewMicroTime(c.log.config.Now())
	if err != nil {
		event.Annotations[EndedAnnotation] = "the hub's API did not answer: whether it was done is not known"
	}
	if response != nil {
		event.ResponseStatus = &metav1.Status{Code: int32(response.StatusCode)}
		if response.StatusCode >= http.StatusBadRequest {
			event.ResponseStatus.Status = metav1.StatusFailure
		}
	}
	c.log.Record(event)
	return response, err
}

// WrappedRoundTripper lets client-go find what is below.
func (c changes) WrappedRoundTripper() http.RoundTripper { return c.next }

// change begins the event of a change, or returns nil when it is not recorded.
func (l *Log) change(r *http.Request) *auditv1.Event {
	info := resolve(r, r.URL.EscapedPath())
	event := newEvent(l.config.Now())
	event.User, event.Verb, event.UserAgent = hubUser(), info.Verb, clip(r.UserAgent(), maxAgent)
	event.RequestURI = redactURI(r.URL.EscapedPath(), r.URL.RawQuery, keepHarmless)
	if !info.IsResourceRequest {
		return event
	}
	event.ObjectRef = objectOf(info)
	if !recorded(event.ObjectRef) {
		return nil
	}
	aboutMember(event)
	return event
}
