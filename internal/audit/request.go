package audit

import (
	"bufio"
	"context"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/sets"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"

	"umbel.dev/umbel/api/v1alpha1"
)

// Target is what a request is for.
type Target struct {
	// Cluster is the member that it goes to; empty when it is for the hub.
	Cluster v1alpha1.ClusterName
	// Path is the path there, escaped.
	Path string
}

// resolver reads paths as Kubernetes' API server does.
var resolver = request.RequestInfoFactory{APIPrefixes: sets.NewString("api", "apis"), GrouplessAPIPrefixes: sets.NewString("api")}

// Serve has next serve a person's request, and records what becomes of it. next says with the Trail of the request's
// context who asks and what was decided. The request carries an audit ID from here on, in the header Audit-ID, whatever
// the client has sent.
func (l *Log) Serve(w http.ResponseWriter, r *http.Request, target Target, next http.HandlerFunc) {
	t := &Trail{log: l, event: l.received(r, target)}
	info := resolve(r, target.Path)
	t.describe(r, info)
	id := string(t.event.AuditID)
	r = r.WithContext(context.WithValue(r.Context(), trailKey{}, t))
	r.Header = maps.Clone(r.Header) // the caller's is another request's, perhaps
	r.Header.Set(auditv1.HeaderAuditID, id)
	answer := &answer{ResponseWriter: w, trail: t, id: id}
	defer func() {
		broken := recover()
		t.end(r.Context(), broken)
		if broken != nil {
			panic(broken)
		}
	}()
	next(answer, r)
}

// received begins the event of a request.
func (l *Log) received(r *http.Request, target Target) *auditv1.Event {
	now := metav1.Now().Time
	if l != nil {
		now = l.config.Now()
	}
	event := newEvent(now)
	for _, ip := range utilnet.SourceIPs(r) {
		event.SourceIPs = append(event.SourceIPs, ip.String())
	}
	event.SourceIPs = event.SourceIPs[max(0, len(event.SourceIPs)-maxHops):]
	event.UserAgent = clip(r.UserAgent(), maxAgent)
	if target.Cluster != "" {
		event.Annotations[ClusterAnnotation] = clip(string(target.Cluster), maxAgent)
	}
	return event
}

// resolve reads what a request asks of the API at its target.
func resolve(r *http.Request, path string) *request.RequestInfo {
	at := &url.URL{Path: path, RawQuery: r.URL.RawQuery}
	if plain, err := url.PathUnescape(path); err == nil {
		at.Path = plain
	}
	info, err := resolver.NewRequestInfo(&http.Request{Method: r.Method, URL: at, Header: r.Header})
	if err != nil { // such as a query that cannot be read: the member says so
		return &request.RequestInfo{Verb: strings.ToLower(r.Method), Path: path}
	}
	return info
}

// trailKey is where the context of a request has its Trail.
type trailKey struct{}

// Trail is the record of one request while it is served. It is safe for concurrent use.
type Trail struct {
	log    *Log
	lasts  bool // the request may last for hours
	writes bool // it changes something

	mu    sync.Mutex
	event *auditv1.Event
}

// From returns the Trail of the request that has the context. Where nobody records, it is one that leads nowhere.
func From(ctx context.Context) *Trail {
	if t, ok := ctx.Value(trailKey{}).(*Trail); ok {
		return t
	}
	return &Trail{event: &auditv1.Event{Annotations: map[string]string{}}}
}

func (t *Trail) describe(r *http.Request, info *request.RequestInfo) {
	t.lasts, t.writes = lasts(r, info), !slices.Contains([]string{"get", "list", "watch", "head", "options"}, info.Verb)
	t.event.Verb = info.Verb
	keep := keepHarmless
	if info.Subresource == "proxy" || info.Verb == "proxy" {
		keep = keepNone // it is an application's
	}
	t.event.RequestURI = redactURI(r.URL.EscapedPath(), r.URL.RawQuery, keep)
	if !info.IsResourceRequest {
		return
	}
	t.event.ObjectRef = objectOf(info)
	aboutMember(t.event)
}

func objectOf(info *request.RequestInfo) *auditv1.ObjectReference {
	return &auditv1.ObjectReference{
		APIGroup: info.APIGroup, APIVersion: info.APIVersion, Resource: info.Resource, Subresource: info.Subresource,
		Namespace: info.Namespace, Name: info.Name,
	}
}

// aboutMember notes which member an event of the hub's own API is about.
func aboutMember(event *auditv1.Event) {
	about := event.ObjectRef
	if event.Annotations[ClusterAnnotation] == "" && about.APIGroup == v1alpha1.GroupVersion.Group && about.Resource == "memberclusters" && about.Name != "" {
		event.Annotations[ClusterAnnotation] = about.Name
	}
}

// lasts says whether a request may go on for as long as somebody likes.
func lasts(r *http.Request, info *request.RequestInfo) bool {
	switch info.Subresource {
	case "exec", "attach", "portforward", "proxy":
		return true
	case "log":
		follow := r.URL.Query().Get("follow")
		return follow != "" && follow != "false" && follow != "0"
	}
	return info.Verb == "watch" || info.Verb == "proxy" || r.Header.Get("Upgrade") != ""
}

// Known tells who asks.
func (t *Trail) Known(who user.Info) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.event.User = authenticationv1.UserInfo{Username: who.GetName(), UID: who.GetUID(), Groups: who.GetGroups()}
	for key, values := range who.GetExtra() {
		if t.event.User.Extra == nil {
			t.event.User.Extra = map[string]authenticationv1.ExtraValue{}
		}
		t.event.User.Extra[key] = values
	}
}

// Refused tells why the hub does not do what was asked.
func (t *Trail) Refused(why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.event.Annotations[RefusedAnnotation] = why
	if t.event.User.Username != "" {
		t.event.Annotations[decisionAnnotation] = "forbid"
	}
}

// Allowed tells that the hub has decided that the request may go on, and by which name the member knows who asks. When
// the request changes something or lasts, this is in the log when it returns.
func (t *Trail) Allowed(onMember string) {
	t.mu.Lock()
	t.event.Annotations[decisionAnnotation] = "allow"
	if onMember != "" && onMember != t.event.User.Username {
		t.event.Annotations[MemberUserAnnotation] = onMember
	}
	t.mu.Unlock()
	if t.lasts || t.writes {
		t.stage(auditv1.StageRequestReceived)
	}
}

// started notes the answer's status.
func (t *Trail) started(code int) {
	t.mu.Lock()
	status := &metav1.Status{Code: int32(code)}
	if code >= http.StatusBadRequest {
		status.Status = metav1.StatusFailure
		status.Message = t.event.Annotations[RefusedAnnotation]
	}
	t.event.ResponseStatus = status
	t.mu.Unlock()
	if t.lasts {
		t.stage(auditv1.StageResponseStarted)
	}
}

// end writes the last event. broken is what the handler panicked with, if it did.
func (t *Trail) end(ctx context.Context, broken any) {
	stage := auditv1.StageResponseComplete
	t.mu.Lock()
	aborted := broken == http.ErrAbortHandler // how a proxy ends what cannot be answered to its end
	switch {
	case ctx.Err() != nil && t.event.ResponseStatus == nil && (broken == nil || aborted):
		t.event.Annotations[EndedAnnotation] = "the caller went away before the answer"
	case aborted:
		t.event.Annotations[EndedAnnotation] = "the connection broke off"
	case broken != nil:
		stage = auditv1.StagePanic
		t.event.ResponseStatus = &metav1.Status{Status: metav1.StatusFailure, Code: http.StatusInternalServerError}
	case t.event.ResponseStatus == nil:
		t.event.ResponseStatus = &metav1.Status{Code: http.StatusOK}
	}
	t.mu.Unlock()
	t.stage(stage)
}

// stage writes the event as it is now.
func (t *Trail) stage(stage auditv1.Stage) {
	if t.log == nil {
		return
	}
	t.mu.Lock()
	event := *t.event
	event.Annotations = maps.Clone(t.event.Annotations)
	t.mu.Unlock()
	event.Stage, event.StageTimestamp = stage, metav1.NewMicroTime(t.log.config.Now())
	if event.User.Username == "" {
		t.log.recordStranger(&event)
		return
	}
	t.log.Record(&event)
}

// answer notes the status of what is answered.
type answer struct {
	http.ResponseWriter
	trail *Trail
	id    string
	noted bool
}

// Unwrap implements what http.ResponseController asks for.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) note(code int) {
	if a.noted || code < 200 && code != http.StatusSwitchingProtocols {
		return // such as 100: the answer is still to come
	}
	a.noted = true
	a.Header().Set(auditv1.HeaderAuditID, a.id)
	a.trail.started(code)
}

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(code int) {
	a.note(code)
	a.ResponseWriter.WriteHeader(code)
}

// Write implements http.ResponseWriter.
func (a *answer) Write(p []byte) (int, error) {
	a.note(http.StatusOK)
	return a.ResponseWriter.Write(p)
}

// Hijack implements http.Hijacker: the connection becomes another protocol's.
func (a *answer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(a.ResponseWriter).Hijack()
	if err == nil {
		a.note(http.StatusSwitchingProtocols)
	}
	return conn, buffered, err
}
