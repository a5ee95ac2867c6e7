package login_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/hub"
	"umbel.dev/umbel/internal/identity/oidctest"
)

// openssl is the fingerprint as whoever runs the hub reads it out.
func (s *scene) openssl() string {
	s.t.Helper()
	out, err := exec.CommandContext(s.t.Context(), "openssl", "x509", "-in", s.ca, "-noout", "-fingerprint", "-sha256").Output()
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// Nobody is signed in to a hub whose authority nobody has vouched for.
func TestAHubIsNotTrustedBlindly(t *testing.T) {
	s := newScene(t)
	fingerprint := s.openssl()
	_, bare, _ := strings.Cut(fingerprint, "=")
	for _, c := range []struct {
		reason, in string
		args       []string
		want       []string
	}{
		{"nobody is there to ask", "", nil, []string{bare, "is not trusted, and nothing was sent to it: --ca FILE or --ca-fingerprint"}},
		{"the person does not know it", "no\n", nil, []string{bare, "is not trusted"}},
		{"the person is in a hurry", "y\n", nil, []string{"is not trusted"}},
		{"the fingerprint is another", "yes\n", []string{"--ca-fingerprint", strings.Repeat("00:", 31) + "00"}, []string{"is not the one that is meant", bare}},
		{"the authority is another", "yes\n", []string{"--ca", s.otherCA()}, []string{"certificate signed by unknown authority"}},
	} {
		got := s.login(oidctest.Alice, c.in, c.args...)
		mustSay(t, c.reason, got, 1, c.want...)
		if strings.Contains(got.err, s.provider.Issuer) {
			t.Errorf("%s: the person was sent to an identity provider all the same:\n%s", c.reason, got.err)
		}
	}
	if entries, err := os.ReadDir(s.home); err != nil || len(entries) != 0 {
		t.Errorf("in the data folder are %v (%v), want nothing", entries, err)
	}
	mustSay(t, "the fingerprint as openssl prints it", s.login(oidctest.Alice, "", "--ca-fingerprint", fingerprint), 0, "as alice@example.com")
}

// otherCA is an authority that has nothing to do with the hub.
func (s *scene) otherCA() string {
	s.t.Helper()
	path := filepath.Join(s.t.TempDir(), "other.crt")
	if err := os.WriteFile(path, []byte(s.provider.CA), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// TestSignedIn is a developer's day: they sign in, see who they are, and reach what their group may.
func TestSignedIn(t *testing.T) {
	s := newScene(t)
	address := strings.TrimPrefix(s.hub, "https://")
	got := s.login(oidctest.Alice, "yes\n")
	mustSay(t, "login", got, 0, "context/hub@"+address+" created\n", "Signed in to "+s.hub+" as alice@example.com\n")
	s.secret("login", got.out+got.err)
	for _, path := range []string{s.kubeconfig, filepath.Join(s.home, "signed-in.kubeconfig")} {
		s.secret(path, s.loadKubeconfig(path))
	}
	files, err := filepath.Glob(filepath.Join(s.home, "sessions", "*.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("sessions are in %v (%v), want one file", files, err)
	}
	if info, err := os.Stat(files[0]); err != nil || info.Mode() != 0o600 {
		t.Errorf("its mode is %v (%v), want that nobody else reads it", info.Mode(), err)
	}

	mustSay(t, "whoami", s.run("", "whoami"), 0, "User:      alice@example.com\nGroups:    oidc:developers, system:authenticated\n"+
		"Known by:  a token of "+s.provider.Issuer+"\nHub:       "+s.hub+"/hub\n")
	if got := s.run("", "whoami", "-o", "name"); got.out != "alice@example.com\n" {
		t.Errorf("whoami -o name: %v", got)
	}
	var review authenticationv1.SelfSubjectReview
	if err := json.Unmarshal([]byte(s.run("", "whoami", "-o", "json").out), &review); err != nil || review.Kind != "SelfSubjectReview" || review.Status.UserInfo.Username != "alice@example.com" {
		t.Errorf("whoami -o json: %v, %v", review, err)
	}

	mustSay(t, "what her group may not", s.run("", "get", "clusters"), 1, "forbidden", "alice@example.com")
	s.grant("oidc:developers", "prod-eu")
	s.eventually("what it may", func() error {
		if got := s.run("", "get", "clusters"); got.code != 0 || !strings.Contains(got.out, "prod-eu") || strings.Contains(got.err, "forbidden") {
			return errors.New(got.out + got.err)
		}
		return nil
	})
	mustSay(t, "a context for each cluster", s.run("", "kubeconfig"), 0, "context/prod-eu created\n")
	mustSay(t, "signing in again changes nothing else", s.login(oidctest.Alice, ""), 0, "context/hub@"+address+" configured\n")
	mustSay(t, "and the clusters stay", s.run("", "kubeconfig"), 0, "context/prod-eu unchanged\n")

	mustSay(t, "kubectl on the hub", s.kubectl("--context", "hub@"+address, "auth", "whoami"), 0, "alice@example.com", "oidc:developers")
	mustSay(t, "kubectl, to a cluster that is not connected", s.kubectl("--context", "prod-eu", "get", "pods"), 1, "ServiceUnavailable")

	mustSay(t, "logout", s.run("", "logout"), 0, "context/hub@"+address+" removed\ncontext/prod-eu removed\n", "Signed out of "+s.hub)
	if text := s.loadKubeconfig(s.kubeconfig); strings.Contains(text, address) {
		t.Errorf("after it the kubeconfig still knows the hub:\n%s", text)
	}
	if files, err := filepath.Glob(filepath.Join(s.home, "s*", "*")); err != nil || len(files) != 0 {
		t.Errorf("after it there are still %v (%v)", files, err)
	}
	mustSay(t, "afterwards", s.run("", "whoami"), 1, "no hub")
	mustSay(t, "twice", s.run("", "logout"), 1, "nobody is signed in")
}

// grant lets a group see the members, and reach one of them, which it makes.
func (s *scene) grant(group string, cluster v1alpha1.ClusterName) {
	s.t.Helper()
	scheme, err := hub.Scheme()
	if err != nil {
		s.t.Fatal(err)
	}
	api, err := kube.New(s.api, kube.Options{Scheme: scheme})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, object := range []kube.Object{
		&v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: string(cluster)}},
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "developers"}, Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"memberclusters"}, Verbs: []string{"get", "list", "watch", "proxy"},
		}}},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "developers"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "developers"},
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: group}},
		},
	} {
		if err := api.Create(s.t.Context(), object); err != nil {
			s.t.Fatal(err)
		}
	}
}

func TestSigningInOnAnotherMachine(t *testing.T) {
	s := newScene(t)
	got := s.login(oidctest.Mallory, "", "--device", "--ca", s.ca)
	mustSay(t, "login --device", got, 0, "the code is ", "Signed in to "+s.hub+" as mallory@example.com")
	mustSay(t, "whoami", s.run("", "whoami"), 0, "Groups:    system:authenticated\n")
}

// Two programs that find the token too old at the same time do not spend the one refresh token twice.
func TestManyRefreshAtOnce(t *testing.T) {
	s := newScene(t)
	mustSay(t, "login", s.login(oidctest.Alice, "", "--ca", s.ca), 0)
	for range 2 { // the second time shows that what the first one left is good
		before := s.session()
		s.expire()
		var running sync.WaitGroup
		tokens := make([]string, 8)
		for i := range tokens {
			running.Go(func() {
				token, said, err := s.credential()
				if err != nil {
					t.Errorf("%v: %s", err, said)
				}
				tokens[i] = token
			})
		}
		running.Wait()
		after := s.session()
		for _, token := range tokens {
			if token != after.IDToken {
				t.Error("the programs got different tokens: more than one asked the provider")
			}
		}
		if after.RefreshToken == before.RefreshToken {
			t.Error("nothing was refreshed")
		}
	}
	mustSay(t, "whoami", s.run("", "whoami", "-o", "name"), 0, "alice@example.com")
}

func TestASessionEnds(t *testing.T) {
	s := newScene(t)
	mustSay(t, "login", s.login(oidctest.Alice, "", "--ca", s.ca), 0)
	again := "`umbel login " + s.hub + "` signs you in again"
	refuses := func(reason string, want ...string) {
		t.Helper()
		s.expire()
		token, text, err := s.credential()
		if _, ended := errors.AsType[*exec.ExitError](err); !ended || token != "" {
			t.Errorf("%s: got %v, want that it fails", reason, err)
		}
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%s: it says %q, want %q", reason, text, w)
			}
		}
		s.secret(reason, text)
		mustSay(t, reason, s.run("", "whoami"), 1, "there are no credentials for the hub at "+s.hub)
	}
	s.provider.SetPeople(oidctest.Mallory)
	// Dex answers that with an error of its own (500), as if it would pass.
	refuses("she has left the company", again)
	s.provider.SetPeople(oidctest.Alice)
	mustSay(t, "login", s.login(oidctest.Alice, ""), 0)
	s.provider.Revoke()
	refuses("her sessions were ended", "has ended", again)
	mustSay(t, "login", s.login(oidctest.Alice, ""), 0)
	before := s.session().RefreshToken
	s.provider.Stop()
	refuses("the provider is down", "cannot be renewed now", "connection refused", again)
	if s.session().RefreshToken != before {
		t.Error("a provider that is down has ended the session")
	}
	if err := s.store().Forget(s.hub); err != nil {
		t.Fatal(err)
	}
	if _, text, err := s.credential(); err == nil || !strings.Contains(text, "nobody is signed in to "+s.hub) {
		t.Errorf("without a session: got %v, %s", err, text)
	}
}

// A token that is still good is used, be the provider there or not; a file that is damaged is an error with a way out.
func TestATokenThatIsStillGood(t *testing.T) {
	s := newScene(t)
	mustSay(t, "login", s.login(oidctest.Alice, "", "--ca", s.ca), 0)
	s.provider.Stop()
	token, text, err := s.credential()
	if err != nil || token != s.session().IDToken {
		t.Errorf("got %v, %s", err, text)
	}
	files, err := filepath.Glob(filepath.Join(s.home, "sessions", "*.json"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	if err := os.WriteFile(files[0], []byte(`{"idToken": "`+token), 0o600); err != nil {
		t.Fatal(err)
	}
	_, text, err = s.credential()
	if err == nil || !strings.Contains(text, files[0]+" is damaged: `umbel login") || strings.Contains(text, token) {
		t.Errorf("damaged: got %v, %s", err, text)
	}
}

func TestArgumentsOfLogin(t *testing.T) {
	s := &scene{t: t}
	t.Setenv("UMBEL_HOME", t.TempDir())
	for _, c := range []struct{ args, want string }{
		{"login", "HUB is missing"},
		{"login http://hub.example.com", `the hub "http://hub.example.com" is not https://HOST:PORT`},
		{"login https://alice:secret@hub.example.com", "is not https://HOST:PORT"},
		{"login https://hub.example.com/clusters/a", "it has the path /clusters/a"},
		{"login https://hub.example.com --ca x --ca-fingerprint y", "one of them is enough"},
		{"login https://hub.example.com --ca /nowhere.crt", "--ca: open /nowhere.crt"},
		{"login https://hub.example.com --redirect-port 70000", "--redirect-port is 70000"},
		{"login https://hub.example.com --kubeconfig x", "--kubeconfig has no say in it"},
		{"logout a b", "accepts at most 1 arg"},
	} {
		mustSay(t, c.args, s.run("", strings.Fields(c.args)...), 2, c.want)
	}
	if _, err := os.Stat(filepath.Join(os.Getenv("UMBEL_HOME"), "sessions")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something was kept: %v", err)
	}
	if diff := cmp.Diff(said{err: "error: nobody is signed in\n", code: 1}, s.run("", "logout"), cmp.AllowUnexported(said{})); diff != "" {
		t.Errorf("logout (-want +got):\n%s", diff)
	}
}
