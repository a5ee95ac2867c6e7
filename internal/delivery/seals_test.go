package delivery_test

import (
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"

	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/source/sourcetest"
	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/identity/seal"
)

// authority is a fleet's certificate authority as far as Releases are concerned: a stand-in for package gateway/trust, which
// this room must not know, with real certificates.
type authority struct {
	*seal.Signer
	ca       *identity.CA
	accepted *x509.CertPool
	since    time.Time
}

func newAuthority(t *testing.T, earlier ...*authority) *authority {
	t.Helper()
	return newAuthorityAt(t, time.Now(), earlier...)
}

// newAuthorityAt is one of a hub whose clock is at another time.
func newAuthorityAt(t *testing.T, now time.Time, earlier ...*authority) *authority {
	t.Helper()
	ca, err := identity.NewCAAt(now, fmt.Sprintf("fleet %d", len(earlier)), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	ca.Now = func() time.Time { return now }
	pair, err := ca.IssueSigner("hub")
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{ca: ca, accepted: ca.Pool(), since: time.Now().Add(-time.Hour)}
	if a.Signer, err = seal.NewSigner(pair); err != nil {
		t.Fatal(err)
	}
	for _, other := range earlier {
		a.accepted.AddCert(other.ca.Certificate())
	}
	return a
}

func (a *authority) Sign(s seal.Said) (*seal.Seal, error) { return a.Signer.Sign(s, nil) }
func (a *authority) Signed(s seal.Said, sealed *seal.Seal) error {
	return sealed.Verify(s, a.accepted)
}
func (a *authority) Sealing() time.Time       { return a.since }
func (a *authority) Changed() <-chan struct{} { return nil }
func (a *authority) Current(sealed *seal.Seal) bool {
	by, err := sealed.By()
	return err == nil && by.CheckSignatureFrom(a.ca.Certificate()) == nil
}

// under has the hub begin again with another authority.
func (h *hub) under(a *authority) {
	h.t.Helper()
	h.stop()
	h.sealer = a
	h.start()
}

// sealedFor waits until a cluster is told a Package by a seal that who trusts a CA believes.
func (h *hub) sealedFor(cluster v1alpha1.ClusterName, key v1alpha1.PackageKey, ca *identity.CA) *wire.Assignment {
	h.t.Helper()
	var a *wire.Assignment
	h.eventually("the seal of what "+string(cluster)+" is told", func() string {
		set, _ := h.desired.For(cluster)
		if a = set.Assign[key]; a == nil {
			return "it is told nothing"
		}
		if err := seal.Verify(a, ca.Pool()); err != nil {
			return err.Error()
		}
		return ""
	})
	return a
}

// TestReleasesAreSealed: each variant of a Release is told with a seal that holds, and a Release that somebody else made, or made
// over, is told to nobody.
func TestReleasesAreSealed(t *testing.T) {
	h := newHub(t)
	eu, us := h.cluster("eu", map[string]string{"region": "eu"}), h.cluster("us", map[string]string{"region": "us"})
	h.place("prod", eu, us)
	repo := sourcetest.New(t)
	repo.Commit(map[string]string{"a.yaml": configMap("a", "one in ${cluster.labels.region}")})
	key := h.create("app", repo.URL(), ".", "prod")
	h.waitTold(eu, key, `"one in eu"`) // by a hub of before there were seals
	first := h.released("app")

	own := newAuthority(t)
	own.since = time.Now().Add(time.Second) // what is older is taken as it is
	h.under(own)
	for _, cluster := range []v1alpha1.ClusterName{eu, us} {
		if a := h.sealedFor(cluster, key, own.ca); a.GetRelease() != first {
			t.Errorf("%s is told %s, want %s", cluster, a.GetRelease(), first)
		}
	}

	// The next authority takes over, and seals anew what the one before sealed; who knows only that one believes it no more.
	next := newAuthority(t, own)
	h.under(next)
	h.sealedFor(eu, key, next.ca)
	repo.Commit(map[string]string{"a.yaml": configMap("a", "two in ${cluster.labels.region}")})
	h.refresh("app")
	h.waitTold(eu, key, `"two in eu"`)
	h.eventually("the second release", func() string {
		if h.pkg("app").Status.Release == first {
			return "it is the first"
		}
		return ""
	})
	good := h.sealedFor(eu, key, next.ca)

	// Somebody who may write Releases makes one, of content that is in the registry, and has the Package at it.
	var release v1alpha1.Release
	h.must(h.Get(t.Context(), client.ObjectKey{Namespace: h.namespace, Name: good.GetRelease()}, &release))
	evil := &v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: "app-evil", Annotations: release.Annotations, OwnerReferences: release.OwnerReferences}, Spec: *release.Spec.DeepCopy()}
	evil.Spec.Variants[0].Digest = evil.Spec.Variants[1].Digest
	h.must(h.Create(t.Context(), evil))
	h.stop()
	pkg := h.pkg("app")
	pkg.Status.Release = evil.Name
	h.must(h.Status().Update(t.Context(), pkg))
	h.start()
	h.waitTold(eu, key, `"two in eu"`) // the hub renders, and is at one of its own again
	h.sealedFor(eu, key, next.ca)
	h.eventually("the package is at one of the hub's own", func() string {
		if got := h.pkg("app").Status.Release; got == evil.Name {
			return "it is at " + got
		}
		return ""
	})
	if h.logs.count("a release is not what this hub made", "app-evil") == 0 {
		t.Error("the log says nothing of the release that somebody made")
	}
	h.eventually("an event about it", func() string {
		var events eventsv1.EventList
		h.must(h.List(t.Context(), &events, client.InNamespace(h.namespace)))
		for _, event := range events.Items {
			if event.Reason == v1alpha1.ReasonNotSealed && strings.Contains(event.Note, "app-evil") {
				return ""
			}
		}
		return "there is none"
	})
}

// TestAReleaseThatWasMadeOver: somebody deletes a Release and makes another of its name while no hub looks, with the seal of before.
func TestAReleaseThatWasMadeOver(t *testing.T) {
	h := newHub(t)
	own := newAuthority(t)
	h.under(own)
	eu, us := h.cluster("eu", map[string]string{"region": "eu"}), h.cluster("us", map[string]string{"region": "us"})
	h.place("prod", eu, us)
	repo := sourcetest.New(t)
	repo.Commit(map[string]string{"a.yaml": configMap("a", "one in ${cluster.labels.region}")})
	key := h.create("app", repo.URL(), ".", "prod")
	h.sealedFor(us, key, own.ca)
	h.released("app")
	h.stop()
	release := h.releases()[0]
	h.must(h.Delete(t.Context(), &release))
	release.ResourceVersion, release.UID = "", ""
	release.Spec.Variants[0].Digest = release.Spec.Variants[1].Digest
	h.must(h.Create(t.Context(), &release))
	h.start()
	h.waitFor("app", v1alpha1.ConditionDelivered, "False NotSealed", "release "+release.Name+" is not what this hub made", "the hub signed something else", "delete it")
	h.waitFor("app", v1alpha1.ConditionReady, "False NotSealed")
	for _, cluster := range []v1alpha1.ClusterName{eu, us} {
		if got := h.told(cluster, key); got != "keep" {
			t.Errorf("%s is told %q", cluster, got)
		}
	}
	h.must(h.Delete(t.Context(), &release))
	h.waitTold(eu, key, `"one in eu"`)
	h.sealedFor(eu, key, own.ca)
	h.waitFor("app", v1alpha1.ConditionRendered, "True")
}
