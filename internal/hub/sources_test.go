package hub

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/source/sourcetest"
	"umbel.dev/umbel/internal/kube/kubetest"
)

// pushed follows docs/operate/sources.md on a running hub: every command of the page is run, a private repository is read with
// a Secret that the page makes, and a push that comes through the hub's door, to the receiver of the page, is heard.
func pushed(t *testing.T, home string, config *rest.Config, api client.Client, eventually func(string, func(context.Context) error)) {
	t.Helper()
	const token = "a-token-that-nobody-guesses"
	// What the chart brings beside what the hub says that it needs.
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "umbel-source-secrets"}, Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get"}}}}
	if err := api.Create(t.Context(), role); err != nil {
		t.Fatal(err)
	}
	repo := sourcetest.New(t)
	first := repo.Commit(map[string]string{"a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"})
	url := repo.Serve(sourcetest.Locked("Bearer " + token))
	pkg := &v1alpha1.Package{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "app"}}
	pkg.Spec.PlacementRef.Name = "p"
	pkg.Spec.Source.Git = &v1alpha1.GitSource{URL: url, SecretRef: &v1alpha1.LocalReference{Name: "git-token"}, PollInterval: &metav1.Duration{Duration: time.Hour}}
	if err := api.Create(t.Context(), pkg); err != nil {
		t.Fatal(err)
	}
	fetched := func(want string) func(context.Context) error {
		return func(ctx context.Context) error {
			if err := api.Get(ctx, client.ObjectKeyFromObject(pkg), pkg); err != nil {
				return err
			}
			condition := meta.FindStatusCondition(pkg.Status.Conditions, v1alpha1.ConditionFetched)
			if condition == nil || !strings.Contains(condition.Message, want) {
				return fmt.Errorf("the package says %+v", condition)
			}
			return nil
		}
	}
	eventually("that this hub may not get the Secret", fetched("this hub may not get the Secrets of namespace \"default\""))
	runPage(t, config, token)
	asked := pkg.DeepCopy()
	asked.Annotations = map[string]string{v1alpha1.RefreshAnnotation: "now"}
	if err := api.Patch(t.Context(), asked, client.MergeFrom(pkg)); err != nil {
		t.Fatal(err)
	}
	eventually("the first commit", fetched(first[:12]))

	second := repo.Commit(map[string]string{"a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n"})
	body := fmt.Appendf(nil, `{"repository": {"clone_url": %q}}`, url)
	mac := hmac.New(sha256.New, []byte(token))
	mac.Write(body)
	for signature, want := range map[string]int{strings.Repeat("0", 64): http.StatusForbidden, hex.EncodeToString(mac.Sum(nil)): http.StatusAccepted} {
		if code, said, err := push(t, home, body, signature); err != nil || code != want {
			t.Errorf("a push was answered %d %s, %v; want %d", code, said, err, want)
		}
	}
	eventually("the commit of the push", fetched(second[:12]))
	if err := api.Delete(t.Context(), pkg); err != nil {
		t.Error(err)
	}
}

// push tells a hub of a push as GitHub does, at the address and with the authority that its state names.
func push(t *testing.T, home string, body []byte, signature string) (int, string, error) {
	t.Helper()
	state, err := ReadState(home)
	if err != nil {
		return 0, "", err
	}
	ca, err := os.ReadFile(state.CAFile)
	if err != nil {
		return 0, "", err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return 0, "", errors.New("the hub's authority is no PEM")
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+state.Address+"/hooks/default/pushes", bytes.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("X-GitHub-Event", "push")
	request.Header.Set("X-Hub-Signature-256", "sha256="+signature)
	speaking := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	defer speaking.CloseIdleConnections()
	answer, err := (&http.Client{Transport: speaking}).Do(request)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(said), err
}

// runPage runs the commands of docs/operate/sources.md.
func runPage(t *testing.T, config *rest.Config, token string) {
	t.Helper()
	page, err := os.ReadFile("../../docs/operate/sources.md")
	if err != nil {
		t.Fatal(err)
	}
	kube, err := kubetest.Binary()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"id_ed25519", "known_hosts"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	here := strings.NewReplacer("TOKEN", token, "team-c", "default", "umbel-system:umbel", "default:hub")
	ran := 0
	for i, block := range strings.Split(string(page), "```") {
		for line := range strings.Lines(block) {
			line = strings.TrimSpace(line)
			if i%2 == 0 || line == "" {
				continue
			}
			command := exec.CommandContext(t.Context(), kube, strings.Fields(here.Replace(line))...)
			command.Dir, command.Env = dir, append(os.Environ(), "KUBECONFIG="+kubetest.Kubeconfig(t, config))
			if out, err := command.CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", line, err, out)
			}
			ran++
		}
	}
	if ran < 8 {
		t.Errorf("the page has %d commands", ran)
	}
}
