package apply

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/apply/disk"
	"umbel.dev/umbel/internal/delivery/apply/member"
)

// sealed is an assignment whose seal the station's engine believes.
func sealed(a *wire.Assignment) *wire.Assignment {
	a = proto.CloneOf(a)
	a.Seal = &wire.Seal{Signature: []byte(a.GetRelease() + a.GetDigest())}
	return a
}

func believing(a *wire.Assignment) error {
	if string(a.GetSeal().GetSignature()) != a.GetRelease()+a.GetDigest() {
		return errors.New("the hub signed something else")
	}
	return nil
}

// refuses waits until a package is refused a release, at another one.
func (s *station) refusesUnsealed(pkg, refused, at string, texts ...string) {
	s.t.Helper()
	s.eventually("the refusal of "+refused, func() error {
		for _, status := range s.engine.Held() {
			if status.GetPackage() != pkg {
				continue
			}
			if status.GetRefused() != refused || status.GetRelease() != at || status.GetPhase() != wire.PackageStatus_FAILED {
				return fmt.Errorf("it is %v", status)
			}
			for _, text := range texts {
				if !strings.Contains(status.GetMessage(), text) {
					return fmt.Errorf("it says %q, want %q", status.GetMessage(), text)
				}
			}
			return nil
		}
		return errors.New("it is not there")
	})
}

// TestWhatTheHubDidNotMakeIsRefused: nothing of it is applied or deleted, what is there stays and is repaired, and the next good
// release is taken.
func TestWhatTheHubDidNotMakeIsRefused(t *testing.T) {
	s := newStation(t)
	s.verify = believing
	s.start()
	pkg := s.namespace + "/web"
	// A hub that has never sealed is of the version before.
	s.assign(s.release(pkg, "r0", s.configMap("a", map[string]string{"v": "0"}), s.configMap("b", nil)))
	s.reaches(pkg, "r0", wire.PackageStatus_APPLIED)
	r1 := sealed(s.release(pkg, "r1", s.configMap("a", map[string]string{"v": "1"}), s.configMap("b", nil)))
	s.assign(r1)
	s.reaches(pkg, "r1", wire.PackageStatus_APPLIED)

	evil := sealed(s.release(pkg, "r2", s.configMap("a", map[string]string{"v": "evil"})))
	evil.Digest = s.release(pkg, "r2", s.configMap("a", map[string]string{"v": "worse"})).GetDigest()
	unsealed := s.release(pkg, "r3", s.configMap("a", map[string]string{"v": "evil"}))
	for _, bad := range []*wire.Assignment{evil, unsealed} {
		s.assign(bad)
		s.refusesUnsealed(pkg, bad.GetRelease(), "r1", "release "+bad.GetRelease()+" is refused", "release r1 stays and is repaired")
	}
	s.remove("b")
	s.hasData("b", nil)
	s.hasData("a", map[string]string{"v": "1"})
	// Also after a restart, and for a package that is not here yet.
	s.stop()
	s.start()
	other := s.namespace + "/other"
	s.assign(unsealed, s.release(other, "o1", s.configMap("c", nil)))
	s.refusesUnsealed(pkg, "r3", "r1", "this hub sealed what it said before")
	s.refusesUnsealed(other, "o1", "", "nothing of it is here")
	s.lacks("c")
	// How it is treated may change for what is here already, whoever sealed it; and what is sealed is taken.
	again := under(r1, &wire.Policy{DriftMode: wire.Policy_REPORT}, "report")
	again.Seal = nil
	s.assign(again)
	s.eventually("the policy", func() error {
		for _, status := range s.engine.Held() {
			if status.GetPackage() == pkg && (status.GetPolicyId() != "report" || status.GetRefused() != "") {
				return fmt.Errorf("it is %v", status)
			}
		}
		return nil
	})
	s.assign(sealed(s.release(pkg, "r4", s.configMap("a", map[string]string{"v": "4"}))), sealed(s.release(other, "o2", s.configMap("c", nil))))
	s.reaches(pkg, "r4", wire.PackageStatus_APPLIED)
	s.reaches(other, "o2", wire.PackageStatus_APPLIED)
	s.unassign(pkg, other)
	s.holdsNothing()
}

// box is a Vault whose key is another one when it is changed.
type box struct {
	key    string
	closed bool
}

func (b *box) Code(order []byte) ([]byte, error) {
	code := sha256.Sum256(append([]byte(b.key), order...))
	return code[:], nil
}

func (b *box) Closed() bool { return b.closed }

func (b *box) Close() error {
	b.closed = true
	return nil
}

// TestADiskThatWasTamperedWith: what somebody else wrote on the agent's disk is neither applied nor does it delete anything, until
// the hub says anew what is to be; an order of before there were codes counts.
func TestADiskThatWasTamperedWith(t *testing.T) {
	s := newStation(t)
	s.start()
	pkg := v1alpha1.PackageKey(s.namespace + "/web")
	r1, evil := s.release(string(pkg), "r1", s.configMap("a", map[string]string{"v": "1"})), s.release(string(pkg), "r2", s.configMap("b", nil))
	s.assign(r1)
	s.reaches(string(pkg), "r1", wire.PackageStatus_APPLIED)
	s.stop()
	s.vault = &box{key: "agent"}
	s.start() // the first start that makes codes
	s.reaches(string(pkg), "r1", wire.PackageStatus_APPLIED)

	for what, change := range map[string]func(*disk.Order){
		"another release": func(o *disk.Order) {
			o.Next = &disk.Release{Release: "r2", Revision: "r2", Repository: "r", Digest: evil.GetDigest(), Size: evil.GetSize()}
		},
		"that it is to go":     func(o *disk.Order) { o.Removing = true },
		"how it is treated":    func(o *disk.Order) { o.Policy = nil },
		"that it has no code":  func(o *disk.Order) { o.Code = nil },
		"as whom it is to act": func(o *disk.Order) { o.ActsAs = &member.Account{} },
	} {
		s.stop()
		folder := s.folder(pkg)
		order, err := folder.ReadOrder()
		if err != nil {
			t.Fatal(err)
		}
		change(&order)
		if err := folder.WriteOrder(order); err != nil {
			t.Fatal(err)
		}
		s.start()
		s.refusesUnsealed(string(pkg), "", "", "written by somebody else")
		s.hasData("a", map[string]string{"v": "1"})
		s.lacks("b")
		s.assign(r1) // the hub, which hears that nothing of it is here
		s.reaches(string(pkg), "r1", wire.PackageStatus_APPLIED)
		if status := s.status(string(pkg)); status.GetObjects() != 1 || status.GetApplied() != 1 {
			t.Errorf("%s was changed: afterwards it is %v", what, status)
		}
		s.remove("a")
		s.hasData("a", map[string]string{"v": "1"})
	}
}

// TestARefusedPackageIsForgotten: one of which nothing is here is told to go.
func TestARefusedPackageIsForgotten(t *testing.T) {
	s := newStation(t)
	s.verify = func(*wire.Assignment) error { return errors.New("nothing is believed") }
	s.start()
	pkg := s.namespace + "/web"
	s.assign(sealed(s.release(pkg, "r1", s.configMap("a", nil))))
	s.refusesUnsealed(pkg, "r1", "", "nothing is believed")
	s.unassign(pkg)
	s.holdsNothing()
	if err := s.engine.RemoveAll(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
}
