package webhook_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/webhook"
)

const token = "a-token-that-nobody-guesses"

// secrets are the receivers of a test: one for each format in the namespace team, and one in umbel-system. In the namespace
// broken nothing can be read.
type secrets struct{ client.Reader }

func (secrets) Get(_ context.Context, key client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	secret := object.(*corev1.Secret)
	switch {
	case key.Namespace == "broken":
		return errors.New("the API is away")
	case key.Namespace != "team" && key.Namespace != v1alpha1.SystemNamespace || key.Name == "nobody":
		return apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, key.Name)
	}
	secret.Labels = map[string]string{v1alpha1.WebhookLabel: key.Name}
	secret.Data = map[string][]byte{"token": []byte(token)}
	switch key.Name {
	case "short":
		secret.Labels[v1alpha1.WebhookLabel], secret.Data["token"] = "gitlab", []byte("short")
	case "password": // a Secret that is no receiver
		secret.Labels = nil
	}
	return nil
}

// heard is what a handler hands on.
type heard struct {
	namespace    string
	repositories []string
	calls        int
}

func handler(h *heard) *webhook.Handler {
	return webhook.New(webhook.Needs{
		Secrets: secrets{}, Log: slog.New(slog.DiscardHandler),
		Refresh: func(_ context.Context, namespace string, repositories []string) (int, error) {
			h.namespace, h.repositories = namespace, repositories
			h.calls++
			return 2, nil
		},
	})
}

func sign(body string) string {
	mac := hmac.New(sha256.New, []byte(token))
	mac.Write([]byte(body))
	return hex.EncodeToString(mac.Sum(nil))
}

func post(h http.Handler, path, body string, headers ...string) *httptest.ResponseRecorder {
	request := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, request)
	return answer
}

// pushes are bodies as the servers' documentation shows them, cut down to what is looked at and a little more.
var pushes = []struct {
	format, body, want string
	headers            []string // beside the proof
}{
	{"github", `{"ref":"refs/heads/main","after":"6113","repository":{"id":1,"full_name":"a/fleet","clone_url":"https://github.com/a/fleet.git","ssh_url":"git@github.com:a/fleet.git","html_url":"https://github.com/a/fleet"},"pusher":{"name":"ada"}}`,
		"https://github.com/a/fleet.git", []string{"X-GitHub-Event", "push", "Content-Type", "application/json"}},
	{"github", "payload=" + url.QueryEscape(`{"repository":{"clone_url":"https://github.com/a/fleet.git"}}`),
		"https://github.com/a/fleet.git", []string{"X-GitHub-Event", "push", "Content-Type", "application/x-www-form-urlencoded"}},
	{"github", `{"action":"published","registry_package":{"package_version":{"package_url":"ghcr.io/a/shop:1.2"}}}`,
		"oci://ghcr.io/a/shop", []string{"X-GitHub-Event", "registry_package"}},
	{"gitea", `{"ref":"refs/heads/main","repository":{"clone_url":"http://git.example.com:3000/a/fleet.git","ssh_url":"ssh://git@git.example.com:2222/a/fleet.git"}}`,
		"ssh://git@git.example.com:2222/a/fleet.git", []string{"X-Gitea-Event", "push"}},
	{"gitlab", `{"object_kind":"push","event_name":"push","project":{"git_http_url":"https://gitlab.com/a/fleet.git","git_ssh_url":"git@gitlab.com:a/fleet.git","web_url":"https://gitlab.com/a/fleet"}}`,
		"git@gitlab.com:a/fleet.git", []string{"X-Gitlab-Event", "Push Hook"}},
	{"gitlab", `{"event_name":"repository_update","project":{"git_http_url":"https://gitlab.com/a/fleet.git"}}`,
		"https://gitlab.com/a/fleet.git", []string{"X-Gitlab-Event", "System Hook"}},
	{"bitbucket", `{"push":{"changes":[]},"repository":{"full_name":"a/fleet","links":{"html":{"href":"https://bitbucket.org/a/fleet"}}}}`,
		"https://bitbucket.org/a/fleet", []string{"X-Event-Key", "repo:push"}},
	{"bitbucket", `{"eventKey":"repo:refs_changed","repository":{"links":{"clone":[{"href":"ssh://git@bitbucket.example.com:7999/a/fleet.git","name":"ssh"},{"href":"https://bitbucket.example.com/scm/a/fleet.git"}]}}}`,
		"ssh://git@bitbucket.example.com:7999/a/fleet.git", []string{"X-Event-Key", "repo:refs_changed"}},
	{"registry", `{"events":[{"action":"push","target":{"mediaType":"application/vnd.oci.image.manifest.v1+json","repository":"fleet/shop","tag":"1.2"},"request":{"host":"registry.example.com:5000"}},{"action":"pull","target":{"repository":"fleet/x"},"request":{"host":"h"}}]}`,
		"oci://registry.example.com:5000/fleet/shop", nil},
	{"registry", `{"type":"PUSH_ARTIFACT","event_data":{"resources":[{"digest":"sha256:1","tag":"1.2","resource_url":"harbor.example.com/fleet/shop:1.2"}]}}`,
		"oci://harbor.example.com/fleet/shop", nil},
}

// proof is the header that shows who sends a body.
func proof(format, body string) []string {
	switch format {
	case "github":
		return []string{"X-Hub-Signature-256", "sha256=" + sign(body)}
	case "gitea":
		return []string{"X-Gitea-Signature", sign(body)}
	case "bitbucket":
		return []string{"X-Hub-Signature", "sha256=" + sign(body)}
	case "gitlab":
		return []string{"X-Gitlab-Token", token}
	}
	return []string{"Authorization", "Bearer " + token}
}

func TestPushes(t *testing.T) {
	for _, push := range pushes {
		t.Run(push.format, func(t *testing.T) {
			var got heard
			h := handler(&got)
			answer := post(h, "/hooks/team/"+push.format, push.body, append(proof(push.format, push.body), push.headers...)...)
			if answer.Code != http.StatusAccepted || got.namespace != "team" || !slices.Contains(got.repositories, push.want) {
				t.Errorf("answered %d %s, heard %+v; want %s", answer.Code, answer.Body, got, push.want)
			}
			// The same, by somebody who has no token, another token, or another body than was signed.
			for name, headers := range map[string][]string{
				"no proof": nil, "an empty proof": {proof(push.format, "")[0], ""}, "another token": {proof(push.format, "")[0], strings.Repeat("0", 64)},
				"a part of the proof": {proof(push.format, push.body)[0], proof(push.format, push.body)[1][:20]},
			} {
				if answer := post(h, "/hooks/team/"+push.format, push.body, append(headers, push.headers...)...); answer.Code != http.StatusForbidden || got.calls != 1 {
					t.Errorf("%s: answered %d, heard %d times", name, answer.Code, got.calls)
				}
			}
		})
	}
}

func TestReceivers(t *testing.T) {
	push := pushes[0]
	headers := append(proof("github", push.body), push.headers...)
	var got heard
	h := handler(&got)
	if answer := post(h, "/hooks/umbel-system/github", push.body, headers...); answer.Code != http.StatusAccepted || got.namespace != "" {
		t.Errorf("the hub's own receiver: answered %d, for namespace %q; want all", answer.Code, got.namespace)
	}
	nobody := post(h, "/hooks/team/nobody", push.body, headers...)
	wrong := post(h, "/hooks/team/github", push.body, push.headers...)
	if nobody.Code != http.StatusForbidden || nobody.Body.String() != wrong.Body.String() {
		t.Errorf("a receiver that there is not is told from one with another token: %d %s, %s", nobody.Code, nobody.Body, wrong.Body)
	}
	for _, tc := range []struct {
		reason, method, path, body string
		headers                    []string
		want                       int
	}{
		{"a ping", http.MethodPost, "/hooks/team/github", "{}", append(proof("github", "{}"), "X-GitHub-Event", "ping"), http.StatusOK},
		{"another event", http.MethodPost, "/hooks/team/gitlab", "{}", append(proof("gitlab", "{}"), "X-Gitlab-Event", "Issue Hook"), http.StatusOK},
		{"no JSON", http.MethodPost, "/hooks/team/gitlab", "hello", append(proof("gitlab", ""), "X-Gitlab-Event", "Push Hook"), http.StatusBadRequest},
		{"no repository in it", http.MethodPost, "/hooks/team/github", "{}", append(proof("github", "{}"), "X-GitHub-Event", "push"), http.StatusBadRequest},
		{"a Secret that is no receiver", http.MethodPost, "/hooks/team/password", push.body, headers, http.StatusForbidden},
		{"a token that can be guessed", http.MethodPost, "/hooks/team/short", push.body, []string{"X-Gitlab-Token", "short", "X-Gitlab-Event", "Push Hook"}, http.StatusForbidden},
		{"the API is away", http.MethodPost, "/hooks/broken/github", push.body, headers, http.StatusServiceUnavailable},
		{"too large", http.MethodPost, "/hooks/team/github", strings.Repeat("x", 3<<20+1), headers, http.StatusRequestEntityTooLarge},
		{"reading", http.MethodGet, "/hooks/team/github", "", nil, http.StatusNotFound},
		{"no name", http.MethodPost, "/hooks/team", "", nil, http.StatusNotFound},
		{"a way out", http.MethodPost, "/hooks/team/a/b", "", nil, http.StatusNotFound},
	} {
		before := got.calls
		request := httptest.NewRequest(tc.method, tc.path, strings.NewReader(tc.body))
		for i := 0; i < len(tc.headers); i += 2 {
			request.Header.Set(tc.headers[i], tc.headers[i+1])
		}
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, request)
		if answer.Code != tc.want || got.calls != before {
			t.Errorf("%s: answered %d %s, want %d; heard %d pushes", tc.reason, answer.Code, answer.Body, tc.want, got.calls-before)
		}
	}
	limited := false
	for range 200 {
		limited = limited || post(h, "/hooks/team/github", push.body, headers...).Code == http.StatusTooManyRequests
	}
	if !limited || got.calls > 100 {
		t.Errorf("200 pushes at once were handed on %d times", got.calls)
	}
}

func TestKey(t *testing.T) {
	for _, same := range [][]string{
		{"https://github.com/a/fleet.git", "https://GitHub.com:443/a/fleet/", "git@github.com:a/fleet.git", "ssh://git@github.com/a/fleet", "ssh://git@github.com:22/a/fleet.git", "https://ada:pw@github.com/a/fleet"},
		{"oci://registry.example.com/fleet/shop", "oci://registry.example.com:443/fleet/shop"},
		{"file:///srv/fleet", "file:///srv/fleet/"},
	} {
		for _, address := range same {
			if got, want := webhook.Key(address), webhook.Key(same[0]); got != want || got == "" {
				t.Errorf("%s has the key %q, %s has %q", address, got, same[0], want)
			}
		}
	}
	different := []string{"https://github.com/a/fleet", "https://github.com/a/Fleet", "https://github.com/b/fleet", "https://gitlab.com/a/fleet", "https://github.com:8443/a/fleet"}
	for i, one := range different {
		for _, other := range different[i+1:] {
			if webhook.Key(one) == webhook.Key(other) {
				t.Errorf("%s and %s have the same key", one, other)
			}
		}
	}
}

// FuzzPush: whatever comes, nothing is handed on without the token, and nothing panics with it.
func FuzzPush(f *testing.F) {
	for _, push := range pushes {
		f.Add(push.format, push.body, strings.Join(push.headers, "\n"))
	}
	f.Fuzz(func(t *testing.T, format, body, headers string) {
		var got heard
		h := handler(&got)
		lines := strings.Split(headers, "\n")
		if len(lines)%2 == 1 {
			lines = append(lines, "")
		}
		for i := 0; i < len(lines); i += 2 {
			lines[i] = http.CanonicalHeaderKey(lines[i])
			if strings.Contains(lines[i]+lines[i+1], token) || strings.Contains(lines[i], "Signature") {
				return
			}
		}
		path := "/hooks/team/" + url.PathEscape(format)
		if post(h, path, body, lines...); got.calls > 0 {
			t.Fatalf("a push without the token was handed on: %+v", got)
		}
		genuine := slices.Concat(lines, proof(format, body))
		post(h, path, body, genuine...)
		for _, repository := range got.repositories {
			webhook.Key(repository)
		}
	})
}
