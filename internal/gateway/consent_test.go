package gateway

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/identity"
)

// fleetToken makes a token for many clusters, as `umbel token create` does.
func (h *hub) fleetToken(name string, token v1alpha1.JoinToken) string {
	h.t.Helper()
	presented, err := identity.NewFleetToken(name)
	if err != nil {
		h.t.Fatal(err)
	}
	token.Hash = identity.HashToken(presented)
	if token.Expires.IsZero() {
		token.Expires = metav1.NewTime(time.Now().Add(time.Hour))
	}
	raw, err := json.Marshal(token)
	if err != nil {
		h.t.Fatal(err)
	}
	h.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.JoinTokenPrefix + name},
		Type:       v1alpha1.JoinTokenType, Data: map[string][]byte{v1alpha1.JoinTokenData: raw},
	})
	return presented
}

// tokenNow reads what the hub knows of a token.
func (h *hub) tokenNow(name string) v1alpha1.JoinToken {
	h.t.Helper()
	var secret corev1.Secret
	if err := h.client.Get(h.t.Context(), client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.JoinTokenPrefix + name}, &secret); err != nil {
		h.t.Fatal(err)
	}
	token, err := v1alpha1.ParseJoinToken(secret.Data[v1alpha1.JoinTokenData])
	if err != nil {
		h.t.Fatal(err)
	}
	return token
}

// boot is what a cluster's manifest gives its agent.
func (h *hub) boot(cluster v1alpha1.ClusterName, token string) v1alpha1.Bootstrap {
	return v1alpha1.Bootstrap{Cluster: cluster, Address: h.address, CA: string(h.authority.Bundle()), Token: token}
}

// made waits until a cluster has registered itself.
func (h *hub) made(cluster v1alpha1.ClusterName) {
	h.t.Helper()
	h.eventually("the MemberCluster is made", func() (bool, string) {
		err := h.client.Get(h.t.Context(), client.ObjectKey{Name: string(cluster)}, &v1alpha1.MemberCluster{})
		return err == nil, fmt.Sprint(err)
	})
}

func (h *hub) admit(cluster v1alpha1.ClusterName, admission v1alpha1.Admission) {
	h.t.Helper()
	h.change(cluster, func(m *v1alpha1.MemberCluster) { m.Spec.Admission = admission })
}

func (h *hub) fingerprint(dir string) string {
	h.t.Helper()
	fingerprint, err := h.keyring(dir).Fingerprint()
	if err != nil {
		h.t.Fatal(err)
	}
	return fingerprint
}

func TestClustersRegisterThemselves(t *testing.T) {
	h := newHub(t)
	token := h.fleetToken("edge", v1alpha1.JoinToken{MaxUses: 2, Policy: v1alpha1.JoinAutomatic, Labels: map[string]string{"env": "edge"}})
	for _, name := range []v1alpha1.ClusterName{"edge-1", "edge-2"} {
		h.newAgent(h.boot(name, token), t.TempDir()).start()
		h.made(name)
		h.shows(name, v1alpha1.ConditionReady, "True/NoPackages")
		if diff := cmp.Diff(map[string]string{"env": "edge"}, h.member(name).Labels); diff != "" {
			t.Errorf("labels of %s (-want +got):\n%s", name, diff)
		}
	}
	third := h.keyring(t.TempDir())
	mustContain(t, "the answer to a third", fmt.Sprint(h.ask(h.boot("edge-3", token), third)), "TokenRefused", "as many clusters as it may (2)", "umbel token create")
	err := h.client.Get(t.Context(), client.ObjectKey{Name: "edge-3"}, &v1alpha1.MemberCluster{})
	if client.IgnoreNotFound(err) != nil || err == nil {
		t.Errorf("edge-3: %v, want that nothing was made", err)
	}
}

// Many at once: as many as the token says come in, however they race.
func TestATokenIsBoundedUnderRaces(t *testing.T) {
	h := newHub(t)
	const uses, clusters = 3, 12
	token := h.fleetToken("edge", v1alpha1.JoinToken{MaxUses: uses, Policy: v1alpha1.JoinAutomatic})
	rings := make([]*identity.Keyring, clusters)
	for i := range rings {
		rings[i] = h.keyring(t.TempDir())
	}
	var asking sync.WaitGroup
	var mu sync.Mutex
	in := 0
	for i, ring := range rings {
		asking.Go(func() {
			if err := h.ask(h.boot(v1alpha1.ClusterName(fmt.Sprintf("edge-%d", i)), token), ring); err == nil {
				mu.Lock()
				defer mu.Unlock()
				in++
			}
		})
	}
	asking.Wait()
	var list v1alpha1.MemberClusterList
	if err := h.client.List(t.Context(), &list); err != nil {
		t.Fatal(err)
	}
	if in != uses || len(list.Items) != uses || len(h.tokenNow("edge").Uses) != uses {
		t.Errorf("%d came in, there are %d MemberClusters, %d uses are noted; want %d", in, len(list.Items), len(h.tokenNow("edge").Uses), uses)
	}
}

func TestATokenForManyIsRefused(t *testing.T) {
	h := newHub(t)
	taken := h.joined("taken")
	h.settled("taken")
	before := h.member("taken")
	h.invite("awaited", time.Now().Add(time.Hour))
	good := h.fleetToken("good", v1alpha1.JoinToken{MaxUses: 5, Policy: v1alpha1.JoinAutomatic, Labels: map[string]string{"env": "stolen"}})
	old := h.fleetToken("old", v1alpha1.JoinToken{MaxUses: 5, Policy: v1alpha1.JoinAutomatic, Expires: metav1.NewTime(time.Now().Add(-time.Minute))})
	name, _, _ := strings.Cut(good, ".")
	for _, c := range []struct {
		reason, token string
		cluster       v1alpha1.ClusterName
		want          []string
	}{
		{"the name of a member", good, "taken", []string{"NoMember", "not the one that is pinned"}},
		{"the name of a cluster that waits for its agent", good, "awaited", []string{"TokenRefused"}},
		{"no name of a cluster", good, "Not A Name", []string{"BadRequest", "lower case letters"}},
		{"a token that has expired", old, "new", []string{"TokenRefused", "expired"}},
		{"a secret that was guessed", name + ".guessed", "new", []string{"TokenRefused", "wrong, or was revoked"}},
		{"a token that nobody made", "nobody.guessed", "new", []string{"TokenRefused", "wrong, or was revoked"}},
		{"a name that is none of a token", "hub/info.x", "new", []string{"TokenRefused", "wrong, or was revoked"}},
	} {
		t.Run(c.reason, func(t *testing.T) {
			answer := fmt.Sprint(h.ask(h.boot(c.cluster, c.token), h.keyring(t.TempDir())))
			mustContain(t, "the answer", answer, c.want...)
			for _, secret := range []string{"stolen", before.Status.Identity.KeyFingerprint[:12], good, old} {
				if strings.Contains(answer, secret) {
					t.Errorf("the answer tells %q: %s", secret, answer)
				}
			}
		})
	}
	after := h.member("taken")
	if diff := cmp.Diff([]any{before.Labels, before.Annotations, before.Spec, before.Status.Identity},
		[]any{after.Labels, after.Annotations, after.Spec, after.Status.Identity}); diff != "" {
		t.Errorf("the member changed (-want +got):\n%s", diff)
	}
	h.shows("taken", v1alpha1.ConditionConnected, "True/ProbeAnswered")
	if uses := h.tokenNow("good").Uses; len(uses) != 0 {
		t.Errorf("uses are noted of who was refused: %v", uses)
	}
	taken.stop()
}

// Registering is bounded in time too, whatever the token allows.
func TestRegistrationsAreRateLimited(t *testing.T) {
	h := newHub(t)
	token := h.fleetToken("edge", v1alpha1.JoinToken{MaxUses: 1000, Policy: v1alpha1.JoinApproval})
	const burst = 3
	h.gateway.registrations.SetLimit(0)
	h.gateway.registrations.SetBurst(burst)
	limited, let := "", 0
	for i := range 2 * burst {
		boot, ring := h.boot(v1alpha1.ClusterName(fmt.Sprintf("flood-%d", i)), token), h.keyring(t.TempDir())
		limited = fmt.Sprint(h.ask(boot, ring))
		if !strings.Contains(limited, v1alpha1.ReasonPendingApproval) {
			break
		}
		let++
	}
	mustContain(t, fmt.Sprintf("the answer after %d registrations", let), limited, reasonTooMany, "tries again by itself")
	h.gateway.joins.limit = 0
	for range h.gateway.joins.burst + 1 {
		limited = fmt.Sprint(h.ask(h.boot("flood-late", token), h.keyring(t.TempDir())))
	}
	mustContain(t, "the answer to a right token, however often it comes", limited, reasonTooMany)
	if n := len(h.tokenNow("edge").Uses); n != burst || let != burst {
		t.Errorf("%d were let in and %d uses are noted, want %d", let, n, burst)
	}
}

func TestApproval(t *testing.T) {
	h := newHub(t)
	token := h.fleetToken("edge", v1alpha1.JoinToken{MaxUses: 5, Policy: v1alpha1.JoinApproval})
	a := h.newAgent(h.boot("edge-1", token), t.TempDir()).start()
	h.made("edge-1")
	h.eventually("the status names the key", func() (bool, string) {
		c := meta.FindStatusCondition(h.member("edge-1").Status.Conditions, v1alpha1.ConditionReady)
		if c == nil {
			return false, "no condition"
		}
		return c.Reason == v1alpha1.ReasonPendingApproval && strings.Contains(c.Message, h.fingerprint(a.dir)[:12]), c.Reason + ": " + c.Message
	})
	h.shows("edge-1", v1alpha1.ConditionJoined, "False/PendingApproval")
	stranger := h.keyring(t.TempDir())
	mustContain(t, "who has the token and another key", fmt.Sprint(h.ask(h.boot("edge-1", token), stranger)), "not the one that is pinned")
	seen := a.attempts.Load()
	h.eventually("the agent asks more often than who guesses may", func() (bool, string) {
		n := a.attempts.Load() - seen
		return n > 25, fmt.Sprint(n)
	})
	mustContain(t, "the answer", fmt.Sprint(h.ask(h.boot("edge-1", token), h.keyring(a.dir))), "PendingApproval", "umbel approve edge-1")

	h.admit("edge-1", v1alpha1.AdmissionAdmitted)
	h.shows("edge-1", v1alpha1.ConditionReady, "True/NoPackages")
	err := h.client.Patch(t.Context(), h.member("edge-1"), client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"admission":"Denied"}}`)))
	mustContain(t, "denying who was admitted", fmt.Sprint(err), "a cluster that was admitted cannot be Pending or Denied any more")
}

func TestDenied(t *testing.T) {
	h := newHub(t)
	token := h.fleetToken("edge", v1alpha1.JoinToken{MaxUses: 5, Policy: v1alpha1.JoinApproval})
	ring := h.keyring(t.TempDir())
	boot := h.boot("edge-1", token)
	mustContain(t, "the first answer", fmt.Sprint(h.ask(boot, ring)), "PendingApproval")
	h.admit("edge-1", v1alpha1.AdmissionDenied)
	for range 3 {
		mustContain(t, "the answer to who was denied", fmt.Sprint(h.ask(boot, ring)), "Denied", "was denied on the hub")
	}
	h.shows("edge-1", v1alpha1.ConditionReady, "False/Denied")
	mustContain(t, "the same key under another name", fmt.Sprint(h.ask(h.boot("edge-2", token), ring)), "has left the fleet")

	h.leave("edge-1") // no agent has to be heard: it was never let in
	h.gone("edge-1")
	mustContain(t, "the answer when it was forgotten", fmt.Sprint(h.ask(boot, ring)), "NoMember", "has left the fleet since")
}

// A cluster that was taken out of the fleet by force does not come back by the token that it still has.
func TestWhoLeftDoesNotRegisterAgain(t *testing.T) {
	h := newHub(t)
	token := h.fleetToken("edge", v1alpha1.JoinToken{MaxUses: 5, Policy: v1alpha1.JoinAutomatic})
	a := h.newAgent(h.boot("edge-1", token), t.TempDir()).start()
	h.made("edge-1")
	h.shows("edge-1", v1alpha1.ConditionConnected, "True/ProbeAnswered")
	h.change("edge-1", force)
	h.leave("edge-1")
	h.gone("edge-1")
	seen := a.attempts.Load()
	h.eventually("the agent has tried to come back", func() (bool, string) { return a.attempts.Load() > seen+3, "" })
	err := h.client.Get(t.Context(), client.ObjectKey{Name: "edge-1"}, &v1alpha1.MemberCluster{})
	if err == nil || client.IgnoreNotFound(err) != nil {
		t.Errorf("got %v, want that it stays away", err)
	}
}

// Killed between any two steps of a registration, the same key goes on, and no other does.
func TestRegistrationSurvivesEveryDeath(t *testing.T) {
	for at, prepare := range map[string]func(*hub, string){
		"after the use was noted": func(h *hub, key string) {},
		"after the MemberCluster was made": func(h *hub, key string) {
			h.create(&v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "edge-1", Annotations: map[string]string{
				v1alpha1.RegisteredWithAnnotation: "edge", v1alpha1.RegisteredKeyAnnotation: key,
			}}})
		},
	} {
		t.Run(at, func(t *testing.T) {
			h := newHub(t)
			ring := h.keyring(t.TempDir())
			key, err := ring.Fingerprint()
			if err != nil {
				t.Fatal(err)
			}
			token := h.fleetToken("edge", v1alpha1.JoinToken{
				MaxUses: 1, Policy: v1alpha1.JoinAutomatic, Uses: map[string]v1alpha1.TokenUse{key: {Cluster: "edge-1"}},
			})
			prepare(h, key)
			if err := h.ask(h.boot("edge-1", token), h.keyring(t.TempDir())); err == nil {
				t.Error("another key came in")
			}
			if err := h.ask(h.boot("edge-1", token), ring); err != nil {
				t.Errorf("the key that began: %v", err)
			}
			want := map[string]v1alpha1.TokenUse{key: {Cluster: "edge-1", Made: true}}
			if diff := cmp.Diff(want, h.tokenNow("edge").Uses); diff != "" {
				t.Errorf("uses (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSuspend(t *testing.T) {
	h := newHub(t)
	a := h.joined("prod-eu")
	ring := h.keyring(a.dir)
	h.admit("prod-eu", v1alpha1.AdmissionSuspended)
	mustContain(t, "the condition", h.shows("prod-eu", v1alpha1.ConditionConnected, "False/Suspended"), "umbel resume prod-eu", "is repaired")
	h.shows("prod-eu", v1alpha1.ConditionReady, "False/Suspended")
	h.shows("prod-eu", v1alpha1.ConditionJoined, "True/KeyPinned")
	h.eventually("the session has ended, and when it was seen last is known", func() (bool, string) {
		return h.member("prod-eu").Status.LastSeen != nil, ""
	})
	h.desires.set("prod-eu", assigned("web-1"), true)
	mustContain(t, "what the agent hears", fmt.Sprint(h.dial(ring)), "Suspended", "umbel resume prod-eu")
	mustContain(t, "what it hears when it asks for a certificate", fmt.Sprint(h.ask(h.boot("prod-eu", ""), ring)), "Suspended")
	if a.packages.len() != 0 {
		t.Error("a suspended member got something new")
	}
	h.stop()
	h.start() // nobody forgets
	h.shows("prod-eu", v1alpha1.ConditionReady, "False/Suspended")

	h.admit("prod-eu", v1alpha1.AdmissionAdmitted)
	h.shows("prod-eu", v1alpha1.ConditionReady, "True/AllApplied")
}

func TestAStolenKey(t *testing.T) {
	h, log := newHubWithJournal(t)
	a := h.joined("prod-eu")
	stolen, key := h.keyring(a.dir), h.fingerprint(a.dir)
	h.change("prod-eu", func(m *v1alpha1.MemberCluster) { m.Spec.RevokedKeys = []string{key} })
	mustContain(t, "the condition", h.shows("prod-eu", v1alpha1.ConditionConnected, "False/KeyRevoked"), "umbel join prod-eu")
	h.shows("prod-eu", v1alpha1.ConditionJoined, "False/KeyRevoked")
	h.eventually("the key has lost its place", func() (bool, string) { return h.member("prod-eu").Status.Identity == nil, "" })
	if err := <-a.end; err == nil || !strings.Contains(err.Error(), "revoked") {
		t.Errorf("the agent ended with %v, want that it begins anew with another key", err)
	}
	mustContain(t, "its certificate", fmt.Sprint(h.dial(stolen)), "KeyRevoked")
	h.logs(log, "an agent was refused", "member=prod-eu", "reason=KeyRevoked")

	// A new token lets in a new key, and the thief not even with that token.
	member := h.member("prod-eu")
	token, err := identity.NewToken()
	if err != nil {
		t.Fatal(err)
	}
	h.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.JoinTokenSecret("prod-eu")},
		Type:       v1alpha1.JoinTokenType,
		StringData: map[string]string{
			v1alpha1.JoinTokenHash: identity.HashToken(token), v1alpha1.JoinTokenExpires: time.Now().Add(time.Hour).UTC().Format(time.RFC3339),
		},
	})
	mustContain(t, "the thief with the new token", fmt.Sprint(h.ask(h.boot("prod-eu", token), stolen)), "KeyRevoked")
	h.newAgent(h.boot("prod-eu", token), t.TempDir()).start()
	h.shows("prod-eu", v1alpha1.ConditionReady, "True/NoPackages")
	if h.member("prod-eu").UID != member.UID {
		t.Error("it is another MemberCluster")
	}
	h.eventually("the token is gone", func() (bool, string) {
		err := h.client.Get(t.Context(), client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: "join-prod-eu"}, &corev1.Secret{})
		return client.IgnoreNotFound(err) == nil && err != nil, fmt.Sprint(err)
	})
	mustContain(t, "the thief, after", fmt.Sprint(h.dial(stolen)), "KeyRevoked")
	err = h.client.Patch(t.Context(), h.member("prod-eu"), client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"revokedKeys":null}}`)))
	mustContain(t, "taking a revocation back", fmt.Sprint(err), "a key that was revoked stays so")
}

// A token that has pinned a key pins no other one, also when that key is revoked before its agent was ever in session.
func TestATokenDoesNotUndoARevocation(t *testing.T) {
	for when, pin := range map[string]func(h *hub, boot v1alpha1.Bootstrap, thief *identity.Keyring){
		"after the key was pinned": func(h *hub, boot v1alpha1.Bootstrap, thief *identity.Keyring) {
			if err := h.ask(boot, thief); err != nil {
				h.t.Fatal(err)
			}
			token := client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.JoinTokenSecret(boot.Cluster)}
			if err := h.client.Get(h.t.Context(), token, &corev1.Secret{}); !apierrors.IsNotFound(err) {
				h.t.Errorf("the token that has served: %v", err)
			}
		},
		"when the hub died before the token was gone": func(h *hub, boot v1alpha1.Bootstrap, thief *identity.Keyring) {
			fingerprint, err := thief.Fingerprint()
			if err != nil {
				h.t.Fatal(err)
			}
			member := h.member(boot.Cluster)
			patch := client.MergeFrom(member.DeepCopy())
			member.Status.Identity = &v1alpha1.MemberIdentity{KeyFingerprint: fingerprint}
			if err := h.client.Status().Patch(h.t.Context(), member, patch); err != nil {
				h.t.Fatal(err)
			}
		},
	} {
		t.Run(when, func(t *testing.T) {
			h := newHub(t)
			boot, thief := h.invite("prod-eu", time.Now().Add(time.Hour)), h.keyring(t.TempDir())
			pin(h, boot, thief)
			h.change("prod-eu", func(m *v1alpha1.MemberCluster) { m.Spec.RevokedKeys = []string{m.Status.Identity.KeyFingerprint} })
			h.eventually("the key has lost its place", func() (bool, string) { return h.member("prod-eu").Status.Identity == nil, "" })
			mustContain(t, "another key with the same token", fmt.Sprint(h.ask(boot, h.keyring(t.TempDir()))), "TokenRefused", "umbel join prod-eu")
			if id := h.member("prod-eu").Status.Identity; id != nil {
				t.Errorf("a key is pinned: %+v", id)
			}
		})
	}
}

// Who may write a MemberCluster's annotations has no key pinned by that.
func TestAnAnnotationPinsNoKey(t *testing.T) {
	h := newHub(t)
	ring := h.keyring(t.TempDir())
	key, err := ring.Fingerprint()
	if err != nil {
		t.Fatal(err)
	}
	made := func(cluster v1alpha1.ClusterName, token string) {
		h.create(&v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: string(cluster), Annotations: map[string]string{
			v1alpha1.RegisteredWithAnnotation: token, v1alpha1.RegisteredKeyAnnotation: key,
		}}})
	}
	used := map[string]v1alpha1.TokenUse{key: {Cluster: "edge-1", Made: true}}
	token := h.fleetToken("edge", v1alpha1.JoinToken{MaxUses: 9, Policy: v1alpha1.JoinAutomatic, Uses: used})
	unused := h.fleetToken("unused", v1alpha1.JoinToken{MaxUses: 9, Policy: v1alpha1.JoinAutomatic})
	made("edge-1", "edge")
	made("edge-2", "edge")
	for _, c := range []struct {
		reason, token string
		cluster       v1alpha1.ClusterName
		want          string
	}{
		{"no token", "", "edge-1", "there is no join token"},
		{"a token that was revoked", "gone.away", "edge-1", "was revoked"},
		{"a token that knows the key for another cluster", token, "edge-2", "has not registered"},
		{"a token that does not know the key", unused, "edge-1", "has not registered"},
	} {
		mustContain(t, c.reason, fmt.Sprint(h.ask(h.boot(c.cluster, c.token), ring)), "TokenRefused", c.want)
		if id := h.member(c.cluster).Status.Identity; id != nil {
			t.Errorf("%s: a key is pinned: %+v", c.reason, id)
		}
	}
	if err := h.ask(h.boot("edge-1", token), ring); err != nil { // the hub died after the use was settled
		t.Errorf("the key that registered the cluster, with its token: %v", err)
	}
}
