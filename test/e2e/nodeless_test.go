//go:build e2e

package e2e

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/test/rig"
)

// nobody is a user without any rights.
const nobody = 65534

// TestWithoutRoot is the main job for somebody who is not root: clusters without nodes, agents as processes.
func TestWithoutRoot(t *testing.T) {
	home, programs := t.TempDir(), t.TempDir()
	for _, name := range []string{"umbel", "umbel-agent", "umbel-kube", "umbel-coredns", "umbel-pause"} {
		if out, err := exec.Command("cp", rig.Binary(name), programs).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	for _, dir := range []string{filepath.Dir(home), filepath.Dir(programs), programs} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(home, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	fleet := &rig.Fleet{Home: home, Programs: programs, User: nobody, Log: t.Output()}
	s := tell(t, fleet)
	var said strings.Builder
	fleet.Log = io.MultiWriter(t.Output(), &said)
	s.umbel("up")
	if !strings.Contains(said.String(), "no nodes") {
		t.Errorf("up does not say what is missing without root:\n%s", said.String())
	}
	s.umbel("kubectl", "prod-eu", "--", "delete", "role", "pod-reader", "-n", "shop")
	s.eventually("the role is back", func(ctx context.Context) error {
		_, err := s.Umbel(ctx, "kubectl", "prod-eu", "--", "get", "role", "pod-reader", "-n", "shop")
		return err
	})
	s.commit("Say hello", map[string]string{"shop/storefront.yaml": configMap("shop", "storefront", "greeting", "Hello")})
	for _, cluster := range everyCluster {
		s.holds(cluster, "shop", "storefront", "greeting", "Hello")
	}
	s.with("one repository for many clusters", manyClusters)
	s.with("what nobody here wrote", realInput)
	s.with("a wrong token", wrongToken)
	s.umbel("down")
	s.eventually("down leaves no process", func(context.Context) error { // they end a moment after what supervises them
		pids, err := s.Processes(home)
		if err == nil && len(pids) > 0 {
			err = fmt.Errorf("%v run", pids)
		}
		return err
	})
}

// wrongToken presents a token that the hub never gave out, and looks for the answer in the CLI and in the status.
func wrongToken(s *story) {
	dir := filepath.Join(s.Home, "stray")
	kubeconfig := filepath.Join(s.Home, "local", "dev", "kubeconfig")
	s.refused([]string{"join", "stray", "--kubeconfig", kubeconfig, "--agent", "process", "--agent-dir", dir, "--timeout", "1s"}, "stray", "did not connect")
	path := filepath.Join(dir, "bootstrap.json")
	raw, err := os.ReadFile(path)
	if err != nil {
		s.Fatal(err)
	}
	var boot v1alpha1.Bootstrap
	if err := json.Unmarshal(raw, &boot); err != nil {
		s.Fatal(err)
	}
	boot.Token = "not-the-token"
	if raw, err = json.Marshal(boot); err != nil {
		s.Fatal(err)
	}
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		s.Fatal(err)
	}
	agent := exec.Command(rig.Binary("umbel-agent"), "--dir", dir, "--bootstrap", path, "--kubeconfig", filepath.Join(dir, "kubeconfig"))
	agent.Stderr = s.T.Output()
	if err := agent.Start(); err != nil {
		s.Fatal(err)
	}
	defer func() { _ = agent.Process.Kill(); _ = agent.Wait() }()
	s.memberSays("stray", v1alpha1.ConditionJoined, metav1.ConditionFalse, "the join token is wrong")
	if out := s.umbel("describe", "cluster", "stray"); !strings.Contains(out, v1alpha1.ReasonTokenRefused) || strings.Contains(out, boot.Token) {
		s.Errorf("describe does not say that the token was refused, or says the token:\n%s", out)
	}
	s.umbel("leave", "stray", "--force")
}

// tell prepares a story on a fleet that is not up yet.
func tell(t *testing.T, fleet *rig.Fleet) *story {
	s := &story{T: t, Fleet: fleet, ctx: t.Context()}
	t.Cleanup(func() {
		if t.Failed() {
			s.tellLogs()
		}
		if _, err := s.Umbel(context.Background(), "down"); err != nil {
			t.Errorf("umbel down: %v", err)
		}
	})
	return s
}

// issued is how many certificates the agent of a cluster got, as the audit log has it.
func (s *story) issued(cluster string) int {
	return strings.Count(s.umbel("audit", "--cluster", cluster, "--verb", "issue", "--since", "1h", "-o", "json"), `"verb":"issue"`)
}

// TestHubOnExistingKubernetes runs a hub on a Kubernetes that is there already, which is here its own member too, with
// certificates that live for seconds.
func TestHubOnExistingKubernetes(t *testing.T) {
	fleet := &rig.Fleet{Home: t.TempDir(), Log: t.Output()}
	s := tell(t, fleet)
	s.umbel("local", "create", "base", "--nodes=0")
	kubeconfig := filepath.Join(s.Home, "local", "base", "kubeconfig")
	hub := exec.Command(rig.Binary("umbel"), "hub", "--home", s.Home, "--kubeconfig", kubeconfig, "--member-certificate-life", "20s")
	hub.Stderr = t.Output()
	if err := hub.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = hub.Process.Kill(); _ = hub.Wait() })
	t.Setenv("UMBEL_KUBECONFIG", kubeconfig)
	s.eventually("the hub is at work", func(ctx context.Context) error {
		_, err := s.Umbel(ctx, "join", "base", "--kubeconfig", kubeconfig, "--agent", "process",
			"--agent-dir", filepath.Join(s.Home, "local", "base", "agent"), "--label", "env=base", "--timeout", "20s")
		return err
	})
	watching := s.talks("base", "get", "namespaces", "-w", "-o", "name")
	s.says(watching, "namespace/default")
	for range 2 {
		before := s.issued("base")
		s.eventually("the certificate is renewed", func(context.Context) error {
			mc := s.member("base")
			// An API server that was slow to answer a probe is said to be so, in the session that goes on.
			if c := condition(mc.Status.Conditions, v1alpha1.ConditionConnected); c.Status != metav1.ConditionTrue && c.Reason != v1alpha1.ReasonAPIUnreachable {
				s.Fatalf("renewing cost the session: %s", c.Message)
			}
			if n := s.issued("base"); n <= before {
				return fmt.Errorf("%d certificates were issued", n)
			}
			return nil
		})
	}
	s.umbel("kubectl", "base", "--", "create", "namespace", "late")
	s.says(watching, "namespace/late") // which was open before both
	s.umbel("kubectl", "base", "--", "get", "namespaces")
	s.with("no credential of a member is on the hub", func(s *story) {
		client := s.clients("base")
		secrets, err := client.CoreV1().Secrets(v1alpha1.SystemNamespace).List(s.ctx, metav1.ListOptions{})
		if err != nil {
			s.Fatal(err)
		}
		raw, err := os.ReadFile(kubeconfig)
		if err != nil {
			s.Fatal(err)
		}
		for _, secret := range secrets.Items {
			if holdsCredential(secret, string(raw)) {
				s.Errorf("secret %s holds a credential of a member", secret.Name)
			}
		}
		if len(secrets.Items) == 0 {
			s.Error("the hub has no secrets at all: this test looks in the wrong place")
		}
	})
}

// holdsCredential says whether a Secret of the hub holds a line of the member's kubeconfig that is a key or a token.
func holdsCredential(secret corev1.Secret, kubeconfig string) bool {
	for line := range strings.Lines(kubeconfig) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if !strings.Contains(key, "key-data") && key != "token" {
			continue
		}
		for _, data := range secret.Data {
			if strings.Contains(string(data), value) {
				return true
			}
		}
	}
	return false
}

// stolenKey uses a member's key against the hub and the other members.
func stolenKey(s *story) {
	secret, err := s.clients("dev").CoreV1().Secrets(v1alpha1.AgentNamespace).Get(s.ctx, identity.MemberSecret, metav1.GetOptions{})
	if err != nil {
		s.Fatal(err)
	}
	certificate, err := tls.X509KeyPair(secret.Data["cert.pem"], secret.Data["key.pem"])
	if err != nil {
		s.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(s.Home, "hub", "config.json"))
	if err != nil {
		s.Fatal(err)
	}
	var hub struct {
		Address string `json:"address"`
	}
	if err := json.Unmarshal(raw, &hub); err != nil {
		s.Fatal(err)
	}
	thief := &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{certificate}, InsecureSkipVerify: true},
	}}
	for _, path := range []string{
		"/clusters/prod-eu/api/v1/secrets", "/clusters/dev/api/v1/secrets", "/clusters/prod-eu/version",
		"/v2/_catalog", // what the fleet's other members hold
	} {
		response, err := thief.Get("https://" + hub.Address + path)
		if err != nil {
			s.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusUnauthorized && response.StatusCode != http.StatusForbidden {
			s.Errorf("a member's key gets %s from %s", response.Status, path)
		}
	}
}
