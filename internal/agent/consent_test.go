package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/identity"
)

// says waits until the member's Ready is for this reason.
func (f *fleet) says(name v1alpha1.ClusterName, reason string) {
	f.t.Helper()
	f.eventually(fmt.Sprintf("%s is %s", name, reason), func() error {
		var member v1alpha1.MemberCluster
		if err := f.client.Get(f.t.Context(), client.ObjectKey{Name: string(name)}, &member); err != nil {
			return err
		}
		if ready := meta.FindStatusCondition(member.Status.Conditions, v1alpha1.ConditionReady); ready == nil || ready.Reason != reason {
			return fmt.Errorf("it is %+v", ready)
		}
		return nil
	})
}

func (f *fleet) hears(words string) {
	f.t.Helper()
	f.eventually("the log says "+words, func() error {
		if !f.journal.says(words) {
			return errors.New("it does not")
		}
		return nil
	})
}

// TestAClusterComesByItself is the whole time of a cluster that registers itself: it waits, is let in, suspended, and resumed.
func TestAClusterComesByItself(t *testing.T) {
	f := newFleet(t)
	presented, err := identity.NewFleetToken("edge")
	f.must(err)
	raw, err := json.Marshal(v1alpha1.JoinToken{
		Hash: identity.HashToken(presented), Expires: metav1.NewTime(time.Now().Add(time.Hour)), MaxUses: 1, Policy: v1alpha1.JoinApproval,
	})
	f.must(err)
	f.must(f.client.Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.JoinTokenPrefix + "edge"},
		Type:       v1alpha1.JoinTokenType, Data: map[string][]byte{v1alpha1.JoinTokenData: raw},
	}))
	var system corev1.Namespace
	f.must(f.client.Get(t.Context(), client.ObjectKey{Name: metav1.NamespaceSystem}, &system))
	f.name = v1alpha1.SelfName("edge", string(system.UID))
	f.bootstrap(v1alpha1.Bootstrap{Address: f.address, CA: string(f.authority.Bundle()), Token: presented})
	f.start()
	f.says(f.name, v1alpha1.ReasonPendingApproval)
	f.hears("umbel approve " + string(f.name))
	f.must(absent(f.object()))

	f.change(func(m *v1alpha1.MemberCluster) { m.Spec.Admission = v1alpha1.AdmissionAdmitted })
	f.ready()

	f.change(func(m *v1alpha1.MemberCluster) { m.Spec.Admission = v1alpha1.AdmissionSuspended })
	f.says(f.name, v1alpha1.ReasonSuspended)
	f.hears("(Suspended)")
	f.must(f.client.Delete(t.Context(), f.wanted.DeepCopy()))
	f.eventually("what it holds is put back all the same", f.object)

	f.change(func(m *v1alpha1.MemberCluster) { m.Spec.Admission = v1alpha1.AdmissionAdmitted })
	f.ready()
	f.leave()
	f.left()
	f.uninstalled()
}

// TestAKeyIsRevoked: the agent makes another key, keeps what it holds, and comes back by a new token only.
func TestAKeyIsRevoked(t *testing.T) {
	f := newFleet(t)
	f.join()
	f.start()
	f.ready()
	var member v1alpha1.MemberCluster
	f.must(f.client.Get(t.Context(), client.ObjectKey{Name: string(cluster)}, &member))
	key := member.Status.Identity.KeyFingerprint
	f.change(func(m *v1alpha1.MemberCluster) { m.Spec.RevokedKeys = []string{key} })
	f.eventually("the cluster is not connected because of its key", func() error { // Ready soon has the next reason
		var member v1alpha1.MemberCluster
		f.must(f.client.Get(t.Context(), client.ObjectKey{Name: string(cluster)}, &member))
		c := meta.FindStatusCondition(member.Status.Conditions, v1alpha1.ConditionConnected)
		if c == nil || c.Reason != v1alpha1.ReasonKeyRevoked {
			return fmt.Errorf("it is %+v", c)
		}
		return nil
	})
	f.hears("the agent's key was revoked on the hub")
	f.says(cluster, v1alpha1.ReasonTokenRefused) // its old token lets in no key any more
	f.must(f.client.Delete(t.Context(), f.wanted.DeepCopy()))
	f.eventually("what it holds is put back all the same", f.object)

	f.invite()
	f.ready()
	f.must(f.client.Get(t.Context(), client.ObjectKey{Name: string(cluster)}, &member))
	if member.Status.Identity.KeyFingerprint == key {
		t.Error("it came back with the key that was revoked")
	}
}
