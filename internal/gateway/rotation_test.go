package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/gateway/trust"
	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/kube/kubetest"
	"umbel.dev/umbel/internal/session"
	"umbel.dev/umbel/internal/tunnel"
)

// clock is one that the test sets.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

// rotating is a hub whose authority begins with the test and goes by the test's clock.
type rotating struct {
	*hub
	journal  *journal
	clock    *clock
	requests int
}

func newRotating(t *testing.T) *rotating {
	h, log := newHubWithJournal(t)
	r := &rotating{hub: h, journal: log, clock: &clock{}}
	r.stop()
	r.probe = 5 * time.Second // fifty agents on a busy machine are not to seem dead
	r.forgetAuthority()
	t.Cleanup(func() { r.stop(); r.forgetAuthority() })
	r.startAnew()
	return r
}

func (r *rotating) forgetAuthority() {
	ctx := context.WithoutCancel(r.t.Context())
	for name, o := range map[string]client.Object{trust.CASecret: &corev1.Secret{}, v1alpha1.CAConfigMap: &corev1.ConfigMap{}} {
		o.SetNamespace(v1alpha1.SystemNamespace)
		o.SetName(name)
		if err := client.IgnoreNotFound(r.client.Delete(ctx, o)); err != nil {
			r.t.Error(err)
		}
	}
}

// startAnew starts a hub that knows nothing but what the API says.
func (r *rotating) startAnew() {
	r.t.Helper()
	pace := trust.Pace{Announce: time.Millisecond, Patience: time.Hour, Overlap: 24 * time.Hour, Renewal: 200 * time.Millisecond}
	authority, err := trust.Load(r.t.Context(), trust.Config{Client: r.client, Now: r.clock.now, Pace: pace})
	if err != nil {
		r.t.Fatal(err)
	}
	r.authority = authority
	r.start()
}

func (r *rotating) status() (status v1alpha1.CAStatus) {
	r.t.Helper()
	var talk corev1.ConfigMap
	err := r.client.Get(r.t.Context(), client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.CAConfigMap}, &talk)
	if client.IgnoreNotFound(err) != nil {
		r.t.Fatal(err)
	}
	if raw := talk.Data[v1alpha1.CAStatusKey]; raw != "" {
		if err := json.Unmarshal([]byte(raw), &status); err != nil {
			r.t.Fatal(err)
		}
	}
	return status
}

// ask asks for something, as `umbel ca rotate` does.
func (r *rotating) ask(action v1alpha1.CAAction) {
	r.t.Helper()
	r.eventually("the hub has said how it stands", func() (bool, string) { return r.status().Phase != "", "" })
	r.requests++
	raw, err := json.Marshal(v1alpha1.CARequest{ID: fmt.Sprint(r.requests), Action: action})
	if err != nil {
		r.t.Fatal(err)
	}
	talk := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.CAConfigMap}}
	before := talk.DeepCopy()
	talk.Data = map[string]string{v1alpha1.CARequestKey: string(raw)}
	if err := r.client.Patch(r.t.Context(), talk, client.MergeFrom(before)); err != nil {
		r.t.Fatal(err)
	}
}

// reaches waits until the rotation is in a phase, and NAME issues.
func (r *rotating) reaches(phase v1alpha1.CAPhase, name string) {
	r.t.Helper()
	r.eventually(fmt.Sprintf("%s, and %q issues", phase, name), func() (bool, string) {
		status := r.status()
		seen := fmt.Sprintf("%+v", status)
		return status.Phase == phase && status.Authorities[0].Name == name, seen
	})
}

// settles lets the overlap pass.
func (r *rotating) settles(name string) {
	r.t.Helper()
	r.clock.advance(24*time.Hour + time.Minute)
	driver := trust.NewDriver(r.authority, r.client, slog.New(slog.DiscardHandler))
	if _, err := driver.Step(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	r.reaches(v1alpha1.CASettled, name)
}

// renewed waits until the members have certificates of the CA that issues, and keep the bundle of today.
func (r *rotating) renewed(count int) {
	r.t.Helper()
	issuer, bundle := trust.Fingerprint(r.authority.Issuer().Certificate()), identity.TrustDigest(r.authority.Bundle())
	r.eventually("all members have renewed", func() (bool, string) {
		var list v1alpha1.MemberClusterList
		if err := r.client.List(r.t.Context(), &list); err != nil {
			r.t.Fatal(err)
		}
		have, seen := 0, ""
		for _, m := range list.Items {
			id := m.Status.Identity
			connected := meta.IsStatusConditionTrue(m.Status.Conditions, v1alpha1.ConditionConnected)
			if connected && id != nil && id.Issuer == issuer && id.Trust == bundle {
				have++
				continue
			}
			seen = fmt.Sprintf("%s: connected %t, %+v, want %s %s", m.Name, connected, id, issuer, bundle)
		}
		return have == count, seen
	})
}

// at makes an agent whose clock is off, with its files in dir.
func (r *rotating) at(boot v1alpha1.Bootstrap, dir string, off time.Duration) *agent {
	r.t.Helper()
	ring, err := identity.NewKeyring(identity.KeyringConfig{
		Home: identity.Folder(dir), BootstrapCA: []byte(boot.CA), Log: testLog(r.t),
		Now: func() time.Time { return time.Now().Add(off) },
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return r.newAgentWith(boot, dir, ring)
}

// Two rotations in a row, under 50 agents and somebody who watches through the hub: no session ends, no stream breaks.
func TestRotationKeepsEverySession(t *testing.T) {
	const members = 50
	r := newRotating(t)
	namespace := kubetest.Namespace(t, r.api)
	agents := map[v1alpha1.ClusterName]*agent{}
	for i := range members {
		name := v1alpha1.ClusterName(fmt.Sprintf("m%d", i))
		if i == 0 {
			name = "prod-eu"
		}
		agents[name] = r.newAgent(r.invite(name, r.clock.now().Add(time.Hour)), t.TempDir()).start()
	}
	r.renewed(members)
	r.letIn(namespace, "hub:system:serviceaccount:"+namespace+":alice")
	clients, err := kubernetes.NewForConfig(r.person(namespace, "alice", "prod-eu"))
	if err != nil {
		t.Fatal(err)
	}
	watching, err := clients.CoreV1().ConfigMaps(namespace).Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer watching.Stop()
	sessions := map[v1alpha1.ClusterName]int32{}
	for name, a := range agents {
		sessions[name] = a.sessions.Load()
	}
	heard := 0
	goesOn := func() {
		t.Helper()
		heard++
		name := fmt.Sprintf("settings-%d", heard)
		r.create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}})
		for event := range watching.ResultChan() {
			if m, ok := event.Object.(*corev1.ConfigMap); ok && m.Name == name {
				return
			}
		}
		t.Fatal("the stream of a person ended")
	}
	for _, next := range []string{"umbel members 2", "umbel members 3"} {
		goesOn()
		r.ask(v1alpha1.CARotate)
		r.reaches(v1alpha1.CASwitched, next)
		goesOn()
		r.renewed(members)
		r.settles(next)
		r.renewed(members)
		goesOn()
	}
	for name, a := range agents {
		if now := a.sessions.Load(); now != sessions[name] {
			t.Errorf("the agent of %s was in %d sessions, want the %d of before", name, now, sessions[name])
		}
	}
	if fresh, err := kubernetes.NewForConfig(r.person(namespace, "bob", "prod-eu")); err != nil {
		t.Error(err)
	} else if _, err := fresh.CoreV1().ConfigMaps(namespace).List(t.Context(), metav1.ListOptions{}); err == nil || !strings.Contains(err.Error(), "forbidden") {
		t.Errorf("who comes after it, with the CAs of today, hears %v, want the member's word", err)
	}
	if _, err := clients.CoreV1().ConfigMaps(namespace).List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Errorf("a kubeconfig of before the rotations: %v", err)
	}
}

// A cluster that was away for months and two rotations comes back with its pinned key, whatever its clock says.
func TestAwayThroughRotations(t *testing.T) {
	r := newRotating(t)
	boots, dirs := map[string]v1alpha1.Bootstrap{}, map[string]string{}
	clocks := map[string]time.Duration{"right": 0, "a-day-behind": -24 * time.Hour, "a-day-ahead": 24 * time.Hour}
	for name := range clocks {
		boots[name], dirs[name] = r.invite(v1alpha1.ClusterName(name), time.Now().Add(time.Hour)), t.TempDir()
		a := r.newAgent(boots[name], dirs[name]).start()
		r.shows(v1alpha1.ClusterName(name), v1alpha1.ConditionConnected, "True/ProbeAnswered")
		a.stop()
	}
	stays := r.joined("stays")
	for _, next := range []string{"umbel members 2", "umbel members 3"} {
		r.ask(v1alpha1.CARotate)
		r.reaches(v1alpha1.CASwitched, next)
		r.settles(next)
	}
	r.clock.advance(60 * 24 * time.Hour)
	for name, off := range clocks {
		boot := boots[name]
		boot.Token = "" // it was used
		r.at(boot, dirs[name], off+r.clock.ahead).start()
		r.shows(v1alpha1.ClusterName(name), v1alpha1.ConditionConnected, "True/ProbeAnswered")
	}
	r.renewed(len(clocks) + 1)
	if n := stays.sessions.Load(); n != 1 {
		t.Errorf("the one that stayed was in %d sessions, want 1", n)
	}
}

// Killed after each step, the hub goes on where it was.
func TestTheHubIsKilledAtEachStep(t *testing.T) {
	r := newRotating(t)
	r.joined("prod-eu")
	old := r.authority.Issuer()
	r.ask(v1alpha1.CARotate)
	for _, phase := range []v1alpha1.CAPhase{v1alpha1.CAAnnounced, v1alpha1.CASwitched} {
		r.eventually("it is at least "+string(phase), func() (bool, string) {
			at := r.status().Phase
			return at == phase || at == v1alpha1.CASwitched, string(at)
		})
		r.stop()
		r.startAnew()
		r.shows("prod-eu", v1alpha1.ConditionConnected, "True/ProbeAnswered")
	}
	r.reaches(v1alpha1.CASwitched, "umbel members 2")
	r.renewed(1)
	r.settles("umbel members 2")
	r.stop()
	r.startAnew()
	r.renewed(1)

	ring := r.keyring(t.TempDir())
	for range 2 {
		if err := ring.Install(r.sign(old, "prod-eu", ring, 10*24*time.Hour), r.authority.Bundle()); err != nil {
			t.Fatal(err)
		}
		mustContain(t, "the refusal of a certificate of a retired authority", fmt.Sprint(r.dial(ring)), `authority "umbel members", which is retired`)
	}
	r.logs(r.journal, "an agent was refused", "which is retired")
	driver := trust.NewDriver(r.authority, r.client, slog.New(slog.DiscardHandler))
	r.eventually("the retired authority is shown with two refused agents", func() (bool, string) { // the hub's own driver may show it as it was
		if _, err := driver.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
		status := r.status()
		last := status.Authorities[len(status.Authorities)-1]
		return last.Role == v1alpha1.CARetired && last.Refused == 2, fmt.Sprintf("%+v", last)
	})
}

// After a rotation because of a stolen key, nothing of the old authority counts, and who was away has to be joined again.
func TestRotationBecauseOfAStolenKey(t *testing.T) {
	r := newRotating(t)
	away := r.invite("away", time.Now().Add(time.Hour))
	dir := t.TempDir()
	a := r.newAgent(away, dir).start()
	r.shows("away", v1alpha1.ConditionConnected, "True/ProbeAnswered")
	a.stop()
	r.shows("away", v1alpha1.ConditionConnected, "Unknown/SessionClosed")
	stolen := r.authority.Issuer()
	stays := r.joined("stays")
	revoked := r.joined("revoked")
	revokedDir := revoked.dir
	r.change("revoked", func(m *v1alpha1.MemberCluster) { m.Spec.RevokedKeys = []string{m.Status.Identity.KeyFingerprint} })
	r.shows("revoked", v1alpha1.ConditionConnected, "False/KeyRevoked")
	revoked.stop()

	r.ask(v1alpha1.CARotateCompromised)
	r.eventually("the one that stays keeps the next authority", func() (bool, string) {
		id, bundle := r.member("stays").Status.Identity, r.status().Bundle
		return r.status().Phase == v1alpha1.CAAnnounced && id.Trust == bundle, fmt.Sprintf("%+v, want %s", id, bundle)
	})
	driver := trust.NewDriver(r.authority, r.client, slog.New(slog.DiscardHandler))
	for range 2 { // it counts members from its first step on
		if _, err := driver.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.clock.advance(24 * time.Hour)
	}
	r.reaches(v1alpha1.CAAnnounced, "umbel members") // somebody is away: that they are left out is a person's to say
	r.ask(v1alpha1.CAFinish)
	r.reaches(v1alpha1.CASettled, "umbel members 2")
	r.renewed(1)
	if n := stays.sessions.Load(); n != 1 {
		t.Errorf("the one that stayed was in %d sessions, want 1", n)
	}
	posing := r.keyring(t.TempDir())
	if err := posing.Install(r.sign(stolen, "stays", posing, time.Hour), r.authority.Bundle()); err != nil {
		t.Fatal(err)
	}
	mustContain(t, "the refusal of what a thief signed", fmt.Sprint(r.dial(posing)), `authority "umbel members", whose key was stolen`)
	r.logs(r.journal, "an agent was refused", "whose key was stolen")

	// Who was away does not believe the hub, which it cannot tell from the thief.
	away.Token = ""
	lost := r.keyringOf(away, dir)
	_, err := tunnel.Dial(t.Context(), tunnel.DialConfig{Address: r.address, TLS: lost.TLS()})
	mustContain(t, "the error of who was away", fmt.Sprint(err), "umbel join")
	again := r.newAgent(v1alpha1.Bootstrap{Cluster: "away", Address: r.address, CA: string(r.authority.Bundle())}, dir).start()
	defer again.stop()
	r.shows("away", v1alpha1.ConditionConnected, "True/ProbeAnswered")

	err = r.comesBack(revokedDir)
	mustContain(t, "the revoked key, after the rotation", fmt.Sprint(err), v1alpha1.ReasonKeyRevoked)
}

// comesBack asks for a certificate with the key in dir.
func (r *rotating) comesBack(dir string) error {
	r.t.Helper()
	csr, err := identity.NewMemberRequest("revoked", r.keyring(dir).Key())
	if err != nil {
		r.t.Fatal(err)
	}
	return r.post(session.JoinRequest{Cluster: "revoked", CSR: csr})
}
