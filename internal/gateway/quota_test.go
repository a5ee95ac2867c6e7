package gateway

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/client-go/rest"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/audit"
	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/kube/kubetest"
	"umbel.dev/umbel/internal/session"
	"umbel.dev/umbel/internal/tunnel"
)

// Who guesses locks out nobody who has a pinned key, although they come from the same address.
func TestAPinnedKeyPaysForNobodyElse(t *testing.T) {
	h := newHub(t)
	h.gateway.joins.limit = 0
	a := h.joined("prod-eu")
	boot := h.invite("new", time.Now().Add(time.Hour))
	for range 2 * h.gateway.joins.burst {
		_ = h.post(session.JoinRequest{})
	}
	mustContain(t, "who has no key yet", fmt.Sprint(h.ask(boot, h.keyring(t.TempDir()))), reasonAttempts)
	mustContain(t, "another key", fmt.Sprint(h.ask(h.boot("prod-eu", ""), h.keyring(t.TempDir()))), reasonAttempts)
	if err := h.ask(h.boot("prod-eu", ""), h.keyring(a.dir)); err != nil {
		t.Errorf("the pinned key: %v", err)
	}
}

// One member's key can have so many certificates issued and no more, outside of a session and in it, and hurts nobody else.
func TestOneMemberFillsNoAuditLogWithCertificates(t *testing.T) {
	h := newHub(t)
	h.gateway.certificates.limit = 0
	a := h.joined("evil")
	h.joined("good")
	a.stop()
	ring := h.keyring(a.dir)
	refused := 0
	for range 2 * certificateBurst {
		if err := h.ask(h.boot("evil", ""), ring); err != nil {
			mustContain(t, "the answer", err.Error(), reasonCertificates, "in a minute")
			refused++
		}
	}
	tun := h.tunnel(ring)
	defer tun.Close()
	control, err := tun.Open(t.Context(), tunnel.Control)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := identity.NewMemberRequest("evil", ring.Key())
	if err != nil {
		t.Fatal(err)
	}
	messages := []*wire.FromAgent{{Message: &wire.FromAgent_Hello{Hello: &wire.Hello{Protocol: wire.Protocol, MinProtocol: wire.MinProtocol, AgentVersion: "v1"}}}}
	for range 2 * certificateBurst {
		messages = append(messages, &wire.FromAgent{Message: &wire.FromAgent_CertificateRequest{CertificateRequest: &wire.CertificateRequest{Csr: csr}}})
	}
	messages = append(messages, &wire.FromAgent{Message: &wire.FromAgent_TrustHeld{TrustHeld: &wire.TrustHeld{Digest: "the last word"}}})
	for _, m := range messages {
		if err := session.WriteFrame(control, m); err != nil {
			t.Fatal(err)
		}
	}
	h.eventually("all of it was heard", func() (bool, string) {
		trust := h.member("evil").Status.Identity.Trust
		return trust == "the last word", trust
	})
	issued := h.issuedTo("evil")
	if issued != certificateBurst || refused < certificateBurst {
		t.Errorf("%d certificates are in the audit log, want %d; %d requests were refused", issued, certificateBurst, refused)
	}
	h.shows("good", v1alpha1.ConditionConnected, "True/ProbeAnswered")
	if err := h.ask(h.invite("new", time.Now().Add(time.Hour)), h.keyring(t.TempDir())); err != nil {
		t.Errorf("another cluster at the same address: %v", err)
	}
}

// Orders that an agent had before are recorded so often and no more; a new one always is, and says how many were left out.
func TestOneMemberFillsNoAuditLogWithOrders(t *testing.T) {
	h := newHub(t)
	h.gateway.orders.repeats.limit = 0
	const omitted = 50
	tell := h.gateway.telling("evil")
	say := func(release string) {
		tell(&wire.FromHub{Message: &wire.FromHub_Desired{Desired: &wire.DesiredState{
			Assign: []*wire.Assignment{{Package: "shop/web", Release: release, Digest: "sha256:1"}}, Remove: []string{"shop/old"},
		}}})
	}
	for range 1 + (repeatBurst+omitted)/2 {
		say("web-1")
	}
	say("web-2")
	h.gateway.telling("good")(&wire.FromHub{Message: &wire.FromHub_Desired{Desired: &wire.DesiredState{Remove: []string{"shop/old"}}}})
	_, events := h.recorded(audit.HubUser)
	recorded, last := 0, auditv1.Event{}
	for _, e := range events {
		if e.Annotations[audit.ClusterAnnotation] == "evil" {
			recorded, last = recorded+1, e
		}
	}
	if want := 2 + repeatBurst + 1; recorded != want || last.Annotations["umbel.dev/release"] != "web-2" || last.Annotations[audit.OmittedAnnotation] != fmt.Sprint(omitted) {
		t.Errorf("%d orders are recorded, want %d; the last is %v", recorded, want, last.Annotations)
	}
	if good := events[len(events)-1].Annotations; good[audit.ClusterAnnotation] != "good" || good[audit.OmittedAnnotation] != "" {
		t.Errorf("of another member it says %v", good)
	}
}

// The hub's API is asked about so many wrong tokens of one address and no more. Who was known goes on being known there.
func TestGuessingTokensIsSlow(t *testing.T) {
	h := newHub(t)
	h.gateway.people.failures.limit = 0
	namespace := kubetest.Namespace(t, h.api)
	alice, bob := h.person(namespace, "alice", "prod-eu"), h.person(namespace, "bob", "prod-eu")
	if code, text := h.knock(alice, http.MethodGet, "/clusters/prod-eu/api"); code != http.StatusServiceUnavailable { // there is no such member
		t.Fatalf("%d: %s", code, text)
	}
	answers := map[int]int{}
	for i := range 2 * h.gateway.people.failures.burst {
		code, _ := h.knock(&rest.Config{BearerToken: fmt.Sprint("guessed-", i)}, http.MethodGet, "/clusters/prod-eu/api")
		answers[code]++
	}
	if burst := h.gateway.people.failures.burst; answers[http.StatusUnauthorized] != burst || answers[http.StatusTooManyRequests] != burst {
		t.Errorf("the answers were %v", answers)
	}
	if code, text := h.knock(nil, http.MethodGet, "/clusters/prod-eu/api"); code != http.StatusUnauthorized {
		t.Errorf("who has no token: %d: %s", code, text)
	}
	if code, text := h.knock(alice, http.MethodGet, "/clusters/prod-eu/api"); code != http.StatusServiceUnavailable {
		t.Errorf("who was known before: %d: %s", code, text)
	}
	code, text := h.knock(bob, http.MethodGet, "/clusters/prod-eu/api")
	if code != http.StatusTooManyRequests {
		t.Errorf("who comes after: %d: %s", code, text)
	}
	mustContain(t, "the answer", text, "wait ten seconds", "TooManyRequests")
}

// Guesses that come all at once are counted like those that come one after the other.
func TestGuessingTokensAtOnceIsSlow(t *testing.T) {
	h := newHub(t)
	h.gateway.people.failures.limit = 0
	burst := h.gateway.people.failures.burst
	var asked sync.WaitGroup
	codes := make([]int, 3*burst)
	for i := range codes {
		asked.Go(func() {
			codes[i], _ = h.knock(&rest.Config{BearerToken: fmt.Sprint("guessed-", i)}, http.MethodGet, "/clusters/prod-eu/api")
		})
	}
	asked.Wait()
	answers := map[int]int{}
	for _, code := range codes {
		answers[code]++
	}
	if answers[http.StatusUnauthorized] != burst || answers[http.StatusTooManyRequests] != 2*burst {
		t.Errorf("the answers were %v", answers)
	}
}

// A token of which the hub's API said nothing was no guess.
func TestUnanswered(t *testing.T) {
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	outage := &url.Error{Op: "Post", URL: "https://hub", Err: errors.New("connection refused")}
	for _, c := range []struct {
		name string
		ctx  context.Context
		err  error
		want bool
	}{
		{"it is wrong", t.Context(), errors.New("invalid bearer token"), false},
		{"nobody said anything", t.Context(), nil, false},
		{"the API is not there", t.Context(), utilerrors.NewAggregate([]error{errors.New("invalid bearer token"), outage}), true},
		{"the API has too much to do", t.Context(), apierrors.NewTooManyRequests("later", 1), true},
		{"the API takes too long", t.Context(), fmt.Errorf("asking: %w", context.DeadlineExceeded), true},
		{"who asked has gone", gone, errors.New("invalid bearer token"), true},
	} {
		if got := unanswered(c.ctx, c.err); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// It is as slow with tokens that come as the protocol of a WebSocket, and no token hides behind another one.
func TestGuessingTokensOfWebSocketsIsSlow(t *testing.T) {
	h := newHub(t)
	h.gateway.people.failures.limit = 0
	alice := h.person(kubetest.Namespace(t, h.api), "alice", "prod-eu")
	knock := func(authorization string, tokens ...string) (int, string) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+h.address+"/clusters/prod-eu/api", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Connection", "Upgrade")
		request.Header.Set("Upgrade", "websocket")
		request.Header.Set("Sec-WebSocket-Protocol", "v5.channel.k8s.io")
		for _, token := range tokens {
			request.Header.Add("Sec-WebSocket-Protocol", "base64url.bearer.authorization.k8s.io."+base64.RawURLEncoding.EncodeToString([]byte(token)))
		}
		if authorization != "" {
			request.Header.Set("Authorization", authorization)
		}
		answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: h.authority.Roots()}}}).Do(request)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, readAll(t, answer)
	}
	if code, text := knock("", alice.BearerToken); code != http.StatusServiceUnavailable { // there is no such member
		t.Fatalf("%d: %s", code, text)
	}
	burst := h.gateway.people.failures.burst
	for range 2 * burst {
		code, text := knock("Bearer "+alice.BearerToken, "guessed")
		if code != http.StatusUnauthorized {
			t.Fatalf("two tokens at once: %d: %s", code, text)
		}
		mustContain(t, "two tokens at once", text, errTokens.Error())
	}
	answers := map[int]int{}
	for i := range 2 * burst {
		code, _ := knock("Basic YTpi", fmt.Sprint("guessed-", i))
		answers[code]++
	}
	if answers[http.StatusUnauthorized] != burst || answers[http.StatusTooManyRequests] != burst {
		t.Errorf("the answers were %v", answers)
	}
	if code, text := knock("", alice.BearerToken); code != http.StatusServiceUnavailable {
		t.Errorf("who was known before: %d: %s", code, text)
	}
}

// Where the hub's authenticators find a token, its quota finds it too.
func TestTokenOf(t *testing.T) {
	const protocol = "base64url.bearer.authorization.k8s.io."
	for _, c := range []struct {
		authorization, upgrade, protocols, want string
	}{
		{"Bearer a", "", "", "a"},
		{" bearer  a ", "", "", "a"},
		{"Basic a", "", "", ""},
		{"", "websocket", "v5.channel.k8s.io, " + protocol + "Yg", "b"},
		{"Bearer ", "WebSocket", protocol + "Yg,v5.channel.k8s.io", "b"},
		{"", "websocket", protocol + "?", ""},
		{"", "websocket", "v5.channel.k8s.io", ""},
		{"", "", protocol + "Yg", ""},
		{"Bearer a", "websocket", protocol + "Yg", "error"},
		{"", "websocket", protocol + "Yg," + protocol + "YQ", "error"},
	} {
		header := http.Header{}
		header.Set("Authorization", c.authorization)
		header.Set("Upgrade", c.upgrade)
		header.Set("Sec-WebSocket-Protocol", c.protocols)
		got, err := tokenOf(&http.Request{Header: header})
		if err != nil {
			got = "error"
		}
		if got != c.want {
			t.Errorf("%+v: %q, %v", c, got, err)
		}
	}
}
