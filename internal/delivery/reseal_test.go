package delivery_test

import (
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/source/sourcetest"
	"umbel.dev/umbel/internal/identity/seal"
)

// succession is a fleet's authority that becomes another one while the hub runs.
type succession struct {
	mu      sync.Mutex
	now     *authority
	changed chan struct{}
}

func (s *succession) become(a *authority) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.now, s.changed = a, make(chan struct{})
}

func (s *succession) current() *authority {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *succession) Sign(said seal.Said) (*seal.Seal, error) { return s.current().Sign(said) }
func (s *succession) Signed(said seal.Said, sealed *seal.Seal) error {
	return s.current().Signed(said, sealed)
}
func (s *succession) Current(sealed *seal.Seal) bool { return s.current().Current(sealed) }
func (s *succession) Sealing() time.Time             { return s.current().Sealing() }
func (s *succession) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// TestReleasesAreSealedAnew by themselves, in a hub that runs, when the CA rotates, when its key was stolen, when an earlier one is back
// from a backup, and when the hub's clock is years off. It is the same Release each time, and nobody has to look at its source: what is
// rendered again has the same digests.
func TestReleasesAreSealedAnew(t *testing.T) {
	h := newHub(t)
	first := newAuthority(t)
	heirs := &succession{now: first, changed: make(chan struct{})}
	h.stop()
	h.sealer = heirs
	h.start()
	eu := h.cluster("eu", nil)
	h.place("prod", eu)
	repo := sourcetest.New(t)
	repo.Commit(map[string]string{"a.yaml": configMap("a", "one")})
	key := h.create("app", repo.URL(), ".", "prod")
	h.sealedFor(eu, key, first.ca)
	name := h.released("app")

	for _, step := range []struct {
		what string
		next *authority
	}{
		{"a rotation", newAuthority(t, first)},
		{"a rotation because of a stolen key: nothing of before counts", newAuthority(t)},
		{"a backup of the first one", first},
		{"a rotation by a hub whose clock is ten years behind", newAuthorityAt(t, time.Now().AddDate(-10, 0, 0), first)},
		{"one, of a stolen key, by a hub whose clock is ten years ahead", newAuthorityAt(t, time.Now().AddDate(10, 0, 0))},
	} {
		heirs.become(step.next)
		if a := h.sealedFor(eu, key, step.next.ca); a.GetRelease() != name {
			t.Errorf("%s: %s is told, want %s", step.what, a.GetRelease(), name)
		}
		h.eventually(step.what+": the seal is kept", func() string {
			var release v1alpha1.Release
			h.must(h.Get(t.Context(), client.ObjectKey{Namespace: h.namespace, Name: name}, &release))
			sealed, err := seal.Parse(release.Annotations[v1alpha1.SealAnnotation])
			if err != nil {
				return err.Error()
			}
			if !step.next.Current(sealed) {
				return "it is of another authority"
			}
			return ""
		})
	}
	if n := len(h.releases()); n != 1 {
		t.Errorf("there are %d releases, want the one", n)
	}
}
