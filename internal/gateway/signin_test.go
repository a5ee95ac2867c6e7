package gateway

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/identity/oidctest"
	"umbel.dev/umbel/internal/identity/signin"
)

// record is a log that a test reads.
type record struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// signedIn starts a hub that trusts a provider, and returns what it logs, down to the last detail.
func signedIn(t *testing.T, provider *oidctest.Provider) (*hub, *record) {
	t.Helper()
	log := &record{}
	h := newHubWith(t, provider.WriteConfiguration(), slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	return h, log
}

// at is how somebody reaches an API behind the hub's door with a token.
func (h *hub) at(path, token string) *rest.Config {
	return &rest.Config{
		Host: "https://" + h.address + path, BearerToken: token,
		TLSClientConfig: rest.TLSClientConfig{CAData: h.authority.CAs()},
	}
}

func (h *hub) clients(config *rest.Config) kubernetes.Interface {
	h.t.Helper()
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		h.t.Fatal(err)
	}
	return clients
}

// whoIs asks an API who somebody is.
func (h *hub) whoIs(config *rest.Config) (authenticationv1.UserInfo, error) {
	h.t.Helper()
	review, err := h.clients(config).AuthenticationV1().SelfSubjectReviews().Create(h.t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return authenticationv1.UserInfo{}, err
	}
	return review.Status.UserInfo, nil
}

// known waits until the hub has heard of the provider, which it does beside all else.
func (h *hub) known(token string) {
	h.t.Helper()
	h.eventually("the provider's people are known", func() (bool, string) {
		_, err := h.whoIs(h.at("/hub", token))
		return err == nil, fmt.Sprint(err)
	})
}

// allow lets a group of the provider reach a member through the hub, and list them.
func (h *hub) allow(group string, cluster v1alpha1.ClusterName) {
	h.t.Helper()
	name := "signin-" + string(cluster)
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"memberclusters"}, Verbs: []string{"get", "list", "watch"}},
		{APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"memberclusters"}, Verbs: []string{ProxyVerb}, ResourceNames: []string{string(cluster)}},
	}}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: group}},
	}
	for _, object := range []client.Object{role, binding} {
		h.create(object)
		h.t.Cleanup(func() { _ = h.client.Delete(h.t.Context(), object) }) // the context may have ended: the names differ
	}
}

func TestPeopleOfAProvider(t *testing.T) {
	provider := oidctest.Start(t)
	h, _ := signedIn(t, provider)
	h.joined("prod-eu")
	alice, mallory := provider.Token(oidctest.Alice), provider.Token(oidctest.Mallory)

	// On the hub and on the member she is the same: called as the provider calls her, in its groups.
	for _, path := range []string{"/hub", "/clusters/prod-eu"} {
		if path != "/hub" {
			if _, err := h.whoIs(h.at(path, alice)); !apierrors.IsForbidden(err) {
				t.Errorf("before she may: got %v, want that it is forbidden", err)
			}
			h.allow("oidc:developers", "prod-eu")
		}
		var got authenticationv1.UserInfo
		h.eventually("alice reaches "+path, func() (bool, string) {
			var err error
			got, err = h.whoIs(h.at(path, alice))
			return err == nil, fmt.Sprint(err)
		})
		delete(got.Extra, "authentication.kubernetes.io/credential-id") // a serial number of the token, if it has one
		want := authenticationv1.UserInfo{
			Username: "alice@example.com", Groups: []string{"oidc:developers", "system:authenticated"},
			Extra: map[string]authenticationv1.ExtraValue{signin.IssuerKey: {provider.Issuer}},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("at %s (-want +got):\n%s", path, diff)
		}
	}

	// The hub's own API decides by its RBAC, watches included.
	if _, err := h.clients(h.at("/hub", alice)).CoreV1().Secrets(v1alpha1.SystemNamespace).List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("secrets of the hub: got %v, want that it is forbidden", err)
	}
	people, err := client.NewWithWatch(h.at("/hub", alice), client.Options{Scheme: scheme()})
	if err != nil {
		t.Fatal(err)
	}
	watching, err := people.Watch(t.Context(), &v1alpha1.MemberClusterList{})
	if err != nil {
		t.Fatal(err)
	}
	defer watching.Stop()
	if event := <-watching.ResultChan(); event.Type != "ADDED" {
		t.Errorf("the watch began with %v", event)
	}

	// Whoever is in no group is known, and may nothing.
	if got, err := h.whoIs(h.at("/hub", mallory)); err != nil || got.Username != "mallory@example.com" {
		t.Errorf("got %v, %v", got, err)
	}
	others, err := client.New(h.at("/hub", mallory), client.Options{Scheme: scheme()})
	if err != nil {
		t.Fatal(err)
	}
	if err := others.List(t.Context(), &v1alpha1.MemberClusterList{}); !apierrors.IsForbidden(err) {
		t.Errorf("members: got %v, want that it is forbidden", err)
	}
	_, err = h.whoIs(h.at("/clusters/prod-eu", mallory))
	mustContain(t, "the refusal", fmt.Sprint(err), `user "mallory@example.com" may not reach cluster "prod-eu"`)
}

// The hub's own rights are behind /hub: nothing that a request says gets anybody to them.
func TestNobodyBorrowsTheHub(t *testing.T) {
	provider := oidctest.Start(t)
	h, _ := signedIn(t, provider)
	mallory := provider.Token(oidctest.Mallory)
	h.known(mallory)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: h.authority.Roots()}} // HTTP/1.1, which has a header Connection
	t.Cleanup(transport.CloseIdleConnections)
	ask := func(header http.Header) (int, string) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+h.address+"/hub/api/v1/namespaces/"+v1alpha1.SystemNamespace+"/secrets", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header = header
		answer, err := (&http.Client{Transport: transport}).Do(request)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, readAll(t, answer)
	}
	bearer := []string{"Bearer " + mallory}
	for _, c := range []struct {
		reason string
		header http.Header
		code   int
		want   string
	}{
		{"nobody", http.Header{}, http.StatusUnauthorized, "no credentials were presented"},
		{"nobody who says so", http.Header{"Impersonate-User": {"system:admin"}}, http.StatusForbidden, "remove the header Impersonate-User"},
		{"a person in no group", http.Header{"Authorization": bearer}, http.StatusForbidden, `User \"mallory@example.com\" cannot list resource \"secrets\"`},
		{"impersonation", http.Header{"Authorization": bearer, "Impersonate-User": {"system:admin"}}, http.StatusForbidden, "remove the header Impersonate-User"},
		{"a group", http.Header{"Authorization": bearer, "Impersonate-Group": {"system:masters"}}, http.StatusForbidden, "remove the header Impersonate-Group"},
		{"a uid", http.Header{"Authorization": bearer, "Impersonate-Uid": {"0"}}, http.StatusForbidden, "remove the header Impersonate-Uid"},
		{"another spelling", http.Header{"Authorization": bearer, "Impersonate_group": {"system:masters"}}, http.StatusForbidden, "remove the header Impersonate_group"},
		{"a front proxy", http.Header{"Authorization": bearer, "X-Remote-User": {"admin"}, "X-Remote-Group": {"system:masters"}}, http.StatusForbidden, "remove the header X-Remote-Group"},
		{"the tunnel's own header", http.Header{"Authorization": bearer, "Umbel-Identity": {"e30="}}, http.StatusForbidden, "remove the header Umbel-Identity"},
		{"headers that a proxy would drop", http.Header{"Authorization": bearer, "Connection": {"Impersonate-User, Impersonate-Group, Authorization"}}, http.StatusForbidden, `cannot list resource \"secrets\"`},
		{"two tokens", http.Header{"Authorization": {"Bearer made.up.token", "Bearer " + mallory}}, http.StatusUnauthorized, "does not accept these credentials"},
	} {
		if code, text := ask(c.header); code != c.code || !strings.Contains(text, c.want) {
			t.Errorf("%s: answered %d %s, want %d and that it says %q", c.reason, code, text, c.code, c.want)
		}
	}
}

// changed returns the token with its head and claims changed, and signature signature.
func changed(t *testing.T, token, head string, change map[string]any, signature string) string {
	t.Helper()
	parts := strings.Split(token, ".")
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(raw, &claims); err != nil {
		t.Fatal(err)
	}
	for key, value := range change {
		claims[key] = value
	}
	if raw, err = json.Marshal(claims); err != nil {
		t.Fatal(err)
	}
	if head == "" {
		head = parts[0]
	} else {
		head = base64.RawURLEncoding.EncodeToString([]byte(head))
	}
	return head + "." + base64.RawURLEncoding.EncodeToString(raw) + "." + signature
}

func TestTokensThatAreRefused(t *testing.T) {
	provider, stranger := oidctest.Start(t), oidctest.Start(t)
	h, log := signedIn(t, provider)
	good := provider.Token(oidctest.Alice)
	h.known(good)
	signature := good[strings.LastIndex(good, ".")+1:]
	provider.SetClock(-48 * time.Hour)
	expired := provider.Token(oidctest.Alice)
	provider.SetClock(0)
	for _, c := range []struct{ reason, token, want string }{
		{"it has expired", expired, "token is expired"},
		{"it is for another program", provider.TokenFor(oidctest.Alice, oidctest.OtherClientID), "expected audience"},
		{"nobody trusts who issued it", stranger.Token(oidctest.Alice), "does not accept these credentials"},
		{"a stranger says that it is of the provider", changed(t, stranger.Token(oidctest.Alice), "", map[string]any{"iss": provider.Issuer}, signature), "failed to verify"},
		{"it is not signed", changed(t, good, `{"alg":"none"}`, nil, ""), "the token of " + provider.Issuer},
		{"it is signed with the public key as a secret", changed(t, good, `{"alg":"HS256"}`, nil, signature), "the token of " + provider.Issuer},
		{"its groups were changed", changed(t, good, "", map[string]any{"groups": []string{"system:masters"}}, signature), "failed to verify"},
		{"it is cut off", good[:len(good)-20], "the token of " + provider.Issuer},
		{"its claims are cut off", good[:len(good)/2], "does not accept these credentials"},
		{"it is no token", "made-up-and-long-enough-to-be-found", "does not accept these credentials"},
	} {
		_, err := h.whoIs(h.at("/hub", c.token))
		if !apierrors.IsUnauthorized(err) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want that it is unauthorized and says %q", c.reason, err, c.want)
			continue
		}
		for part := range strings.SplitSeq(c.token, ".") {
			if len(part) > 20 && (strings.Contains(err.Error(), part) || strings.Contains(log.String(), part)) {
				t.Errorf("%s: a part of the token is in the error or in the log", c.reason)
			}
		}
	}
	if _, err := h.whoIs(h.at("/hub", good)); err != nil {
		t.Errorf("the one that is good: %v", err)
	}
	if strings.Contains(log.String(), signature) {
		t.Error("a good token is in the log")
	}
}

func TestTheProviderRotatesItsKey(t *testing.T) {
	provider := oidctest.Start(t)
	h, _ := signedIn(t, provider)
	old := provider.Token(oidctest.Alice)
	h.known(old)
	provider.Rotate()
	if _, err := h.whoIs(h.at("/hub", provider.Token(oidctest.Alice))); err != nil {
		t.Errorf("a token with the new key: %v", err)
	}
	// What fetches the keys answers with them before it keeps them.
	h.eventually("a token with a key that the provider has taken back is refused", func() (bool, string) {
		_, err := h.whoIs(h.at("/hub", old))
		return apierrors.IsUnauthorized(err), fmt.Sprint(err)
	})
}

func TestTheProviderIsDown(t *testing.T) {
	provider := oidctest.Start(t)
	token := provider.Token(oidctest.Alice)
	provider.Stop()
	h, _ := signedIn(t, provider)
	certificate := rest.CopyConfig(h.api)
	certificate.Host = "https://" + h.address + "/hub"
	certificate.CAData = h.authority.CAs()
	certificate.CAFile = ""
	h.eventually("somebody with a client certificate is known", func() (bool, string) {
		_, err := h.whoIs(certificate)
		return err == nil, fmt.Sprint(err)
	})
	_, err := h.whoIs(h.at("/hub", token))
	mustContain(t, "what is said of a token", fmt.Sprint(err), "the token of "+provider.Issuer, "not initialized")
	provider.Run()
	token = provider.Token(oidctest.Alice)
	h.known(token)
	provider.Stop()
	if _, err := h.whoIs(h.at("/hub", token)); err != nil {
		t.Errorf("while the provider is away, with a key that is known: %v", err)
	}
}

func TestTheConfigurationChanges(t *testing.T) {
	provider := oidctest.Start(t)
	h, log := signedIn(t, provider)
	token := provider.Token(oidctest.Alice)
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(h.authentication, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	called := func(name string) func() (bool, string) {
		return func() (bool, string) {
			got, err := h.whoIs(h.at("/hub", token))
			return got.Username == name, fmt.Sprint(got.Username, err)
		}
	}
	h.eventually("she is called by her address", called("alice@example.com"))
	write(strings.Replace(provider.Configuration(), `{claim: email, prefix: ""}`, `{claim: name, prefix: "dex:"}`, 1))
	h.eventually("she is called by her name", called("dex:alice"))
	write("jwt: [")
	h.eventually("the log says what is wrong", func() (bool, string) {
		return strings.Contains(log.String(), "authentication configuration "+h.authentication), log.String()
	})
	if ok, seen := called("dex:alice")(); !ok {
		t.Errorf("with a file that is broken she is %s", seen)
	}
	write("apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt: []\n")
	h.eventually("nobody vouches for her", func() (bool, string) {
		_, err := h.whoIs(h.at("/hub", token))
		return apierrors.IsUnauthorized(err), fmt.Sprint(err)
	})
}

// A provider that could write "system:masters" or "umbel:admins" into somebody's groups would be above the hub's administrators.
func TestAProviderGivesNoNameOfTheHub(t *testing.T) {
	provider := oidctest.Start(t)
	people := []oidctest.Person{oidctest.Alice}
	for i, group := range []string{"system:masters", "umbel:admins", "hub:system:nodes"} {
		name := fmt.Sprint("eve", i)
		people = append(people, oidctest.Person{Name: name, Email: name + "@example.com", Password: "secret", Groups: []string{group}})
	}
	provider.SetPeople(people...)
	file := provider.WriteConfiguration()
	if err := os.WriteFile(file, []byte(strings.Replace(provider.Configuration(), `prefix: "oidc:"`, `prefix: ""`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	h := newHubWith(t, file, testLog(t))
	h.known(provider.Token(oidctest.Alice))
	for _, eve := range people[1:] {
		_, err := h.whoIs(h.at("/hub", provider.Token(eve)))
		mustContain(t, "what is said", fmt.Sprint(err), fmt.Sprintf("calls somebody %q", eve.Groups[0]), "claimMappings")
	}
	if got, err := h.whoIs(h.at("/hub", provider.Token(oidctest.Alice))); err != nil || !cmp.Equal(got.Groups, []string{"developers", "system:authenticated"}) {
		t.Errorf("alice: %v, %v", got, err)
	}
}

func TestLoginSaysWhatIsNeeded(t *testing.T) {
	provider := oidctest.Start(t)
	h, _ := signedIn(t, provider)
	answer, err := h.web(nil).Get("https://" + h.address + signin.LoginPath)
	if err != nil {
		t.Fatal(err)
	}
	var got signin.Login
	if err := json.Unmarshal([]byte(readAll(t, answer)), &got); err != nil {
		t.Fatal(err)
	}
	want := signin.Login{
		CA:      string(h.authority.CAs()),
		Issuers: []signin.Issuer{{URL: provider.Issuer, ClientID: oidctest.ClientID, CA: provider.CA}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	answer, err = h.web(nil).Post("https://"+h.address+signin.LoginPath, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	mustContain(t, "what a POST hears", readAll(t, answer), "GET /v1/login")
}
