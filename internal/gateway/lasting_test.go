package gateway

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/audit"
	"umbel.dev/umbel/internal/identity/oidctest"
	"umbel.dev/umbel/internal/kube/kubetest"
)

// A watch goes on while the agent renews its certificate, until those of before are over, and while the token ends with which
// the person began it. What the person asks for from then on takes a new token. It ends with the member's session.
func TestAWatchOutlivesCertificatesAndTokens(t *testing.T) {
	provider := oidctest.Start(t)
	h, _ := signedIn(t, provider)
	h.stop()
	h.probe, h.life = 5*time.Second, 8*time.Second // of a busy machine neither a probe nor a renewal is to be late
	h.start()
	namespace := kubetest.Namespace(t, h.api)
	agent := h.joined("lasting")
	h.allow("oidc:developers", "lasting")
	h.letIn(namespace, oidctest.Alice.Email)
	lasting := provider.Token(oidctest.Alice)
	h.eventually("alice reaches the member", func() (bool, string) {
		_, err := h.clients(h.at("/clusters/lasting", lasting)).CoreV1().ConfigMaps(namespace).List(t.Context(), metav1.ListOptions{})
		return err == nil, fmt.Sprint(err)
	})
	provider.SetClock(10*time.Second - time.Hour) // what it issues is good for an hour
	short := h.clients(h.at("/clusters/lasting", provider.Token(oidctest.Alice))).CoreV1().ConfigMaps(namespace)
	provider.SetClock(0)
	watching, err := short.Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer watching.Stop()

	renewals, first := 0, *h.member("lasting").Status.Identity.CertificateNotAfter
	h.eventually("the token and several certificates are over", func() (bool, string) {
		renewals = h.issuedTo("lasting") - 1
		_, err := short.List(t.Context(), metav1.ListOptions{})
		return renewals >= 2 && time.Now().After(first.Time) && apierrors.IsUnauthorized(err), fmt.Sprintf("%d renewals; with the token: %v", renewals, err)
	})
	if n := agent.sessions.Load(); n != 1 {
		t.Errorf("the agent was in %d sessions, want the one in which it renews", n)
	}
	h.create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "late"}})
	event := <-watching.ResultChan()
	if m, ok := event.Object.(*corev1.ConfigMap); !ok || m.Name != "late" {
		t.Errorf("the watch says %v, want what happened after all that", event)
	}
	if _, err := h.clients(h.at("/clusters/lasting", lasting)).CoreV1().ConfigMaps(namespace).List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Errorf("with another token: %v", err)
	}

	// What ends it is a person's decision.
	h.change("lasting", func(m *v1alpha1.MemberCluster) { m.Spec.Admission = v1alpha1.AdmissionSuspended })
	if event, open := <-watching.ResultChan(); open && event.Type != watch.Error {
		t.Errorf("of a member that is suspended the watch says %v, want its end", event)
	}
}

// issuedTo is how many certificates a member got, as the audit log has it.
func (h *hub) issuedTo(cluster v1alpha1.ClusterName) (count int) {
	h.t.Helper()
	lines, _ := h.recorded(audit.HubUser)
	for _, line := range lines {
		if line == fmt.Sprintf("issue %s memberclusters/%s 200", cluster, cluster) {
			count++
		}
	}
	return count
}

// That an agent renews its certificate is no write: it is in the status when something else is.
func TestRenewingCostsNoWrite(t *testing.T) {
	h := newHub(t)
	h.stop()
	h.probe, h.life = 5*time.Second, 6*time.Second // of a busy machine neither a probe nor a renewal is to be late
	h.start()
	a := h.joined("prod-eu")
	h.settled("prod-eu")
	before, issued := h.member("prod-eu"), h.issuedTo("prod-eu")
	h.eventually("it was renewed twice", func() (bool, string) {
		n := h.issuedTo("prod-eu")
		return n >= issued+2, fmt.Sprint(n)
	})
	if now := h.member("prod-eu"); now.ResourceVersion != before.ResourceVersion {
		t.Errorf("the MemberCluster was written: %+v, then %+v", before.Status, now.Status)
	}
	a.stop()
	h.shows("prod-eu", v1alpha1.ConditionConnected, "Unknown/SessionClosed")
	if ends := h.member("prod-eu").Status.Identity.CertificateNotAfter; !ends.After(before.Status.Identity.CertificateNotAfter.Time) {
		t.Errorf("of who is away it says that its certificate ends at %s, as before it was renewed", ends)
	}
}
