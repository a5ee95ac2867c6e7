package session

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
)

const (
	// MaxPackages is how many packages one member may hold: about as many as its status has room to name.
	MaxPackages = 4000
	// maxChanges is how many packages one DesiredState names at most; the rest follows after its Ack. So a message takes two
	// seconds on 256 kbit/s, and the probes between them are not late.
	maxChanges = 200
)

// Holding is what the hub knows that an agent holds of one package.
type Holding struct {
	Release, Revision, Digest string
	// Policy is the id of how it is treated.
	Policy string
	// Seal tells the signature that came with it; anySeal is not known.
	Seal string
	// Removing says that the agent is pruning it.
	Removing bool
}

// Holdings is what the hub knows that an agent holds: what it said in Hello, what it acknowledged since, and what it
// reported as gone.
type Holdings map[v1alpha1.PackageKey]Holding

// HoldingsOf returns what the agent says that it holds.
func HoldingsOf(hello *wire.Hello) Holdings {
	held := make(Holdings, len(hello.GetPackages()))
	for _, p := range hello.GetPackages() {
		held[v1alpha1.PackageKey(p.GetPackage())] = Holding{
			Release: p.GetRelease(), Revision: p.GetRevision(), Digest: p.GetDigest(), Policy: p.GetPolicyId(), Seal: anySeal,
			Removing: p.GetPhase() == wire.PackageStatus_REMOVING,
		}
	}
	return held
}

// holdingOf is what an agent holds once it has stored an assignment.
func holdingOf(a *wire.Assignment) Holding {
	return Holding{Release: a.GetRelease(), Revision: a.GetRevision(), Digest: a.Where().GetDigest(), Policy: a.GetPolicyId(), Seal: string(a.GetSeal().GetSignature())}
}

// anySeal is that of what an agent says that it holds: it took it by some seal, or before there were any.
const anySeal = "any"

// is says whether an agent that holds this has nothing to be told of an assignment.
func (h Holding) is(a *wire.Assignment) bool {
	want := holdingOf(a)
	if h.Seal == anySeal {
		want.Seal = anySeal
	}
	return h == want
}

// Acknowledge notes that the agent has stored change.
func (h Holdings) Acknowledge(change *wire.DesiredState) {
	for _, a := range change.GetAssign() {
		h[v1alpha1.PackageKey(a.GetPackage())] = holdingOf(a)
	}
	for _, name := range change.GetRemove() {
		key := v1alpha1.PackageKey(name)
		holding, ok := h[key]
		if !ok {
			continue
		}
		holding.Removing = true
		h[key] = holding
	}
}

// Doubt notes that the agent could not store change, and may have stored a part of it: what it assigns is sent again
// while it is wanted, and removed when it is not.
func (h Holdings) Doubt(change *wire.DesiredState) {
	for _, a := range change.GetAssign() {
		h[v1alpha1.PackageKey(a.GetPackage())] = Holding{}
	}
}

// Diff returns what the agent has to be told so that it holds what is desired, packages in the order of their names,
// at most maxChanges of them; and whether there is anything to tell. What desired does not name is left alone. The
// version is the caller's to set.
func Diff(held Holdings, desired DesiredSet) (*wire.DesiredState, bool) {
	change := &wire.DesiredState{}
	for _, key := range slices.Sorted(maps.Keys(desired.Assign)) {
		a := desired.Assign[key]
		if got, ok := held[key]; ok && got.is(a) {
			continue
		}
		if len(change.Assign) < maxChanges {
			change.Assign = append(change.Assign, a)
		}
	}
	for _, key := range slices.Sorted(slices.Values(desired.Remove)) {
		got, ok := held[key]
		if _, assigned := desired.Assign[key]; assigned || !ok || got.Removing {
			continue
		}
		if len(change.Assign)+len(change.Remove) < maxChanges {
			change.Remove = append(change.Remove, string(key))
		}
	}
	return change, len(change.Assign)+len(change.Remove) > 0
}

// ErrNoCommonProtocol: hub and agent share no version of the protocol.
var ErrNoCommonProtocol = errors.New("hub and agent share no version of the session protocol")

// Negotiate returns the highest version that both sides speak.
func Negotiate(hello *wire.Hello, lowest, highest uint32) (uint32, error) {
	version := min(hello.GetProtocol(), highest)
	if version >= max(hello.GetMinProtocol(), lowest) && version > 0 {
		return version, nil
	}
	older := "agent"
	if hello.GetMinProtocol() > highest {
		older = "hub"
	}
	return 0, fmt.Errorf("%w: the hub speaks %d to %d, the agent (%s) %d to %d; upgrade the %s",
		ErrNoCommonProtocol, lowest, highest, cmp.Or(hello.GetAgentVersion(), "of an unknown version"),
		hello.GetMinProtocol(), hello.GetProtocol(), older)
}

// ErrBadHello: the agent's Hello makes no sense.
var ErrBadHello = errors.New("the agent's hello is not acceptable")

// checkHello bounds what a Hello may hold.
func checkHello(hello *wire.Hello) error {
	if hello == nil {
		return fmt.Errorf("%w: the first message is another one", ErrBadHello)
	}
	if n := len(hello.GetPackages()); n > MaxPackages {
		return fmt.Errorf("%w: %d packages, more than %d", ErrBadHello, n, MaxPackages)
	}
	return checkPackages(hello.GetPackages())
}

func checkPackages(packages []*wire.PackageStatus) error {
	for i, p := range packages {
		namespace, name := v1alpha1.PackageKey(p.GetPackage()).Split()
		if namespace == "" || name == "" || len(p.GetPackage()) > 253+1+63 {
			return fmt.Errorf("%w: packages[%d].package is %.80q, want NAMESPACE/NAME", ErrBadHello, i, p.GetPackage())
		}
	}
	return nil
}
