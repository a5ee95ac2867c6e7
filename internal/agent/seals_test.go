package agent

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/bundle"
	"umbel.dev/umbel/internal/gateway/trust"
	"umbel.dev/umbel/internal/identity/seal"
)

// sealedBy puts the seal of an authority on an assignment, as the hub does with a Release of one variant.
func (f *fleet) sealedBy(authority *trust.Authority, a *wire.Assignment) {
	contents, err := seal.NewContents([]seal.Content{{Digest: a.GetDigest(), Size: a.GetSize()}})
	f.must(err)
	root, err := contents.Root()
	f.must(err)
	sealed, err := authority.Sign(&seal.Statement{Package: a.GetPackage(), Release: a.GetRelease(), Revision: a.GetRevision(), Repository: a.GetRepository(), Variants: 1, Root: root})
	f.must(err)
	a.Seal = seal.Of(sealed, "", seal.Place{Variants: 1, Root: root[:]})
}

// refused waits until the member says that it refuses a release, and holds web-1.
func (f *fleet) refused(release, why string) {
	f.t.Helper()
	f.eventually(release+" is refused", func() error {
		var member v1alpha1.MemberCluster
		f.must(f.client.Get(f.t.Context(), client.ObjectKey{Name: string(f.name)}, &member))
		for _, p := range member.Status.Packages {
			if p.Refused == release && p.Release == "web-1" && p.Phase == v1alpha1.PackageFailed && strings.Contains(p.Message, why) {
				return nil
			}
		}
		return fmt.Errorf("it says %+v", member.Status.Packages)
	})
}

// TestAnAgentTakesOnlyWhatItsHubSealed: over a real session, from a hub whose API was tampered with. The object of the release
// that it holds stays.
func TestAnAgentTakesOnlyWhatItsHubSealed(t *testing.T) {
	f := newFleet(t)
	was := f.tells.Load().blob
	f.tells.Store(&told{was, func(a *wire.Assignment) { f.sealedBy(f.authority, a) }})
	f.join()
	f.start()
	f.ready()
	f.must(f.object())

	// Another content, which takes the object away, under the seal of what was there.
	other := f.wanted.DeepCopy()
	other.Name = "unwanted"
	raw, err := json.Marshal(other)
	f.must(err)
	blob, err := bundle.Encode([]bundle.Entry{{File: "unwanted.yaml", Object: raw}})
	f.must(err)
	var good wire.Assignment
	good.Package, good.Release, good.Repository, good.Digest, good.Size = "shop/web", "web-1", "shop/web", "sha256:"+strings.Repeat("0", 64), int64(len(was))
	f.sealedBy(f.authority, &good)
	for _, tc := range []struct {
		release, why string
		says         func(*wire.Assignment)
	}{
		{"web-2", "is none of the release", func(a *wire.Assignment) { a.Release, a.Seal = "web-2", good.GetSeal() }},
		{"web-3", "the hub signed something else", func(a *wire.Assignment) { f.sealedBy(f.authority, a); a.Release = "web-3" }},
		{"web-4", "this hub sealed what it said before", func(a *wire.Assignment) { a.Release = "web-4" }},
	} {
		f.kill()
		f.tells.Store(&told{blob, tc.says})
		f.start()
		f.refused(tc.release, tc.why)
		f.must(f.object())
	}
	f.kill()
	f.tells.Store(&told{blob, func(a *wire.Assignment) { a.Release = "web-5"; f.sealedBy(f.authority, a) }})
	f.start()
	f.ready()
	f.eventually("the sealed one is applied", func() error {
		if f.object() == nil {
			return fmt.Errorf("the object of the release before is still there")
		}
		return nil
	})
}
