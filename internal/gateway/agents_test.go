package gateway

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/session"
	"umbel.dev/umbel/internal/tunnel"
)

func TestJoin(t *testing.T) {
	h := newHub(t)
	boot := h.invite("prod-eu", time.Now().Add(time.Hour))
	h.shows("prod-eu", v1alpha1.ConditionConnected, "False/AwaitingAgent")
	a := h.newAgent(boot, t.TempDir()).start()
	h.shows("prod-eu", v1alpha1.ConditionReady, "True/NoPackages")
	h.shows("prod-eu", v1alpha1.ConditionJoined, "True/KeyPinned")
	fingerprint, err := h.keyring(a.dir).Fingerprint()
	if err != nil {
		t.Fatal(err)
	}
	h.eventually("the status tells of the agent", func() (bool, string) {
		s := h.member("prod-eu").Status
		return s.AgentVersion == "v1" && s.KubernetesVersion == "v1.36.3" && s.Identity.KeyFingerprint == fingerprint, fmt.Sprintf("%+v", s)
	})
	h.eventually("the token is gone", func() (bool, string) {
		err := h.client.Get(t.Context(), client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: "join-prod-eu"}, &corev1.Secret{})
		return apierrors.IsNotFound(err), fmt.Sprint(err)
	})
}

// ask presents a key and a token to the join endpoint.
func (h *hub) ask(boot v1alpha1.Bootstrap, ring *identity.Keyring) error {
	h.t.Helper()
	csr, err := identity.NewMemberRequest(boot.Cluster, ring.Key())
	if err != nil {
		h.t.Fatal(err)
	}
	return h.post(session.JoinRequest{Cluster: boot.Cluster, Token: boot.Token, CSR: csr})
}

func TestJoinRefusals(t *testing.T) {
	h := newHub(t)
	hour := time.Now().Add(time.Hour)
	first, second := h.keyring(t.TempDir()), h.keyring(t.TempDir())
	good := h.invite("good", hour)
	wrong := h.invite("wrong", hour)
	wrong.Token = good.Token
	expired := h.invite("expired", time.Now().Add(-time.Minute))
	without := h.invite("without", hour)
	without.Token = ""
	for _, c := range []struct {
		reason string
		boot   v1alpha1.Bootstrap
		ring   *identity.Keyring
		want   string
		status string
	}{
		{"the right token", good, first, "", "True/KeyPinned"},
		{"the same key again: an agent that crashed before it kept its certificate", good, first, "", "True/KeyPinned"},
		{"the same token with another key", good, second, "has been used by another key", "True/KeyPinned"},
		{"the token of another cluster", wrong, first, "the join token is wrong; run `umbel join wrong` again", "False/TokenRefused"},
		{"no token", without, first, "the join token is wrong", "False/TokenRefused"},
		{"an old token", expired, first, "the join token has expired", "False/TokenRefused"},
		{"a cluster that nobody knows", v1alpha1.Bootstrap{Cluster: "nobody", Token: good.Token}, first, "run `umbel join nobody`", ""},
	} {
		t.Run(c.reason, func(t *testing.T) {
			err := h.ask(c.boot, c.ring)
			if (err == nil) != (c.want == "") {
				t.Fatalf("got %v", err)
			}
			if err != nil {
				mustContain(t, "the answer", err.Error(), c.want)
			}
			if c.status != "" {
				message := h.shows(c.boot.Cluster, v1alpha1.ConditionJoined, c.status)
				if c.status == "False/TokenRefused" {
					mustContain(t, "the condition", message, c.want)
				}
			}
		})
	}
	t.Run("a request for another name than the certificate's", func(t *testing.T) {
		csr, err := identity.NewMemberRequest("wrong", first.Key())
		if err != nil {
			t.Fatal(err)
		}
		err = h.post(session.JoinRequest{Cluster: "good", Token: good.Token, CSR: csr})
		mustContain(t, "the answer", fmt.Sprint(err), `cluster is "good" and the certificate request is for "wrong"`)
	})
	t.Run("garbage", func(t *testing.T) {
		err := h.post(session.JoinRequest{Cluster: "good", CSR: []byte("garbage")})
		mustContain(t, "the answer", fmt.Sprint(err), "csr: certificate request: not PKCS #10")
	})
	t.Run("guessing is slow", func(t *testing.T) {
		var answers []string // the last need not be it: on a slow machine one more attempt is free by then
		for range 30 {
			answers = append(answers, fmt.Sprint(h.ask(wrong, first)))
		}
		mustContain(t, "one of the answers", strings.Join(answers, "\n"), "too many failed attempts")
	})
}

func TestExpiredCertificateIsRefusedAndIssuedAgain(t *testing.T) {
	h, log := newHubWithJournal(t)
	a := h.joined("prod-eu")
	a.stop()
	ring := h.keyring(a.dir)
	certificate := h.sign(h.authority.Issuer(), "prod-eu", ring, -time.Minute)
	if err := ring.Install(certificate, h.authority.Bundle()); err != nil {
		t.Fatal(err)
	}
	h.shows("prod-eu", v1alpha1.ConditionConnected, "Unknown/SessionClosed")
	mustContain(t, "the refusal", fmt.Sprint(h.dial(ring)), "expired", "CertificateRefused")
	mustContain(t, "the condition", h.shows("prod-eu", v1alpha1.ConditionConnected, "False/CertificateRefused"), "expired")
	h.logs(log, "an agent was refused", "member=prod-eu", "expired")
	h.shows("prod-eu", v1alpha1.ConditionReady, "False/CertificateRefused")

	h.newAgent(v1alpha1.Bootstrap{Cluster: "prod-eu", Address: h.address, CA: string(h.authority.Bundle())}, a.dir).start()
	h.shows("prod-eu", v1alpha1.ConditionReady, "True/NoPackages")
}

func TestStrangersAreRefused(t *testing.T) {
	h, log := newHubWithJournal(t)
	boot := h.invite("prod-eu", time.Now().Add(time.Hour))
	if err := h.ask(boot, h.keyring(t.TempDir())); err != nil { // pins a key
		t.Fatal(err)
	}
	other, err := identity.NewCA("another hub", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		reason  string
		cluster v1alpha1.ClusterName
		ca      *identity.CA
		want    string
		status  string
	}{
		{"another hub's certificate", "prod-eu", other, "not from this hub", ""},
		{"our certificate of a key that is not pinned", "prod-eu", h.authority.Issuer(), "not the one that is pinned", "False/CertificateRefused"},
		{"a MemberCluster that was deleted: revoked", "gone", h.authority.Issuer(), "certificate is revoked", ""},
	} {
		t.Run(c.reason, func(t *testing.T) {
			ring := h.keyring(t.TempDir())
			if err := ring.Install(h.sign(c.ca, c.cluster, ring, time.Hour), h.authority.Bundle()); err != nil {
				t.Fatal(err)
			}
			mustContain(t, "the refusal", fmt.Sprint(h.dial(ring)), c.want)
			h.logs(log, "an agent was refused", c.want)
			if c.status != "" {
				h.eventually("the condition says so", func() (bool, string) {
					cond := meta.FindStatusCondition(h.member(c.cluster).Status.Conditions, v1alpha1.ConditionConnected)
					seen := fmt.Sprintf("%+v", cond)
					return cond != nil && string(cond.Status)+"/"+cond.Reason == c.status && strings.Contains(cond.Message, c.want), seen
				})
			}
		})
	}
	t.Run("no certificate", func(t *testing.T) {
		mustContain(t, "the refusal", fmt.Sprint(h.dial(h.keyring(t.TempDir()))), "presented no certificate")
		h.logs(log, "an agent was refused", "presented no certificate")
	})
}

// Who has no certificate of this hub for a member changes nothing of what people see of it, also while its agent is away.
func TestStrangersWriteNothing(t *testing.T) {
	h := newHub(t)
	a := h.joined("prod-eu")
	h.settled("prod-eu")
	a.stop()
	h.shows("prod-eu", v1alpha1.ConditionConnected, "Unknown/SessionClosed")
	before := h.member("prod-eu").ResourceVersion
	other, err := identity.NewCA("another hub", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	ring := h.keyring(t.TempDir())
	notAnAgent, err := h.authority.Issuer().Sign(identity.Request{CommonName: "prod-eu", TTL: time.Hour}, ring.Key().Public(), x509.ExtKeyUsageClientAuth)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		reason, want string
		certificate  []byte
	}{
		{"another hub's certificate", "not from this hub", h.sign(other, "prod-eu", ring, time.Hour)},
		{"another hub's certificate, expired", "not from this hub", h.sign(other, "prod-eu", ring, -time.Minute)},
		{"our certificate, not of an agent", "not one of an agent", notAnAgent},
	} {
		if err := ring.Install(c.certificate, h.authority.Bundle()); err != nil {
			t.Fatal(err)
		}
		mustContain(t, c.reason, fmt.Sprint(h.dial(ring)), c.want)
	}
	mustContain(t, "a key of one's own", fmt.Sprint(h.ask(v1alpha1.Bootstrap{Cluster: "prod-eu", Token: "guessed"}, ring)), session.ReasonNoMember)
	h.idle(before)
}

// A stranger's attempt does not show in the status of a member that is well.
func TestStrangerDoesNotDisturb(t *testing.T) {
	h := newHub(t)
	h.joined("prod-eu")
	before := h.settled("prod-eu")
	ring := h.keyring(t.TempDir())
	if err := ring.Install(h.sign(h.authority.Issuer(), "prod-eu", ring, time.Hour), h.authority.Bundle()); err != nil {
		t.Fatal(err)
	}
	mustContain(t, "the refusal", fmt.Sprint(h.dial(ring)), "not the one that is pinned")
	h.idle(before)
}

func TestProtocolMismatch(t *testing.T) {
	h := newHub(t)
	a := h.joined("prod-eu")
	a.stop()
	tun := h.tunnel(h.keyring(a.dir))
	defer tun.Close()
	control, err := tun.Open(t.Context(), tunnel.Control)
	if err != nil {
		t.Fatal(err)
	}
	hello := &wire.Hello{Protocol: 99, MinProtocol: 98, AgentVersion: "v99"}
	if err := session.WriteFrame(control, &wire.FromAgent{Message: &wire.FromAgent_Hello{Hello: hello}}); err != nil {
		t.Fatal(err)
	}
	mustContain(t, "the condition", h.shows("prod-eu", v1alpha1.ConditionConnected, "False/ProtocolMismatch"), "upgrade the hub")
}

func TestProbeTimeout(t *testing.T) {
	h := newHub(t)
	h.stop()
	h.probe = 200 * time.Millisecond // so that three are soon missed
	h.start()
	a := h.joined("prod-eu")
	frozen := make(chan struct{})
	a.mu.Lock()
	a.frozen = frozen
	a.mu.Unlock()
	start := time.Now()
	h.shows("prod-eu", v1alpha1.ConditionConnected, "Unknown/ProbeTimeout")
	h.shows("prod-eu", v1alpha1.ConditionSynced, "Unknown/ProbeTimeout")
	seen := h.member("prod-eu").Status.LastSeen
	if seen == nil || seen.Time.Before(start.Add(-10*time.Second)) || seen.Time.After(time.Now()) {
		t.Errorf("last seen %v, a moment ago was expected", seen)
	}
	a.mu.Lock()
	a.frozen = nil
	a.mu.Unlock()
	close(frozen)
	h.shows("prod-eu", v1alpha1.ConditionReady, "True/NoPackages")
}

func TestMemberAPIDown(t *testing.T) {
	h := newHub(t)
	a := h.joined("prod-eu")
	a.mu.Lock()
	a.apiErr = errors.New("connection refused")
	a.mu.Unlock()
	mustContain(t, "the condition", h.shows("prod-eu", v1alpha1.ConditionConnected, "False/APIUnreachable"), "connection refused")
	a.mu.Lock()
	a.apiErr = nil
	a.mu.Unlock()
	h.shows("prod-eu", v1alpha1.ConditionReady, "True/NoPackages")
}

func TestHubRestart(t *testing.T) {
	h := newHub(t) // it waits for agents for five times as long as between two probes
	stays, goes := h.joined("stays"), h.joined("goes")
	_ = stays
	h.stop()
	goes.stop()
	before := h.member("stays")
	h.start()
	h.shows("goes", v1alpha1.ConditionConnected, "Unknown/HubRestarted")
	h.shows("stays", v1alpha1.ConditionConnected, "True/ProbeAnswered")
	was := meta.FindStatusCondition(before.Status.Conditions, v1alpha1.ConditionConnected)
	is := meta.FindStatusCondition(h.member("stays").Status.Conditions, v1alpha1.ConditionConnected)
	if !was.LastTransitionTime.Equal(&is.LastTransitionTime) {
		t.Errorf("a member that came back in time was shown as lost: %v, then %v", was, is)
	}
}

func TestNewerSessionReplacesOlder(t *testing.T) {
	h := newHub(t)
	a := h.joined("prod-eu")
	before := h.settled("prod-eu")
	tun := h.tunnel(h.keyring(a.dir))
	defer tun.Close()
	if _, err := tun.Open(t.Context(), tunnel.Control); err != nil {
		t.Fatal(err)
	}
	<-tun.Done() // the first agent comes back and replaces this one in turn
	h.shows("prod-eu", v1alpha1.ConditionConnected, "True/ProbeAnswered")
	h.idle(before)
}

// idle checks that a connected member costs no write.
func (h *hub) idle(since string) {
	h.t.Helper()
	timer := time.NewTimer(3 * h.probe)
	defer timer.Stop()
	<-timer.C
	if now := h.member("prod-eu"); now.ResourceVersion != since {
		h.t.Errorf("the MemberCluster was written: %s, then %s: %+v", since, now.ResourceVersion, now.Status)
	}
}

func TestIdleMemberCostsNoWrite(t *testing.T) {
	h := newHub(t)
	h.joined("prod-eu")
	h.idle(h.settled("prod-eu"))
}

func assigned(release string) session.DesiredSet {
	return session.DesiredSet{Assign: map[v1alpha1.PackageKey]*wire.Assignment{
		"shop/web": {Package: "shop/web", Release: release, Revision: "abc", Repository: "shop/web", Digest: "sha256:1"},
	}}
}

func TestDesiredState(t *testing.T) {
	h := newHub(t)
	h.desires.set("prod-eu", session.DesiredSet{}, false)
	a := h.joined("prod-eu")
	h.desires.set("prod-eu", assigned("web-1"), true)
	mustContain(t, "the condition", h.shows("prod-eu", v1alpha1.ConditionSynced, "True/AllApplied"), "every Package is applied: 1")
	first := h.member("prod-eu").Status.Packages
	if len(first) != 1 || first[0].Release != "web-1" || first[0].Phase != v1alpha1.PackageApplied || first[0].Since.IsZero() {
		t.Errorf("the status says %+v", first)
	}

	a.packages.say(&wire.PackageStatus{
		Package: "shop/web", Release: "web-1", Digest: "sha256:1", Phase: wire.PackageStatus_FAILED, Message: "1 object cannot be applied",
		Failures: []*wire.Failure{{Object: "Deployment.apps shop/web", File: "web.yaml", Message: "spec.replicas: too many"}},
	})
	mustContain(t, "the condition", h.shows("prod-eu", v1alpha1.ConditionReady, "False/PackageFailed"), "shop/web: 1 object cannot be applied")
	if f := h.member("prod-eu").Status.Packages[0].Failures; len(f) != 1 || f[0].File != "web.yaml" {
		t.Errorf("the failures are %+v", f)
	}

	h.desires.set("prod-eu", assigned("web-2"), true)
	h.shows("prod-eu", v1alpha1.ConditionSynced, "True/AllApplied")
	h.desires.set("prod-eu", session.DesiredSet{}, true)
	a.stop()
	h.shows("prod-eu", v1alpha1.ConditionSynced, "Unknown/SessionClosed")
	if p := h.member("prod-eu").Status.Packages; len(p) != 1 || p[0].Release != "web-2" {
		t.Errorf("a lost member's packages are %+v: what is not named stays, and so does the last word", p)
	}
}

func TestRemovedPackageLeavesTheStatus(t *testing.T) {
	h := newHub(t)
	h.desires.set("prod-eu", assigned("web-1"), true)
	h.joined("prod-eu")
	h.shows("prod-eu", v1alpha1.ConditionSynced, "True/AllApplied")
	h.desires.set("prod-eu", session.DesiredSet{Remove: []v1alpha1.PackageKey{"shop/web"}}, true)
	h.shows("prod-eu", v1alpha1.ConditionSynced, "True/NoPackages")
	if p := h.member("prod-eu").Status.Packages; len(p) != 0 {
		t.Errorf("the status still lists %+v", p)
	}
}

func TestNackShows(t *testing.T) {
	h := newHub(t)
	a := h.joined("prod-eu")
	a.packages.mu.Lock()
	a.packages.broken = errors.New("no space left on device")
	a.packages.mu.Unlock()
	h.desires.set("prod-eu", assigned("web-1"), true)
	mustContain(t, "the condition", h.shows("prod-eu", v1alpha1.ConditionSynced, "False/PackageFailed"), "no space left on device")
	a.packages.mu.Lock()
	a.packages.broken = nil
	a.packages.mu.Unlock()
	h.shows("prod-eu", v1alpha1.ConditionSynced, "True/AllApplied")
}

// What an evil agent says is stored, as far as there is room for it: the API takes the object, with all that it notes of it.
func TestAnEvilAgentsStatusIsStored(t *testing.T) {
	h := newHub(t)
	a := h.newAgent(h.invite("prod-eu", time.Now().Add(time.Hour)), t.TempDir())
	a.packages.held = map[string]*wire.PackageStatus{}
	for i := range session.MaxPackages {
		name := fmt.Sprintf("evil/%0300d", i)
		a.packages.held[name] = &wire.PackageStatus{
			Package: name, Release: strings.Repeat("<", 253), Phase: wire.PackageStatus_FAILED, Message: strings.Repeat("\x01", 300),
			LastRepair: &wire.LastRepair{Object: "o", Cause: "c"},
		}
	}
	a.start()
	mustContain(t, "the condition", h.shows("prod-eu", v1alpha1.ConditionSynced, "False/PackageFailed"), "more packages than its status has room for")
	member := h.member("prod-eu")
	raw, err := json.Marshal(member)
	if err != nil {
		t.Fatal(err)
	}
	if len(member.Status.Packages) < 500 || len(raw) > 1200<<10 {
		t.Errorf("%d packages are named, in an object of %d bytes", len(member.Status.Packages), len(raw))
	}
	h.shows("prod-eu", v1alpha1.ConditionConnected, "True/ProbeAnswered")
}
