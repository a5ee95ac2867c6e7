package gateway

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/identity/seal"
	"umbel.dev/umbel/internal/kube/kubetest"
	"umbel.dev/umbel/internal/session"
	"umbel.dev/umbel/internal/tunnel"
)

// web returns a client of the door that shows no certificate, or the one in ring.
func (h *hub) web(ring *identity.Keyring) *http.Client {
	settings := &tls.Config{RootCAs: h.authority.Issuer().Pool()}
	if ring != nil {
		settings = ring.TLS()
	}
	transport := &http.Transport{TLSClientConfig: settings, ForceAttemptHTTP2: true}
	h.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// post asks the join endpoint; a refusal is an error.
func (h *hub) post(ask session.JoinRequest) error {
	h.t.Helper()
	body, err := json.Marshal(ask)
	if err != nil {
		h.t.Fatal(err)
	}
	answer, err := h.web(nil).Post("https://"+h.address+session.JoinPath, "application/json", bytes.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	text := readAll(h.t, answer)
	if answer.StatusCode == http.StatusOK {
		return nil
	}
	var refusal session.JoinRefusal
	if err := json.Unmarshal([]byte(text), &refusal); err != nil {
		h.t.Fatalf("%s: %s", answer.Status, text)
	}
	return errors.New(refusal.Reason + ": " + refusal.Message)
}

// sign issues a certificate for the key in ring.
func (h *hub) sign(ca *identity.CA, cluster v1alpha1.ClusterName, ring *identity.Keyring, ttl time.Duration) []byte {
	h.t.Helper()
	csr, err := identity.NewMemberRequest(cluster, ring.Key())
	if err != nil {
		h.t.Fatal(err)
	}
	request, err := identity.ParseMemberRequest(csr)
	if err != nil {
		h.t.Fatal(err)
	}
	certificate, _, err := ca.SignMember(request, ttl)
	if err != nil {
		h.t.Fatal(err)
	}
	return certificate
}

// tunnel dials the hub with the certificate in ring.
func (h *hub) tunnel(ring *identity.Keyring) *tunnel.Session {
	h.t.Helper()
	tun, err := tunnel.Dial(h.t.Context(), tunnel.DialConfig{Address: h.address, TLS: ring.TLS()})
	if err != nil {
		h.t.Fatal(err)
	}
	return tun
}

// dial begins a session with the certificate in ring and returns how it ends.
func (h *hub) dial(ring *identity.Keyring) error {
	h.t.Helper()
	tun := h.tunnel(ring)
	defer tun.Close()
	control, err := tun.Open(h.t.Context(), tunnel.Control)
	if err != nil {
		h.t.Fatal(err)
	}
	a := &agent{t: h.t}
	return session.RunAgent(h.t.Context(), control, session.AgentConfig{
		Packages: &packages{wake: make(chan struct{})}, Credentials: never{}, CheckAPI: a.check, Log: testLog(h.t),
	})
}

// never are credentials that are not renewed.
type never struct{}

func (never) RenewAt() time.Time        { return time.Now().Add(time.Hour) }
func (never) Request() ([]byte, error)  { return nil, errors.New("not renewed") }
func (never) Install(_, _ []byte) error { return errors.New("not renewed") }
func (never) Trust([]byte) error        { return nil }
func (never) Trusts() string            { return "" }
func (never) Verify(seal.Word, *seal.Seal) error {
	return nil
}

// person makes a ServiceAccount on the hub and returns how it reaches the member through the hub. proxy says whether
// the hub lets it.
func (h *hub) person(namespace, name string, clusters ...string) *rest.Config {
	h.t.Helper()
	clients, err := kubernetes.NewForConfig(h.api)
	if err != nil {
		h.t.Fatal(err)
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace}}
	if err := h.client.Create(h.t.Context(), account); err != nil {
		h.t.Fatal(err)
	}
	token, err := clients.CoreV1().ServiceAccounts(namespace).CreateToken(h.t.Context(), name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		h.t.Fatal(err)
	}
	if len(clusters) > 0 {
		role := metav1.ObjectMeta{Name: namespace + "-" + name}
		h.create(&rbacv1.ClusterRole{ObjectMeta: role, Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{"umbel.dev"}, Resources: []string{"memberclusters"}, ResourceNames: clusters, Verbs: []string{ProxyVerb},
		}}})
		h.create(&rbacv1.ClusterRoleBinding{
			ObjectMeta: role, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name}},
		})
		h.may("system:serviceaccount:"+namespace+":"+name, authorizationv1.ResourceAttributes{
			Group: "umbel.dev", Resource: "memberclusters", Name: clusters[0], Verb: ProxyVerb,
		})
	}
	return &rest.Config{
		Host: "https://" + h.address + "/clusters/prod-eu", BearerToken: token.Status.Token,
		TLSClientConfig: rest.TLSClientConfig{CAData: h.authority.Bundle()},
	}
}

func (h *hub) create(object client.Object) {
	h.t.Helper()
	if err := h.client.Create(h.t.Context(), object); err != nil {
		h.t.Fatal(err)
	}
}

// letIn lets a user of the hub read ConfigMaps on the member, under the name by which the member knows it.
func (h *hub) letIn(namespace, user string) {
	h.t.Helper()
	h.create(&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "reader"}, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get", "list", "watch"},
	}}})
	h.create(&rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "reader"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "reader"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	})
	h.may(user, authorizationv1.ResourceAttributes{Namespace: namespace, Resource: "configmaps", Verb: "watch"})
}

// may waits until the API server has heard that a user may do something.
func (h *hub) may(user string, what authorizationv1.ResourceAttributes) {
	h.t.Helper()
	h.eventually(user+" may "+what.Verb+" "+what.Resource, func() (bool, string) {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: user, ResourceAttributes: &what}}
		if err := h.client.Create(h.t.Context(), review); err != nil {
			return false, err.Error()
		}
		return review.Status.Allowed, review.Status.Reason
	})
}

func TestPeopleReachMembersAsThemselves(t *testing.T) {
	h := newHub(t)
	namespace := kubetest.Namespace(t, h.api)
	h.joined("prod-eu")
	alice := h.person(namespace, "alice", "prod-eu")
	h.letIn(namespace, "hub:system:serviceaccount:"+namespace+":alice")
	clients, err := kubernetes.NewForConfig(alice)
	if err != nil {
		t.Fatal(err)
	}
	h.create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "settings"}, Data: map[string]string{"a": "b"}})
	configMaps := clients.CoreV1().ConfigMaps(namespace)
	got, err := configMaps.Get(t.Context(), "settings", metav1.GetOptions{})
	if err != nil || got.Data["a"] != "b" {
		t.Fatalf("got %v, %v", got, err)
	}
	watching, err := configMaps.Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=settings"})
	if err != nil {
		t.Fatal(err)
	}
	if event := <-watching.ResultChan(); event.Type != "ADDED" {
		t.Errorf("the watch began with %v", event)
	}
	watching.Stop()
	_, err = clients.CoreV1().Secrets(namespace).List(t.Context(), metav1.ListOptions{})
	mustContain(t, "the member's word", fmt.Sprint(err), `User "hub:system:serviceaccount:`+namespace+`:alice" cannot list resource "secrets"`)
}

// TestMembersByName: `kubectl proxy` forgets the path of the server, and keeps the name by which it is asked for.
func TestMembersByName(t *testing.T) {
	h := newHub(t)
	namespace := kubetest.Namespace(t, h.api)
	h.joined("prod-eu")
	named := func(person *rest.Config, cluster v1alpha1.ClusterName) *rest.Config {
		config := rest.CopyConfig(person)
		config.Host, _, _ = strings.Cut(config.Host, "/clusters/")
		config.ServerName = cluster.ServerName()
		return config
	}
	alice, bob := h.person(namespace, "alice", "prod-eu"), h.person(namespace, "bob")
	h.letIn(namespace, "hub:system:serviceaccount:"+namespace+":alice")
	h.create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "settings"}, Data: map[string]string{"a": "b"}})
	path := named(alice, "prod-us")
	path.Host = alice.Host
	for _, c := range []struct {
		reason string
		config *rest.Config
		want   string // in the error; empty for none
	}{
		{"by name", named(alice, "prod-eu"), ""},
		{"a path says more than a name", path, ""},
		{"no right on the hub", named(bob, "prod-eu"), `may not reach cluster "prod-eu"`},
		{"another member", named(alice, "prod-us"), `may not reach cluster "prod-us"`},
		{"no member: the path is the hub's", named(alice, ""), "may not see the metrics of all clusters"},
	} {
		clients, err := kubernetes.NewForConfig(c.config)
		if err != nil {
			t.Fatal(err)
		}
		got, err := clients.CoreV1().ConfigMaps(namespace).Get(t.Context(), "settings", metav1.GetOptions{})
		if c.want == "" && (err != nil || got.Data["a"] != "b") || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, %v, want %q", c.reason, got, err, c.want)
		}
	}
}

func TestPeopleAreRefused(t *testing.T) {
	h := newHub(t)
	namespace := kubetest.Namespace(t, h.api)
	h.joined("prod-eu")
	get := func(config *rest.Config) error {
		clients, err := kubernetes.NewForConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		_, err = clients.CoreV1().ConfigMaps(namespace).Get(t.Context(), "x", metav1.GetOptions{})
		return err
	}
	bob := h.person(namespace, "bob")
	carol := h.person(namespace, "carol", "prod-eu", "offline")
	smuggler := rest.CopyConfig(carol)
	smuggler.Impersonate = rest.ImpersonationConfig{UserName: "system:admin", Groups: []string{"system:masters"}}
	nobody := rest.AnonymousClientConfig(bob)
	offline := rest.CopyConfig(carol)
	offline.Host = strings.Replace(carol.Host, "prod-eu", "offline", 1)
	madeUp := rest.CopyConfig(bob)
	madeUp.BearerToken = "made up"
	for _, c := range []struct {
		reason string
		config *rest.Config
		want   string
	}{
		{"no credentials", nobody, "no credentials were presented"},
		{"a token that nobody issued", madeUp, "the hub does not accept these credentials"},
		{"no right on the hub", bob, `may not reach cluster "prod-eu": that takes the verb "proxy"`},
		{"a right on the hub, none on the member", carol, `cannot get resource "configmaps"`},
		{"smuggled impersonation", smuggler, "impersonation through the hub is not possible: remove the header Impersonate-Group"},
		{"a member that is not connected", offline, `cluster "offline" is not connected`},
	} {
		if err := get(c.config); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want it to say %q", c.reason, err, c.want)
		}
	}
}

// TestAMemberThatIsObservedIsReadOnly: the hub lets nothing else through, whatever its agent would do. Attached again, it does.
func TestAMemberThatIsObservedIsReadOnly(t *testing.T) {
	h := newHub(t)
	namespace := kubetest.Namespace(t, h.api)
	h.joined("prod-eu")
	alice := h.person(namespace, "alice", "prod-eu")
	user := "hub:system:serviceaccount:" + namespace + ":alice"
	h.create(&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "editor"}, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{""}, Resources: []string{"configmaps", "pods/exec"}, Verbs: []string{"*"},
	}}})
	h.create(&rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "editor"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "editor"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	})
	h.may(user, authorizationv1.ResourceAttributes{Namespace: namespace, Resource: "configmaps", Verb: "create"})
	clients, err := kubernetes.NewForConfig(alice)
	if err != nil {
		t.Fatal(err)
	}
	configMaps := clients.CoreV1().ConfigMaps(namespace)
	write := func() error {
		_, err := configMaps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "new-"}}, metav1.CreateOptions{})
		return err
	}
	stands := func(level v1alpha1.Level) {
		h.change("prod-eu", func(m *v1alpha1.MemberCluster) { m.Spec.Level = level })
	}
	stands(v1alpha1.LevelObserved)
	h.eventually("a write is refused", func() (bool, string) {
		err := write()
		return err != nil && strings.Contains(err.Error(), `cluster "prod-eu" is observed`), fmt.Sprint(err)
	})
	if _, err := configMaps.List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Errorf("it cannot be read: %v", err)
	}
	err = clients.CoreV1().RESTClient().Get().Namespace(namespace).Resource("pods").Name("web").SubResource("exec").Do(t.Context()).Error()
	mustContain(t, "the hub's word on a program that is to run there", fmt.Sprint(err), `cluster "prod-eu" is observed`)
	stands(v1alpha1.LevelAttached)
	h.eventually("a write is done", func() (bool, string) { err := write(); return err == nil, fmt.Sprint(err) })
}

// An agent's certificate is for sessions; it makes nobody a user of the hub.
func TestMembersAreNotPeople(t *testing.T) {
	h := newHub(t)
	a := h.joined("prod-eu")
	answer, err := h.web(h.keyring(a.dir)).Get("https://" + h.address + "/clusters/prod-eu/api")
	if err != nil {
		t.Fatal(err)
	}
	if text := readAll(t, answer); answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("answered %s %s", answer.Status, text)
	}
}

func TestDoor(t *testing.T) {
	h := newHub(t)
	a := h.joined("prod-eu")
	member := h.keyring(a.dir)
	for _, c := range []struct {
		reason, method, path string
		ring                 *identity.Keyring
		code                 int
		want                 string
	}{
		{"is it there", "GET", "/healthz", nil, 200, "ok"},
		{"nothing here", "GET", "/", nil, 404, "/clusters/NAME"},
		{"a registry's ping", "GET", "/v2/", nil, 200, "content of /v2/"},
		{"the agent's image, for everybody", "GET", "/v2/umbel/agent/manifests/v1", nil, 200, "content of"},
		{"other content", "GET", "/v2/shop/web/blobs/sha256:1", nil, 401, "content is for members"},
		{"a name that only begins alike", "GET", "/v2/umbel/agent-secrets/manifests/v1", nil, 401, "content is for members"},
		{"a way around", "GET", "/v2/umbel/agent/../../shop/web/blobs/sha256:1", nil, 400, "such as . and .."},
		{"an encoded way around", "GET", "/v2/umbel/agent/%2e%2e/%2e%2e/shop/web/blobs/sha256:1", nil, 400, "such as . and .."},
		{"other content, for a member's certificate", "GET", "/v2/shop/web/blobs/sha256:1", member, 401, "goes through an agent's session"},
		{"a push by a member", "PUT", "/v2/shop/web/manifests/v1", member, 405, "for reading"},
		{"a push to the agent's image", "PUT", "/v2/umbel/agent/manifests/v1", nil, 405, "for reading"},
		{"a join is a POST", "GET", "/v1/join", nil, 405, "POST"},
	} {
		request, err := http.NewRequestWithContext(t.Context(), c.method, "https://"+h.address+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := h.web(c.ring).Do(request)
		if err != nil {
			t.Fatal(err)
		}
		text := readAll(t, answer)
		if answer.StatusCode != c.code || !strings.Contains(text, c.want) {
			t.Errorf("%s: answered %s %q, want %d and %q", c.reason, answer.Status, text, c.code, c.want)
		}
	}
}

// Whatever comes in instead of a session harms nobody else.
func TestGarbageAtTheDoor(t *testing.T) {
	h := newHub(t)
	h.joined("prod-eu")
	before := h.settled("prod-eu")
	garbage := bytes.Repeat([]byte{0xff}, 1<<16)
	plain, err := net.Dial("tcp", h.address)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	plain.Write(garbage)
	if _, err := io.Copy(io.Discard, plain); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("garbage instead of TLS: %v", err)
	}
	inTLS, err := tls.Dial("tcp", h.address, &tls.Config{RootCAs: h.authority.Issuer().Pool(), NextProtos: []string{tunnel.Protocol}})
	if err != nil {
		t.Fatal(err)
	}
	defer inTLS.Close()
	inTLS.Write(garbage)
	io.Copy(io.Discard, inTLS)
	tls12 := &tls.Config{RootCAs: h.authority.Issuer().Pool(), MaxVersion: tls.VersionTLS12, NextProtos: []string{tunnel.Protocol}}
	if _, err := tls.Dial("tcp", h.address, tls12); err == nil {
		t.Error("TLS 1.2 was accepted")
	}
	h.idle(before)
}

// A member that sends a frame that is none loses its session and comes back; nothing else happens.
func TestGarbageInSession(t *testing.T) {
	h := newHub(t)
	a := h.joined("prod-eu")
	other := h.joined("dev")
	a.stop()
	tun := h.tunnel(h.keyring(a.dir))
	defer tun.Close()
	control, err := tun.Open(t.Context(), tunnel.Control)
	if err != nil {
		t.Fatal(err)
	}
	if err := session.WriteFrame(control, &wire.FromAgent{Message: &wire.FromAgent_Hello{Hello: &wire.Hello{Protocol: 1, MinProtocol: 1}}}); err != nil {
		t.Fatal(err)
	}
	control.Write(bytes.Repeat([]byte{0xff}, 1<<16))
	<-tun.Done()
	h.shows("prod-eu", v1alpha1.ConditionConnected, "Unknown/SessionClosed")
	h.shows("dev", v1alpha1.ConditionConnected, "True/ProbeAnswered")
	_ = other
}
