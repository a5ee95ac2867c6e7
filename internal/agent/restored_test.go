package agent

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/identity"
)

// TestAnAgentWithAnOlderCertificate is one whose cluster was restored: what it finds of its papers is of an earlier time, and the
// certificate has ended since. The hub knows its key, and gives it another one for that, without a token and without anybody's help.
func TestAnAgentWithAnOlderCertificate(t *testing.T) {
	f := newFleet(t)
	f.join()
	f.start()
	f.ready()
	f.kill()
	home := identity.Folder(filepath.Join(f.dir, identityDir))
	papers, err := home.Load()
	f.must(err)
	key, err := identity.ParseKey(papers.Key)
	f.must(err)
	der, err := identity.NewMemberRequest(f.name, key)
	f.must(err)
	request, err := identity.ParseMemberRequest(der)
	f.must(err)
	older, notAfter, _, err := f.authority.SignMember(request, -time.Minute)
	f.must(err)
	if time.Now().Before(notAfter) {
		t.Fatalf("the older certificate ends at %s", notAfter)
	}
	papers.Certificate = older
	f.must(home.Save(papers))

	f.start()
	f.eventually("it has another certificate", func() error {
		now, err := home.Load()
		f.must(err)
		if string(now.Certificate) == string(older) {
			return errors.New("it is the older one")
		}
		if string(now.Key) != string(papers.Key) {
			t.Fatal("it has another key")
		}
		return nil
	})
	f.ready()
	var member v1alpha1.MemberCluster
	f.must(f.client.Get(t.Context(), client.ObjectKey{Name: string(f.name)}, &member))
	if fingerprint, err := identity.KeyFingerprint(key.Public()); err != nil || member.Status.Identity.KeyFingerprint != fingerprint {
		t.Errorf("the hub has pinned another key than its own (%v)", err)
	}
}
