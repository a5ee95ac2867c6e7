package members

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// TestCertificatesByTheClock: nothing before the agent has said; then True, and at two weeks before the end False, by itself.
func TestCertificatesByTheClock(t *testing.T) {
	end := time.Date(2027, 6, 1, 12, 0, 0, 0, time.UTC)
	says := func(value string) *v1alpha1.MemberCluster {
		m := &v1alpha1.MemberCluster{}
		if value != "" {
			m.Status.Properties = []v1alpha1.MemberProperty{{Name: v1alpha1.CertificateProperty, Value: value}}
		}
		return m
	}
	said := end.Format(time.RFC3339) + " kubelet of node-7"
	for _, c := range []struct {
		reason, value string
		before        time.Duration
		status        metav1.ConditionStatus
		next          time.Duration
		message       string
	}{
		{"nothing said", "", time.Hour, "", 0, ""},
		{"what cannot be read", "soon kubelet", time.Hour, "", 0, ""},
		{"long before", said, 30 * 24 * time.Hour, metav1.ConditionTrue, 16 * 24 * time.Hour, "kubelet of node-7, at 2027-06-01T12:00:00Z"},
		{"two weeks before", said, 14 * 24 * time.Hour, metav1.ConditionFalse, 0, "kubelet of node-7 ends at 2027-06-01T12:00:00Z"},
		{"after it", said, -time.Hour, metav1.ConditionFalse, 0, "kubelet of node-7"},
	} {
		got, next := certificates(says(c.value), end.Add(-c.before))
		if got.Status != c.status || next != c.next || !strings.Contains(got.Message, c.message) {
			t.Errorf("%s: %+v, again in %s", c.reason, got, next)
		}
	}
}
