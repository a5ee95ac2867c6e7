//go:build e2e

package e2e

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/hub"
	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/identity/seal"
	"umbel.dev/umbel/internal/session"
	"umbel.dev/umbel/internal/tunnel"
	"umbel.dev/umbel/test/rig"
)

// papers are the key and the certificate of an agent that runs as a pod.
func (s *story) papers(cluster string) (tls.Certificate, error) {
	secret, err := s.clients(cluster).CoreV1().Secrets(v1alpha1.AgentNamespace).Get(s.ctx, identity.MemberSecret, metav1.GetOptions{})
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(secret.Data["cert.pem"], secret.Data["key.pem"])
}

func (s *story) mustHavePapers(cluster string) tls.Certificate {
	s.Helper()
	papers, err := s.papers(cluster)
	if err != nil {
		s.Fatalf("the papers of %s: %v", cluster, err)
	}
	return papers
}

// idle is an agent that holds nothing, and keeps no certificate but the one that it has.
type idle struct{}

func (idle) Held() []*wire.PackageStatus                     { return nil }
func (idle) Store(context.Context, *wire.DesiredState) error { return errors.New("nothing is kept") }
func (idle) Changed() <-chan struct{}                        { return nil }
func (idle) Take() *wire.StatusReport                        { return nil }
func (idle) RenewAt() time.Time                              { return time.Now().Add(time.Hour) }
func (idle) Request() ([]byte, error)                        { return nil, errors.New("nothing is renewed") }
func (idle) Install(_, _ []byte) error                       { return errors.New("nothing is kept") }
func (idle) Trust([]byte) error                              { return nil }
func (idle) Verify(seal.Word, *seal.Seal) error              { return nil } // it is refused before anything is said
func (idle) Trusts() string                                  { return "" }

// knocks comes to the hub as an agent with these papers, and returns how it is refused.
func (s *story) knocks(ctx context.Context, papers tls.Certificate) error {
	s.Helper()
	door, err := hub.ReadState(s.Home)
	if err != nil {
		s.Fatal(err)
	}
	tun, err := tunnel.Dial(ctx, tunnel.DialConfig{Address: door.Address, TLS: &tls.Config{
		Certificates: []tls.Certificate{papers}, InsecureSkipVerify: true, NextProtos: []string{tunnel.Protocol}, MinVersion: tls.VersionTLS13,
	}})
	if err != nil {
		s.Fatal(err)
	}
	defer tun.Close()
	control, err := tun.Open(ctx, tunnel.Control)
	if err != nil {
		s.Fatal(err)
	}
	return session.RunAgent(ctx, control, session.AgentConfig{
		Packages: idle{}, Credentials: idle{}, Log: slog.New(slog.DiscardHandler),
		CheckAPI: func(context.Context) (string, error) { return "", nil },
		Detach:   func(context.Context, *wire.Detach) error { return errors.New("there is nothing to let go of") },
	})
}

// isRefused says that papers are worth nothing any more, as soon as the hub has heard of it, and for which reason.
func (s *story) isRefused(papers tls.Certificate, reason string, words ...string) {
	s.Helper()
	err := rig.Eventually(s.ctx, 30*time.Second, func(ctx context.Context) error {
		err := s.knocks(ctx, papers)
		var refused *session.Refused
		if !errors.As(err, &refused) || refused.Reason != reason {
			return fmt.Errorf("%v; want that they are refused: %s", err, reason)
		}
		for _, word := range words {
			if !strings.Contains(refused.Message, word) {
				return fmt.Errorf("the refusal does not say %q: %s", word, refused.Message)
			}
		}
		return nil
	})
	if err != nil {
		s.Errorf("these papers: %v", err)
	}
}

// agents are the pods of the agents, with how often they were started.
func (s *story) agents() map[string]string {
	s.Helper()
	all := map[string]string{}
	for _, cluster := range everyCluster {
		pods, err := s.clients(cluster).CoreV1().Pods(v1alpha1.AgentNamespace).List(s.ctx, metav1.ListOptions{})
		if err != nil {
			s.Fatal(err)
		}
		for _, pod := range pods.Items {
			for _, status := range pod.Status.ContainerStatuses {
				all[cluster+"/"+pod.Name] = fmt.Sprintf("%s, started %d times", pod.UID, status.RestartCount+1)
			}
		}
	}
	return all
}

// rotation rotates the hub's authority, and kills the hub after each step that a person takes: it goes on where it was. The
// agents, which are pods, are back with certificates of the new authority, and those of the old one are worth nothing.
func rotation(s *story) {
	agents, uids, old := s.agents(), s.uids("prod-eu"), map[string]tls.Certificate{}
	for _, cluster := range everyCluster {
		old[cluster] = s.mustHavePapers(cluster)
	}
	before := s.authority()
	for _, step := range []string{"ca rotate", "ca rotate --finish"} {
		s.umbel(strings.Fields(step)...)
		s.kill("umbel hub", s.Home)
		s.umbel("up")
	}
	s.eventually("the new authority is the one that counts", func(context.Context) error {
		var status v1alpha1.CAStatus
		if err := json.Unmarshal([]byte(s.umbel("ca", "status", "-o", "json")), &status); err != nil {
			return err
		}
		last := status.Authorities[len(status.Authorities)-1]
		if status.Phase != v1alpha1.CASettled || status.Authorities[0].Name == before || last.Name != before || last.Role != v1alpha1.CARetired {
			return fmt.Errorf("it is %+v", status)
		}
		return nil
	})
	now := s.authority()
	for _, cluster := range everyCluster {
		s.eventually(cluster+" has a certificate of "+now, func(context.Context) error {
			papers, err := s.papers(cluster)
			if err != nil {
				return err
			}
			if issuer := papers.Leaf.Issuer.CommonName; issuer != now {
				return fmt.Errorf("it has one of %s", issuer)
			}
			return nil
		})
		s.memberSays(cluster, v1alpha1.ConditionReady, metav1.ConditionTrue)
		s.umbel("kubectl", cluster, "--", "get", "--raw", "/readyz")
		s.isRefused(old[cluster], v1alpha1.ReasonCertificateRefused, before, "retired")
	}
	if diff := cmp.Diff(agents, s.agents()); diff != "" {
		s.Errorf("agents were started anew:\n%s", diff)
	}
	if diff := cmp.Diff(uids, s.uids("prod-eu")); diff != "" {
		s.Errorf("a rotation changed objects:\n%s", diff)
	}
}

// authority is the name of the one that issues.
func (s *story) authority() string {
	s.Helper()
	var status v1alpha1.CAStatus
	if err := json.Unmarshal([]byte(s.umbel("ca", "status", "-o", "json")), &status); err != nil {
		s.Fatal(err)
	}
	return status.Authorities[0].Name
}

// keyIsRevoked takes a member's key away, as the runbook says (docs/operate/consent.md): the key is worth nothing at once and
// for good, the agent, which is a pod, deletes it and makes another one, and that comes in by the token of another join alone.
// What the cluster holds stays throughout.
func keyIsRevoked(s *story) {
	stolen, uids, key := s.mustHavePapers("dev"), s.uids("dev"), s.member("dev").Status.Identity.KeyFingerprint
	s.umbel("revoke", "dev")
	s.isRefused(stolen, v1alpha1.ReasonKeyRevoked)
	s.refused([]string{"kubectl", "dev", "--", "get", "namespaces"}, "not connected")
	secrets := s.clients("dev").CoreV1().Secrets(v1alpha1.AgentNamespace)
	s.eventually("the agent has another key", func(ctx context.Context) error {
		secret, err := secrets.Get(ctx, identity.MemberSecret, metav1.GetOptions{})
		if err == nil && (secret.Annotations[identity.FingerprintAnnotation] == key || len(secret.Data["cert.pem"]) > 0) {
			err = errors.New("it still has the one that was revoked")
		}
		return err
	})
	s.memberSays("dev", v1alpha1.ConditionConnected, metav1.ConditionFalse)
	s.roleComesBack("dev")
	comesBack(s)
	if now := s.member("dev").Status.Identity.KeyFingerprint; now == key {
		s.Error("the member came back with the key that was revoked")
	}
	s.isRefused(stolen, v1alpha1.ReasonKeyRevoked)
	after := s.uids("dev")
	delete(uids, "Role shop/pod-reader") // which the story itself deletes
	delete(after, "Role shop/pod-reader")
	if diff := cmp.Diff(uids, after); diff != "" {
		s.Errorf("revoking changed objects:\n%s", diff)
	}
}
