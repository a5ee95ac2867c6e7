package kubeproxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"

	"umbel.dev/umbel/internal/tunnel"
)

// through starts an agent's handler in front of a member's API server and returns the way into it.
func through(t *testing.T, member http.HandlerFunc) http.RoundTripper {
	t.Helper()
	api := httptest.NewServer(member)
	t.Cleanup(api.Close)
	return throughTo(t, &rest.Config{Host: api.URL, BearerToken: "the agent's own"})
}

// throughTo starts an agent's handler in front of an API server and returns the way into it.
func throughTo(t *testing.T, config *rest.Config) http.RoundTripper {
	t.Helper()
	handler, err := NewHandler(config, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	hubEnd, agentEnd := net.Pipe()
	agent, err := tunnel.Client(agentEnd, tunnel.Config{MaxStreams: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	hub, err := tunnel.Server(hubEnd, tunnel.Config{})
	if err != nil {
		t.Fatal(err)
	}
	listener := tunnel.NewListener(agentEnd.RemoteAddr())
	server := tunnel.NewServer(handler, slog.New(slog.DiscardHandler))
	server.ReadHeaderTimeout = 0 // two thousand heads take their time on a busy machine
	var running sync.WaitGroup
	running.Go(func() { server.Serve(listener) })
	running.Go(func() {
		for {
			stream, err := agent.Accept(t.Context())
			if err != nil {
				return
			}
			listener.Deliver(stream)
		}
	})
	t.Cleanup(func() {
		hub.Close()
		agent.Close()
		server.Close()
		running.Wait()
	})
	return hub.Transport(tunnel.Kube)
}

var alice = Identity{
	User:   "alice",
	Groups: []string{"dev", "system:authenticated", "system:masters"},
	Extra:  map[string][]string{"example.com/Team": {"blue", "green"}},
}

func TestIdentityReachesTheMember(t *testing.T) {
	var got http.Header
	var uri string
	tunnel := through(t, func(w http.ResponseWriter, r *http.Request) { got, uri = r.Header.Clone(), r.RequestURI })
	request := httptest.NewRequest(http.MethodGet, "/clusters/prod-eu/api/v1/x%2Fy?watch=1", nil)
	request.Header.Set("Authorization", "Bearer alice's own")
	request.Header.Set("Cookie", "session=1")
	request.Header.Set("Accept", "application/json")
	request.Header["Sec-Websocket-Protocol"] = []string{"base64url.bearer.authorization.k8s.io.YWxpY2U, v5.channel.k8s.io", "base64url.bearer.authorization.k8s.io.YWxpY2U"}
	if err := Forward(httptest.NewRecorder(), request, tunnel, alice, "/api/v1/x%2Fy"); err != nil {
		t.Fatal(err)
	}
	if uri != "/api/v1/x%2Fy?watch=1" {
		t.Errorf("the member was asked for %s", uri)
	}
	want := http.Header{
		"Authorization":                        {"Bearer the agent's own"},
		"Impersonate-User":                     {"alice"},
		"Impersonate-Group":                    {"dev", "system:authenticated", "hub:system:masters"},
		"Impersonate-Extra-Example.com%2fteam": {"blue", "green"},
		"Accept":                               {"application/json"},
		"Sec-Websocket-Protocol":               {"v5.channel.k8s.io"},
	}
	for _, name := range []string{"Accept-Encoding", "User-Agent", "X-Forwarded-For"} {
		got.Del(name)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the member saw (-want +got):\n%s", diff)
	}
}

// No two users or groups of the hub are the same one on a member.
func TestNamesOnTheMember(t *testing.T) {
	names := []string{"ada", "system:authenticated", "system:masters", "hub:system:masters", "hub:hub:system:masters", "hub:ada", "hub:system:authenticated"}
	seen := map[string]string{}
	for _, name := range names {
		on := Identity{User: name, Groups: []string{name}}.OnMember()
		if other, taken := seen[on.User]; taken || on.Groups[0] != on.User {
			t.Errorf("%q is %q and %q there, %q is the same", name, on.User, on.Groups, other)
		}
		seen[on.User] = name
	}
}

func TestSmuggledIdentity(t *testing.T) {
	for _, name := range []string{
		"Impersonate-User", "Impersonate-Group", "Impersonate-Uid", "Impersonate-Extra-Scopes",
		"Impersonate_User", "X-Remote-User", "X-Remote-Extra-A", "Umbel-Identity",
	} {
		request := httptest.NewRequest(http.MethodGet, "/clusters/prod-eu/api", nil)
		request.Header[name] = []string{"system:admin"}
		err := Forward(httptest.NewRecorder(), request, nil, alice, "/api")
		if !errors.Is(err, ErrSmuggled) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// A header named in Connection is dropped by proxies: it must not take ours with it.
func TestConnectionHeaderTakesNothingAway(t *testing.T) {
	var got http.Header
	tunnel := through(t, func(w http.ResponseWriter, r *http.Request) { got = r.Header.Clone() })
	request := httptest.NewRequest(http.MethodGet, "/api", nil)
	request.Header.Set("Connection", "Umbel-Identity, Impersonate-User, Authorization")
	if err := Forward(httptest.NewRecorder(), request, tunnel, alice, "/api"); err != nil {
		t.Fatal(err)
	}
	if got.Get("Impersonate-User") != "alice" || got.Get("Authorization") != "Bearer the agent's own" {
		t.Errorf("the member saw %v", got)
	}
}

func TestHandlerLendsNobodyItsRights(t *testing.T) {
	asked := false
	tunnel := through(t, func(http.ResponseWriter, *http.Request) { asked = true })
	for _, c := range []struct {
		reason string
		header http.Header
	}{
		{"no identity", http.Header{}},
		{"not base64", http.Header{IdentityHeader: {"?"}}},
		{"not JSON", http.Header{IdentityHeader: {"eHl6"}}},
		{"no user", http.Header{IdentityHeader: {"e30="}}},
		{"two of them", http.Header{IdentityHeader: {"eyJ1c2VyIjoiYSJ9", "eyJ1c2VyIjoiYiJ9"}}},
		{"impersonation instead", http.Header{"Impersonate-User": {"admin"}}},
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://member/api", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header = c.header
		answer, err := tunnel.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusUnauthorized || asked {
			t.Errorf("%s: answered %s, asked the member: %v", c.reason, answer.Status, asked)
		}
	}
}

// An exec: the connection is upgraded, and bytes go both ways until one side ends.
func TestUpgrade(t *testing.T) {
	tunnel := through(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Impersonate-User") != "alice" {
			http.Error(w, "who?", http.StatusForbidden)
			return
		}
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", r.Header.Get("Upgrade"))
		line, err := buffered.ReadString('\n')
		if err != nil {
			t.Error(err)
		}
		fmt.Fprintf(conn, "echo %s", line)
	})
	hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := Forward(w, r, tunnel, alice, r.URL.EscapedPath()); err != nil {
			t.Error(err)
		}
	}))
	defer hub.Close()
	for _, protocol := range []string{"SPDY/3.1", "websocket"} {
		conn, err := net.Dial("tcp", hub.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "POST /api/v1/namespaces/a/pods/b/exec HTTP/1.1\r\nHost: hub\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", protocol)
		reader := bufio.NewReader(conn)
		answer, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		if answer.StatusCode != http.StatusSwitchingProtocols || answer.Header.Get("Upgrade") != protocol {
			t.Fatalf("%s: answered %s, %v", protocol, answer.Status, answer.Header)
		}
		io.WriteString(conn, "hello\n")
		got, err := io.ReadAll(reader)
		if err != nil || string(got) != "echo hello\n" {
			t.Errorf("%s: read %q, %v", protocol, got, err)
		}
		conn.Close()
	}
}

func TestMemberIsDown(t *testing.T) {
	handler, err := NewHandler(&rest.Config{Host: "https://127.0.0.1:1"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	request := httptest.NewRequest(http.MethodGet, "/api", nil)
	said, err := alice.encode()
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set(IdentityHeader, said)
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, request)
	if answer.Code != http.StatusBadGateway || !strings.Contains(answer.Body.String(), "cannot reach the member's API server") {
		t.Errorf("answered %d %s", answer.Code, answer.Body)
	}
}

func FuzzParseIdentity(f *testing.F) {
	said, err := alice.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(said)
	f.Fuzz(func(t *testing.T, said string) {
		identity, err := ParseIdentity(http.Header{IdentityHeader: {said}})
		if err != nil {
			return
		}
		header := http.Header{}
		identity.OnMember().impersonate(header)
		if user := header.Get("Impersonate-User"); user == "" || strings.HasPrefix(user, "system:") && user != "system:authenticated" {
			t.Errorf("the member sees user %q", user)
		}
	})
}
