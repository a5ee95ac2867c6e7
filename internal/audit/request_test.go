package audit

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/apiserver/pkg/authentication/user"
)

var ada = &user.DefaultInfo{Name: "ada", UID: "7", Groups: []string{"dev"}, Extra: map[string][]string{"team": {"blue"}}}

// events reads all that a log holds.
func events(t testing.TB, l *Log) []auditv1.Event {
	t.Helper()
	settle(l)
	var all []auditv1.Event
	_, err := l.Read(t.Context(), Query{}, func(line []byte) error {
		var event auditv1.Event
		all = append(all, event)
		return json.Unmarshal(line, &all[len(all)-1])
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// told is what a test compares of an event.
type told struct {
	stage auditv1.Stage
	verb  string
	// object is GROUP/RESOURCE/SUBRESOURCE NAMESPACE/NAME.
	object, user, uri string
	code              int32
	annotations       map[string]string
}

func tell(e auditv1.Event) told {
	short := told{stage: e.Stage, verb: e.Verb, user: e.User.Username, uri: e.RequestURI, annotations: e.Annotations}
	if o := e.ObjectRef; o != nil {
		short.object = fmt.Sprintf("%s/%s/%s %s/%s", o.APIGroup, o.Resource, o.Subresource, o.Namespace, o.Name)
	}
	if e.ResponseStatus != nil {
		short.code = e.ResponseStatus.Code
	}
	return short
}

func compare(t *testing.T, reason string, want []told, got []auditv1.Event) {
	t.Helper()
	var short []told
	for _, e := range got {
		short = append(short, tell(e))
	}
	if diff := cmp.Diff(want, short, cmp.AllowUnexported(told{})); diff != "" {
		t.Errorf("%s (-want +got):\n%s", reason, diff)
	}
}

// allow stands for a gateway that knows Ada and lets her do everything.
func allow(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		From(r.Context()).Known(ada)
		From(r.Context()).Allowed("hub:ada")
		w.WriteHeader(code)
	}
}

func refuseWith(code int, why string, who user.Info) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if who != nil {
			From(r.Context()).Known(who)
		}
		From(r.Context()).Refused(why)
		w.WriteHeader(code)
	}
}

func TestWhatPeopleDo(t *testing.T) {
	const pods = "/api/v1/namespaces/shop/pods"
	allowed := map[string]string{ClusterAnnotation: "prod-eu", decisionAnnotation: "allow", MemberUserAnnotation: "hub:ada"}
	for _, c := range []struct {
		reason, method, uri string
		next                http.HandlerFunc
		want                []told
	}{
		{"a read is one line", "GET", pods + "/web", allow(200), []told{
			{"ResponseComplete", "get", "/pods/ shop/web", "ada", pods + "/web", 200, allowed},
		}},
		{"what changes something is there before it happens", "DELETE", pods + "/web", allow(404), []told{
			{"RequestReceived", "delete", "/pods/ shop/web", "ada", pods + "/web", 0, allowed},
			{"ResponseComplete", "delete", "/pods/ shop/web", "ada", pods + "/web", 404, allowed},
		}},
		{"a group and a list", "GET", "/apis/apps/v1/deployments?limit=500", allow(200), []told{
			{"ResponseComplete", "list", "apps/deployments/ /", "ada", "/apis/apps/v1/deployments?limit=500", 200, allowed},
		}},
		{"what lasts tells of its beginning", "GET", pods + "?watch=true", allow(200), []told{
			{"RequestReceived", "watch", "/pods/ shop/", "ada", pods + "?watch=true", 0, allowed},
			{"ResponseStarted", "watch", "/pods/ shop/", "ada", pods + "?watch=true", 200, allowed},
			{"ResponseComplete", "watch", "/pods/ shop/", "ada", pods + "?watch=true", 200, allowed},
		}},
		{"logs without end last", "GET", pods + "/web/log?follow=true", allow(200), []told{
			{"RequestReceived", "get", "/pods/log shop/web", "ada", pods + "/web/log?follow=true", 0, allowed},
			{"ResponseStarted", "get", "/pods/log shop/web", "ada", pods + "/web/log?follow=true", 200, allowed},
			{"ResponseComplete", "get", "/pods/log shop/web", "ada", pods + "/web/log?follow=true", 200, allowed},
		}},
		{"logs with an end do not", "GET", pods + "/web/log", allow(200), []told{
			{"ResponseComplete", "get", "/pods/log shop/web", "ada", pods + "/web/log", 200, allowed},
		}},
		{"what is no resource", "GET", "/version", allow(200), []told{{"ResponseComplete", "get", "", "ada", "/version", 200, allowed}}},
		{"a query that cannot be read", "GET", pods + "?watch=%zz", allow(400), []told{
			{"ResponseComplete", "list", "/pods/ shop/", "ada", pods + "?watch=%zz", 400, allowed},
		}},
		{"nobody is known", "GET", pods, refuseWith(401, "no credentials", nil), []told{
			{"ResponseComplete", "list", "/pods/ shop/", "", pods, 401, map[string]string{ClusterAnnotation: "prod-eu", RefusedAnnotation: "no credentials"}},
		}},
		{"somebody may not", "POST", pods, refuseWith(403, "may not reach", ada), []told{
			{"ResponseComplete", "create", "/pods/ shop/", "ada", pods, 403,
				map[string]string{ClusterAnnotation: "prod-eu", RefusedAnnotation: "may not reach", decisionAnnotation: "forbid"}},
		}},
		{"an answer that broke off", "GET", pods, func(w http.ResponseWriter, r *http.Request) {
			allow(200)(w, r)
			panic(http.ErrAbortHandler)
		}, []told{{"ResponseComplete", "list", "/pods/ shop/", "ada", pods, 200, map[string]string{
			ClusterAnnotation: "prod-eu", decisionAnnotation: "allow", MemberUserAnnotation: "hub:ada", EndedAnnotation: "the connection broke off",
		}}}},
		{"a panic of ours", "GET", pods, func(http.ResponseWriter, *http.Request) { panic("a mistake") }, []told{
			{"Panic", "list", "/pods/ shop/", "", pods, 500, map[string]string{ClusterAnnotation: "prod-eu"}},
		}},
		{"a handler that says nothing", "GET", pods, func(_ http.ResponseWriter, r *http.Request) { From(r.Context()).Known(ada) }, []told{
			{"ResponseComplete", "list", "/pods/ shop/", "ada", pods, 200, map[string]string{ClusterAnnotation: "prod-eu"}},
		}},
	} {
		l := open(t, LogConfig{Dir: t.TempDir()})
		func() {
			defer func() { _ = recover() }() // as a server does
			r := httptest.NewRequest(c.method, "http://hub"+strings.ReplaceAll(c.uri, "%zz", ""), nil)
			_, r.URL.RawQuery, _ = strings.Cut(c.uri, "?")
			l.Serve(httptest.NewRecorder(), r, Target{Cluster: "prod-eu", Path: r.URL.EscapedPath()}, c.next)
		}()
		got := events(t, l)
		compare(t, c.reason, c.want, got)
		for _, e := range got {
			if e.AuditID != got[0].AuditID || e.Kind != "Event" || e.APIVersion != "audit.k8s.io/v1" || e.Level != "Metadata" {
				t.Errorf("%s: got the event %+v", c.reason, e)
			}
		}
	}
}

// A proxy ends a request whose caller went away as one that broke off; the log tells the two apart.
func TestTheCallerWentAway(t *testing.T) {
	l := open(t, LogConfig{Dir: t.TempDir()})
	ctx, goAway := context.WithCancel(t.Context())
	func() {
		defer func() { _ = recover() }()
		r := httptest.NewRequestWithContext(ctx, "GET", "http://hub/api/v1/pods", nil)
		l.Serve(httptest.NewRecorder(), r, Target{Cluster: "prod-eu", Path: "/api/v1/pods"}, func(http.ResponseWriter, *http.Request) {
			goAway()
			panic(http.ErrAbortHandler)
		})
	}()
	got := events(t, l)
	if len(got) != 1 || got[0].Annotations[EndedAnnotation] != "the caller went away before the answer" {
		t.Errorf("the log has %+v", got)
	}
}

// TestTheWholeEvent, once, as other programs read it.
func TestTheWholeEvent(t *testing.T) {
	l := open(t, LogConfig{Dir: t.TempDir()})
	r := httptest.NewRequest("GET", "/clusters/prod-eu/api/v1/pods", nil)
	r.Header.Set("User-Agent", "kubectl/v1.36")
	r.Header.Set("X-Forwarded-For", strings.Repeat("10.0.0.1, ", 20)+"10.0.0.2")
	r.Header.Set("Authorization", "Bearer a-secret")
	l.Serve(httptest.NewRecorder(), r, Target{Cluster: "prod-eu", Path: "/api/v1/pods"}, allow(200))
	e := events(t, l)[0]
	if e.RequestURI != "/clusters/prod-eu/api/v1/pods" || e.UserAgent != "kubectl/v1.36" || e.User.UID != "7" ||
		e.User.Groups[0] != "dev" || e.User.Extra["team"][0] != "blue" {
		t.Errorf("got %+v", e)
	}
	if len(e.SourceIPs) != maxHops || e.SourceIPs[maxHops-1] != "192.0.2.1" {
		t.Errorf("it came from %v", e.SourceIPs)
	}
	if e.RequestReceivedTimestamp.IsZero() || e.StageTimestamp.Before(&e.RequestReceivedTimestamp) {
		t.Errorf("received %s, complete %s", e.RequestReceivedTimestamp, e.StageTimestamp)
	}
}

// TestNobodyForgesAnAuditID: the member, the answer and the log have one that the hub made.
func TestNobodyForgesAnAuditID(t *testing.T) {
	l := open(t, LogConfig{Dir: t.TempDir()})
	member := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Audit-ID", "the member's own idea")
		io.WriteString(w, strings.Join(r.Header.Values("Audit-ID"), ","))
	}))
	defer member.Close()
	to, err := url.Parse(member.URL)
	if err != nil {
		t.Fatal(err)
	}
	hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.Serve(w, r, Target{Cluster: "prod-eu", Path: r.URL.EscapedPath()}, httputil.NewSingleHostReverseProxy(to).ServeHTTP)
	}))
	defer hub.Close()
	r, err := http.NewRequestWithContext(t.Context(), "GET", hub.URL+"/api/v1/pods", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header["Audit-ID"] = []string{"somebody-else's", "another"}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	onMember, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	id := string(events(t, l)[0].AuditID)
	if len(id) != 36 || string(onMember) != id || strings.Join(response.Header.Values("Audit-ID"), ",") != id {
		t.Errorf("the log has %q, the member was told %q, the answer says %q", id, onMember, response.Header.Values("Audit-ID"))
	}
}

// TestAnUpgrade: the log says 101, and ends when the connection does.
func TestAnUpgrade(t *testing.T) {
	l := open(t, LogConfig{Dir: t.TempDir()})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.Serve(w, r, Target{Path: r.URL.EscapedPath()}, func(w http.ResponseWriter, r *http.Request) {
			From(r.Context()).Known(ada)
			From(r.Context()).Allowed("")
			w.WriteHeader(http.StatusProcessing) // no answer yet
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
			io.Copy(io.Discard, conn)
		})
	}))
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, "POST /api/v1/namespaces/shop/pods/web/exec?command=ls&container=a HTTP/1.1\r\nHost: hub\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
	if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var stages []string
	_, err = l.Read(ctx, Query{Follow: true}, func(text []byte) error {
		var e auditv1.Event
		if err := json.Unmarshal(text, &e); err != nil {
			return err
		}
		code := int32(0)
		if e.ResponseStatus != nil {
			code = e.ResponseStatus.Code
		}
		stages = append(stages, fmt.Sprint(e.Stage, " ", code, " ", e.RequestURI))
		if e.Stage == auditv1.StageResponseComplete {
			return errFound
		}
		return nil
	})
	if !errors.Is(err, errFound) {
		t.Fatal(err)
	}
	const uri = " /api/v1/namespaces/shop/pods/web/exec?command=ls&container=a"
	if diff := cmp.Diff([]string{"RequestReceived 0" + uri, "ResponseStarted 101" + uri, "ResponseComplete 101" + uri}, stages); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestStrangersCannotFillTheLog, and what they did is counted.
func TestStrangersCannotFillTheLog(t *testing.T) {
	l := open(t, LogConfig{Dir: t.TempDir()})
	l.strangers.SetLimit(0) // or the last of them may be in the log, and none left out since
	for range 500 {
		r := httptest.NewRequest("GET", "/api/v1/pods", nil)
		l.Serve(httptest.NewRecorder(), r, Target{Path: "/api/v1/pods"}, refuseWith(401, "no credentials", nil))
	}
	if got := len(events(t, l)); got < 20 || got > 60 {
		t.Errorf("%d of 500 refusals are in the log", got)
	}
	l.strangers.SetBurst(1000)
	l.strangers.SetLimit(1e9)
	l.Did(Deed{Verb: "refuse", Refused: "a wrong token", Peer: "192.0.2.9:1234"})
	all := events(t, l)
	last := all[len(all)-1]
	var omitted int
	fmt.Sscan(last.Annotations[OmittedAnnotation], &omitted)
	if want := 501 - len(all); omitted == 0 || omitted > want || last.SourceIPs[0] != "192.0.2.9" || last.User.Username != HubUser {
		t.Errorf("the next one says that %d were left out, want %d: %+v", omitted, want, last)
	}
}

func TestSecretsStayOut(t *testing.T) {
	for _, c := range []struct {
		query string
		keep  keepValues
		want  string
	}{
		{"", keepHarmless, "/p"},
		{"limit=500&labelSelector=a%3Db", keepHarmless, "/p?limit=500&labelSelector=a%3Db"},
		{"command=mysql&command=-psecret", keepHarmless, "/p?command=mysql&command=-psecret"}, // as Kubernetes has it
		{"access_token=eyJ&watch=1", keepHarmless, "/p?access_token=REDACTED&watch=1"},
		{"Access%5FToken=eyJ", keepHarmless, "/p?Access%5FToken=REDACTED"},
		{"%zz=eyJ", keepHarmless, "/p?%zz=REDACTED"},
		{"X-Amz-Signature=ab&client_secret=x&code=1", keepHarmless, "/p?X-Amz-Signature=REDACTED&client_secret=REDACTED&code=REDACTED"},
		{"continue=abc", keepHarmless, "/p?continue=abc"},
		{"q=whatever&flag", keepNone, "/p?q=REDACTED&REDACTED"},
	} {
		if got := redactURI("/p", c.query, c.keep); got != c.want {
			t.Errorf("%s: got %s, want %s", c.query, got, c.want)
		}
	}
	l := open(t, LogConfig{Dir: t.TempDir()})
	r := httptest.NewRequest("GET", "/api/v1/namespaces/shop/services/web/proxy/login?u=1&p=hunter2", strings.NewReader("hunter2"))
	r.Header.Set("Authorization", "Bearer hunter2")
	r.Header.Set("Sec-WebSocket-Protocol", "base64url.bearer.authorization.k8s.io.hunter2")
	l.Serve(httptest.NewRecorder(), r, Target{Cluster: "prod-eu", Path: r.URL.EscapedPath()}, allow(200))
	for _, e := range events(t, l) {
		if line := string(encode(&e)); strings.Contains(line, "hunter2") {
			t.Errorf("a secret is in %s", line)
		}
	}
}

// TestTenThousandAtOnce: each has its event, and its own audit ID.
func TestTenThousandAtOnce(t *testing.T) {
	l := open(t, LogConfig{Dir: t.TempDir(), MaxMegabytes: 1, MaxFiles: 100})
	const requests = 10_000
	var all sync.WaitGroup
	var served atomic.Int64
	start := make(chan struct{})
	for n := range requests {
		all.Go(func() {
			<-start
			path := fmt.Sprintf("/api/v1/namespaces/shop/pods/p%d", n)
			l.Serve(httptest.NewRecorder(), httptest.NewRequest("GET", path, nil), Target{Cluster: "prod-eu", Path: path}, func(w http.ResponseWriter, r *http.Request) {
				served.Add(1)
				allow(200)(w, r)
			})
		})
	}
	close(start)
	all.Wait()
	ids, names := map[string]bool{}, map[string]bool{}
	for _, e := range events(t, l) {
		ids[string(e.AuditID)], names[e.ObjectRef.Name] = true, true
	}
	if served.Load() != requests || len(ids) != requests || len(names) != requests {
		t.Errorf("%d were served; the log has %d audit IDs and %d names", served.Load(), len(ids), len(names))
	}
}

// BenchmarkServe is what a small GET costs, with and without a log.
func BenchmarkServe(b *testing.B) {
	for name, l := range map[string]*Log{"off": nil, "on": open(b, LogConfig{Dir: b.TempDir()})} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				r := httptest.NewRequest("GET", "/api/v1/namespaces/shop/configmaps/words", nil)
				for pb.Next() {
					l.Serve(httptest.NewRecorder(), r, Target{Cluster: "prod-eu", Path: "/api/v1/namespaces/shop/configmaps/words"}, allow(200))
				}
			})
		})
	}
}
