package delivery

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/identity/seal"
)

// countingSealer is a Sealer that counts how often it is asked whether a statement is its own.
type countingSealer struct {
	Sealer
	times   int
	wrong   error
	changed chan struct{}
}

func (a *countingSealer) Signed(seal.Said, *seal.Seal) error { a.times++; return a.wrong }
func (a *countingSealer) Changed() <-chan struct{}           { return a.changed }
func (a *countingSealer) Sealing() time.Time                 { return time.Time{} }

// TestASealIsVerifiedOncePerVersion: however many Packages ask for a Release that they depend on, its signature is checked once
// for each version of it; one that does not hold is never taken for one that does, before it was found out or after.
func TestASealIsVerifiedOncePerVersion(t *testing.T) {
	sealer := &countingSealer{}
	c := &Controller{sealer: sealer, log: slog.New(slog.DiscardHandler)}
	believes := func(r *v1alpha1.Release) bool { return c.believes(&visit{memo: &memo{}}, r) }
	r := release("one", nil, nil)
	r.Spec.Variants[0].Size = 1
	text, err := (&seal.Seal{Certificates: [][]byte{{1}}, Signature: []byte{1}}).Text()
	if err != nil {
		t.Fatal(err)
	}
	r.UID, r.ResourceVersion, r.Annotations = types.UID("u"), "1", map[string]string{v1alpha1.SealAnnotation: text}
	for range 3 {
		if !believes(r) {
			t.Fatal("a seal that holds is not believed")
		}
	}
	if sealer.times != 1 {
		t.Errorf("verified %d times, want once", sealer.times)
	}
	changed := r.DeepCopy()
	changed.ResourceVersion = "2"
	sealer.wrong = errors.New("somebody else's")
	for range 2 {
		if believes(changed) {
			t.Fatal("a version with another's seal is believed, since the one before was")
		}
	}
	another := r.DeepCopy()
	another.UID = "v"
	if believes(another) {
		t.Fatal("another Release of the same version is believed")
	}
	if !believes(r) || sealer.times != 4 {
		t.Errorf("verified %d times, want 4: what was found wrong is looked at each time", sealer.times)
	}
	for i := range maxBeliefs {
		r := r.DeepCopy()
		r.UID = types.UID(time.Duration(i).String())
		c.beliefs.add(sealer.changed, r)
	}
	if n := len(c.beliefs.of); n > maxBeliefs {
		t.Errorf("%d are remembered, more than %d", n, maxBeliefs)
	}
}

// TestNothingIsBelievedByAKeyThatWasStolen: what was found to hold before the hub's CA was another one is looked at again, also where
// that began before and ends after.
func TestNothingIsBelievedByAKeyThatWasStolen(t *testing.T) {
	var b beliefs
	before, after := make(chan struct{}), make(chan struct{})
	r := release("one", nil, nil)
	r.UID, r.ResourceVersion = types.UID("u"), "1"
	if b.has(before, r) {
		t.Fatal("it is believed from the start")
	}
	b.add(before, r)
	if !b.has(before, r) || b.has(after, r) {
		t.Fatal("want it to be believed under the CA before, and not under the one after")
	}
	b.add(before, r) // verified before the change
	if b.has(after, r) {
		t.Fatal("it is believed under the CA after")
	}
}
