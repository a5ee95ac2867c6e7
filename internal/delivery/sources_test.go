package delivery_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/content/registrytest"
	"umbel.dev/umbel/internal/delivery/source/sourcetest"
)

// lines is what the controller logs.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// count says how many lines have all of the texts.
func (l *lines) count(texts ...string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for line := range strings.Lines(l.text.String()) {
		has := true
		for _, text := range texts {
			has = has && strings.Contains(line, text)
		}
		if has {
			n++
		}
	}
	return n
}

// secret writes a Secret, be it there or not.
func (h *hub) secret(name string, data map[string]string, change func(*corev1.Secret)) {
	h.t.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: name}, StringData: data}
	if change != nil {
		change(s)
	}
	err := h.Create(h.t.Context(), s)
	if err != nil {
		var there corev1.Secret
		h.must(h.Get(h.t.Context(), client.ObjectKeyFromObject(s), &there))
		s.ResourceVersion = there.ResourceVersion
		err = h.Update(h.t.Context(), s)
	}
	h.must(err)
}

// from makes a Package of a source, which is polled once an hour.
func (h *hub) from(name, placement string, from v1alpha1.Source) v1alpha1.PackageKey {
	h.t.Helper()
	p := &v1alpha1.Package{ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: name}}
	p.Spec.Source, p.Spec.PlacementRef.Name = from, placement
	hour := &metav1.Duration{Duration: 3600e9}
	switch {
	case from.Git != nil:
		p.Spec.Source.Git.PollInterval = hour
	case from.OCI != nil:
		p.Spec.Source.OCI.PollInterval = hour
	}
	h.must(h.Create(h.t.Context(), p))
	return v1alpha1.KeyOf(h.namespace, name)
}

// tellsNoSecret looks for the canary wherever somebody may look: the status, the events, the log, what clusters are told.
func (h *hub) tellsNoSecret() {
	h.t.Helper()
	var packages v1alpha1.PackageList
	h.must(h.List(h.t.Context(), &packages, client.InNamespace(h.namespace)))
	var events corev1.EventList
	h.must(h.List(h.t.Context(), &events, client.InNamespace(h.namespace)))
	if len(events.Items) == 0 {
		h.t.Error("there are no events to look at")
	}
	for what, text := range map[string]string{"a status": fmt.Sprintf("%+v", packages.Items), "an event": fmt.Sprintf("%+v", events.Items), "a release": fmt.Sprintf("%+v", h.releases())} {
		if strings.Contains(text, sourcetest.Canary) {
			h.t.Errorf("%s tells a secret: %s", what, text)
		}
	}
	if h.logs.count(sourcetest.Canary) > 0 {
		h.t.Error("the log tells a secret")
	}
}

// TestAPrivateRepository is the way of a Package whose repository wants credentials, with every mistake on it.
func TestAPrivateRepository(t *testing.T) {
	h := newHub(t)
	eu := h.cluster("eu", nil)
	h.place("prod", eu)
	repo := sourcetest.New(t)
	repo.Commit(map[string]string{"app/a.yaml": configMap("a", "one")})
	server, url := repo.ServeTLS(sourcetest.Locked(sourcetest.Basic("ada", sourcetest.Canary)))
	git := &v1alpha1.GitSource{URL: url, Path: "app"}
	key := h.from("app", "prod", v1alpha1.Source{Git: git})
	h.waitFor("app", v1alpha1.ConditionFetched, "False FetchFailed", "certificate")

	use := func(secret string) {
		h.change("app", func(p *v1alpha1.Package) { p.Spec.Source.Git.SecretRef = &v1alpha1.LocalReference{Name: secret} })
	}
	use("git")
	h.waitFor("app", v1alpha1.ConditionFetched, "False SecretInvalid", `there is no secret "git" in namespace "`+h.namespace+`" (spec.source.git.secretRef)`)
	ca := string(sourcetest.CA(server))
	for _, tc := range []struct {
		reason, begin, text string
		data                map[string]string
	}{
		{"a Secret of something else", "False SecretInvalid", "has none of the keys", map[string]string{"key": sourcetest.Canary}},
		{"no account", "False Unauthorized", "the server refuses the credentials of secret " + h.namespace + "/git", map[string]string{"ca.crt": ca}},
		{"a wrong one", "False Unauthorized", "(spec.source.git.secretRef)", map[string]string{"ca.crt": ca, "username": "ada", "password": sourcetest.Canary + "x"}},
		{"a right one", "True Fetched", "main is at ", map[string]string{"ca.crt": ca, "username": "ada", "password": sourcetest.Canary}},
	} {
		h.secret("git", tc.data, nil)
		h.refresh("app")
		h.waitFor("app", v1alpha1.ConditionFetched, tc.begin, tc.text)
	}
	h.waitTold(eu, key, `"one"`)

	// A Secret that says for whom it is goes to nobody else; and when it is gone, the last Release stays.
	h.secret("git", map[string]string{"ca.crt": ca, "username": "ada", "password": sourcetest.Canary}, func(s *corev1.Secret) {
		s.Annotations = map[string]string{v1alpha1.OnlyForAnnotation: "https://git.example.com/"}
	})
	h.refresh("app")
	h.waitFor("app", v1alpha1.ConditionFetched, "False SecretInvalid", "is for https://git.example.com/ and not for "+url, "stays")
	h.must(h.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: "git"}}))
	h.refresh("app")
	h.waitFor("app", v1alpha1.ConditionFetched, "False SecretInvalid", "there is no secret", "stays")
	h.waitTold(eu, key, `"one"`)
	h.tellsNoSecret()
}

// TestARepositoryOverSSH: by branch, and then by the newest version of a range.
func TestARepositoryOverSSH(t *testing.T) {
	h := newHub(t)
	eu := h.cluster("eu", nil)
	h.place("prod", eu)
	repo := sourcetest.New(t)
	repo.Commit(map[string]string{"a.yaml": configMap("a", "one")})
	repo.Git("tag", "v1.0.0")
	server := repo.ServeSSH("")
	h.secret("ssh", map[string]string{"ssh-privatekey": string(server.Key), "known_hosts": string(server.KnownHosts)}, nil)
	git := &v1alpha1.GitSource{URL: server.URL(repo), SecretRef: &v1alpha1.LocalReference{Name: "ssh"}}
	key := h.from("app", "prod", v1alpha1.Source{Git: git})
	h.waitTold(eu, key, `"one"`)
	repo.Commit(map[string]string{"a.yaml": configMap("a", "two")})
	repo.Git("tag", "v1.1.0")
	repo.Commit(map[string]string{"a.yaml": configMap("a", "three")})
	repo.Git("tag", "v2.0.0")
	h.change("app", func(p *v1alpha1.Package) { p.Spec.Source.Git.Semver = ">=1 <2" })
	h.waitTold(eu, key, `"two"`)
	h.waitFor("app", v1alpha1.ConditionFetched, "True Fetched", `v1.1.0, the newest version that ">=1 <2" allows, is at `)
	for _, bad := range []v1alpha1.GitSource{
		{URL: git.URL}, {URL: git.URL, Ref: "main", Semver: ">=1", SecretRef: git.SecretRef}, {URL: "git@git.example.com:a/b.git"}, {URL: "ftp://git.example.com/a"},
	} {
		p := &v1alpha1.Package{ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: "bad"}}
		p.Spec.Source.Git, p.Spec.PlacementRef.Name = &bad, "prod"
		if err := h.Create(t.Context(), p); err == nil {
			t.Errorf("the API takes %+v", bad)
		}
	}
}

// TestAnArtifact: a Package of an OCI registry.
func TestAnArtifact(t *testing.T) {
	h := newHub(t)
	eu := h.cluster("eu", map[string]string{"region": "eu"})
	h.place("prod", eu)
	registry := sourcetest.NewRegistry(t, registrytest.Password)
	push := func(value string, tags ...string) string {
		return registry.Push("fleet/shop", []sourcetest.Layer{{
			MediaType: "application/vnd.cncf.flux.content.v1.tar+gzip", Blob: sourcetest.Tarball(t, "", map[string]string{"deploy/a.yaml": configMap("a", value)}),
		}}, tags...)
	}
	first := push("one in ${cluster.labels.region}", "1.0.0", "latest")
	h.secret("registry", map[string]string{"username": "ada", "password": sourcetest.Canary, "ca.crt": string(registry.CA)}, nil)
	key := h.from("app", "prod", v1alpha1.Source{OCI: &v1alpha1.OCISource{
		URL: "oci://" + registry.Host + "/fleet/shop", Path: "deploy", SecretRef: &v1alpha1.LocalReference{Name: "registry"},
	}})
	h.waitTold(eu, key, `deploy/a.yaml {"apiVersion":"v1","data":{"value":"one in eu"}`)
	h.waitFor("app", v1alpha1.ConditionFetched, "True Fetched", "latest is at "+first[:19])
	h.waitFor("app", v1alpha1.ConditionRendered, "True Rendered", "artifact "+first[:19]+" gives 1 object")
	if got := h.pkg("app").Status.Revision; got != first {
		t.Errorf("revision %q, want %s", got, first)
	}
	push("two", "1.1.0", "latest")
	h.refresh("app")
	h.waitTold(eu, key, `"two"`)
	h.change("app", func(p *v1alpha1.Package) { p.Spec.Source.OCI.Digest = first })
	h.waitTold(eu, key, `"one in eu"`)
	registry.Stop()
	asia := h.cluster("asia", map[string]string{"region": "asia"})
	h.place("prod", asia, eu)
	h.waitTold(asia, key, `"one in asia"`) // what was fetched is still here
	h.tellsNoSecret()
}

// TestAMonorepo: 500 Packages of one repository cost one fetch for each commit, and a commit renders what it feeds.
func TestAMonorepo(t *testing.T) {
	const packages = 500
	h := newHub(t)
	eu := h.cluster("eu", nil)
	h.place("prod", eu)
	repo := sourcetest.New(t)
	files := map[string]string{"lib/base/c.yaml": configMap("shared", "one"), "lib/base/kustomization.yaml": "resources: [c.yaml]\n"}
	for i := range packages {
		folder := fmt.Sprintf("apps/%d/", i)
		files[folder+"a.yaml"] = configMap(fmt.Sprintf("a-%d", i), "one")
		if i < 3 { // these are of what others are of, too
			files[folder+"kustomization.yaml"] = fmt.Sprintf("namePrefix: x%d-\nresources: [a.yaml, ../../lib/base]\n", i)
		}
	}
	repo.Commit(files)
	var asked, sent atomic.Int32
	url := repo.Serve(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/info/refs") {
				asked.Add(1)
			} else {
				sent.Add(1)
			}
			next.ServeHTTP(w, r)
		})
	})
	name := func(i int) string { return fmt.Sprintf("app-%d", i) }
	for i := range packages {
		h.create(name(i), url, fmt.Sprintf("apps/%d", i), "prod")
	}
	for i := range packages {
		h.waitFor(name(i), v1alpha1.ConditionRendered, "True Rendered")
	}
	if got := sent.Load(); got != 1 {
		t.Errorf("the repository was fetched %d times for %d packages, want once", got, packages)
	}
	if got := h.logs.count("msg=rendering"); got != packages {
		t.Errorf("%d renderings for %d packages", got, packages)
	}
	for _, tc := range []struct {
		reason  string
		change  map[string]string
		renders int
		changed int // which Package is told something else
	}{
		{"one folder", map[string]string{"apps/7/a.yaml": configMap("a-7", "two")}, 1, 7},
		{"what three folders refer to", map[string]string{"lib/base/c.yaml": configMap("shared", "two")}, 3, 1},
		{"nothing of anybody's", map[string]string{"README.md": "hello"}, 0, -1},
	} {
		before, fetched := h.logs.count("msg=rendering"), sent.Load()
		commit := repo.Change(tc.change)
		asked.Store(0)
		h.push(url)
		for i := range packages {
			h.waitFor(name(i), v1alpha1.ConditionFetched, "True Fetched", commit[:12])
		}
		if tc.changed >= 0 {
			h.waitTold(eu, v1alpha1.KeyOf(h.namespace, name(tc.changed)), `"two"`)
		}
		h.eventually(tc.reason, func() string { // those that begin beside the one that is told
			if got := h.logs.count("msg=rendering") - before; got < tc.renders {
				return fmt.Sprintf("%d renderings, want %d", got, tc.renders)
			}
			return ""
		})
		if got := h.logs.count("msg=rendering") - before; got != tc.renders {
			t.Errorf("%s: %d renderings, want %d", tc.reason, got, tc.renders)
		}
		if asked.Load() != 1 || sent.Load()-fetched != 1 {
			t.Errorf("%s: asked %d times and fetched %d times, want once each", tc.reason, asked.Load(), sent.Load()-fetched)
		}
	}
}

// push tells the hub of a push, as GitLab does, by a receiver of this namespace.
func (h *hub) push(repository string) {
	h.t.Helper()
	if answer := h.pushed(repository); answer.Code != http.StatusAccepted {
		h.t.Fatalf("the push was answered %d: %s", answer.Code, answer.Body)
	}
}

// pushed does so and returns what the hub answers.
func (h *hub) pushed(repository string) *httptest.ResponseRecorder {
	h.t.Helper()
	const token = "a-token-that-nobody-guesses"
	h.secret("pushes", map[string]string{"token": token}, func(s *corev1.Secret) { s.Labels = map[string]string{v1alpha1.WebhookLabel: "gitlab"} })
	body := fmt.Sprintf(`{"event_name": "push", "project": {"git_http_url": %q}}`, repository)
	request := httptest.NewRequestWithContext(h.t.Context(), http.MethodPost, "/hooks/"+h.namespace+"/pushes", strings.NewReader(body))
	request.Header.Set("X-Gitlab-Token", token)
	request.Header.Set("X-Gitlab-Event", "Push Hook")
	answer := httptest.NewRecorder()
	h.hooks.ServeHTTP(answer, request)
	return answer
}

// TestWhatWasPushedBeforeThePackageWasMade: a new Package is answered by a fetch of its own, and not by what another one of the
// same branch was told up to an hour ago.
func TestWhatWasPushedBeforeThePackageWasMade(t *testing.T) {
	h := newHub(t)
	eu := h.cluster("eu", nil)
	h.place("prod", eu)
	repo := sourcetest.New(t)
	repo.Commit(map[string]string{"old/a.yaml": configMap("a", "one")})
	url := repo.Serve(nil)
	h.waitTold(eu, h.create("old", url, "old", "prod"), `"one"`)
	repo.Change(map[string]string{"new/b.yaml": configMap("b", "two")})
	time.Sleep(time.Second) // the API tells the second in which an object was made, and no more
	h.waitTold(eu, h.create("new", url, "new", "prod"), `"two"`)
	var events eventsv1.EventList
	h.must(h.List(t.Context(), &events, client.InNamespace(h.namespace)))
	for _, e := range events.Items {
		if e.Reason == v1alpha1.ReasonPathNotFound {
			t.Errorf("an event of %s says %q", e.Regarding.Name, e.Note)
		}
	}
}

// TestAFetchThatTakesLongerThanAPoll: of a new Package whose source is slow its first answer counts, however old it is by then.
func TestAFetchThatTakesLongerThanAPoll(t *testing.T) {
	h := newHub(t)
	eu := h.cluster("eu", nil)
	h.place("prod", eu)
	repo := sourcetest.New(t)
	repo.Commit(map[string]string{"a.yaml": configMap("a", "one")})
	url := repo.Serve(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(6 * time.Second)
			next.ServeHTTP(w, r)
		})
	})
	p := &v1alpha1.Package{ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: "app"}}
	p.Spec.Source.Git = &v1alpha1.GitSource{URL: url, PollInterval: &metav1.Duration{Duration: 5 * time.Second}}
	p.Spec.PlacementRef.Name = "prod"
	h.must(h.Create(t.Context(), p))
	h.waitTold(eu, v1alpha1.KeyOf(h.namespace, "app"), `"one"`)
}

// TestAPush: what is polled once an hour is delivered on a push, and a push of another repository asks nobody.
func TestAPush(t *testing.T) {
	h := newHub(t)
	eu := h.cluster("eu", nil)
	h.place("prod", eu)
	repo, other := sourcetest.New(t), sourcetest.New(t)
	repo.Commit(map[string]string{"a.yaml": configMap("a", "one")})
	url := repo.Serve(nil)
	key := h.create("app", url, ".", "prod")
	h.waitTold(eu, key, `"one"`)
	repo.Commit(map[string]string{"a.yaml": configMap("a", "two")})
	h.push(other.Serve(nil))
	if got := h.pkg("app").Annotations[v1alpha1.RefreshAnnotation]; got != "" {
		t.Errorf("a push of another repository asked for a fetch at %s", got)
	}
	h.push(strings.TrimSuffix(url, ".git") + ".git/")
	h.waitTold(eu, key, `"two"`)
}

// TestAPushOfAPackageThatCannotBeTouched: the others of its repository hear of it all the same.
func TestAPushOfAPackageThatCannotBeTouched(t *testing.T) {
	h := newHub(t)
	eu := h.cluster("eu", nil)
	h.place("prod", eu)
	repo := sourcetest.New(t)
	repo.Commit(map[string]string{"a.yaml": configMap("a", "one")})
	repo.Git("branch", "side")
	url := repo.Serve(nil)
	h.create("barred", url, ".", "prod") // the oldest of its version, and of all
	same := h.create("same", url, ".", "prod")
	h.waitTold(eu, same, `"one"`)
	h.refuse("barred")
	repo.Commit(map[string]string{"a.yaml": configMap("a", "two")})
	h.push(url)
	h.waitTold(eu, same, `"two"`)

	h.must(h.Delete(t.Context(), h.pkg("same")))
	h.waitTold(eu, same, "remove")
	h.obeys(eu)
	h.waitGone("same")
	h.create("side", url, ".", "prod")
	h.change("side", func(p *v1alpha1.Package) { p.Spec.Source.Git.Ref = "side" })
	side := v1alpha1.KeyOf(h.namespace, "side")
	h.waitTold(eu, side, `"one"`)
	repo.Git("branch", "-f", "side", "main")
	if answer := h.pushed(url); answer.Code != http.StatusServiceUnavailable {
		t.Errorf("a push of which one version cannot be asked for was answered %d: %s", answer.Code, answer.Body)
	}
	h.waitTold(eu, side, `"two"`)
}
